// What the stages of a pipeline need of their callers: a batch in equal parts, which go through the stages one behind the other,
// and outputs where processes have them that are of other stages.
#pragma once

#include <span>

#include "frontend/api/runtime/executable_state.h"

namespace weft::api {

class Pipeline {
 public:
  explicit Pipeline(const Executable::State& state);

  // Views of the parts of these inputs and of the outputs that the caller gives. Error kUsage where the batch has no such parts.
  Status cut(std::span<const TensorView> inputs, std::span<const TensorView> outputs, size_t parts);
  std::span<const TensorView> inputs(size_t part) const { return parts_[part].inputs; }
  std::span<TensorView> outputs(size_t part) { return parts_[part].outputs; }
  // The whole outputs, where the caller gave no place for them: in memory of this object, until the next time. But not those that
  // are missing here.
  Status join(std::span<TensorView> outputs, std::span<const char> missing);
  // All processes of the group get the outputs, each from the first rank of its stage.
  Status share(std::span<TensorView> outputs, const Group::State& group);

 private:
  struct Part {
    std::vector<TensorView> inputs, outputs;
  };
  const Executable::State& state_;
  std::vector<int> roots_;                       // by output: the first rank of its stage
  std::vector<char> has_batch_;                  // by input
  std::vector<Part> parts_;
  std::vector<std::vector<std::byte>> memory_;   // by output
};

}  // namespace weft::api
