// What is asked of the values of a graph (Module::given), axis by axis of the mesh, for the pass `shard`.
//
// A sharding of what an op computes binds the op; one that a node reads binds the ops that come of this node. One of a constant
// or an input binds all that read it, also through what is computed of constants alone. What waits for a reduction is in no
// form yet, so it can become the one that is asked for.
#pragma once

#include "passes/shard/forms.h"

namespace weft {

class GivenForms {
 public:
  static constexpr int kWhole = -1;
  struct Asked {
    int form;                // the dim that the axis cuts, or kWhole
    const GivenSharding* by;
  };

  // Error kUsage for axes that the mesh lacks and for two sources that contradict each other, kUnsupported for what no rank
  // could hold so.
  static Result<GivenForms> make(const Module& m, const Mesh& mesh);

  const Asked* of_result(const Value* v, const std::string& axis) const;
  const Asked* of_operand(const Op& op, int i, const std::string& axis) const;
  // Whether an op in which the axis cuts factor f (-1: none) keeps to what is asked of its operands, and of its results.
  bool reads_fit(const Op& op, const ShardingRule& rule, int f, const std::string& axis) const;
  bool results_fit(const Op& op, const ShardingRule& rule, int f, const std::string& axis) const;
  // Whether it is asked that the axis cuts f.
  bool asks_for(const Op& op, const ShardingRule& rule, int f, const std::string& axis) const;
  // `to` stands for `from` from now on.
  void move(const Value* from, const Value* to);
  // Why an op cannot keep to what is asked along this axis.
  Error cannot(const Op& op, const ShardingRule& rule, const std::string& axis, int64_t size) const;

  // Of tensors that are not there any more, for a note; empty: there are none.
  std::string unused() const;

 private:
  using ByAxis = std::map<std::string, Asked>;
  Status index(const Module& m, const Mesh& mesh);
  Status add(ByAxis& to, const GivenSharding& g);
  Status add(ByAxis& to, const std::string& axis, Asked asked);
  Status carry(const Op& op);
  Status read(const Op& op);

  std::vector<std::pair<const GivenSharding*, bool>> all_;  // and whether it found its tensor
  std::map<std::pair<std::string, std::string>, std::vector<size_t>> by_name_;  // reader and tensor
  std::map<const Value*, ByAxis> values_;
  std::map<std::pair<const Op*, int>, ByAxis> operands_;
};

}  // namespace weft
