// A program at given values of the early symbols: everything about it that is a number. Built once per distinct shapes and
// cached by the context; a run then writes only pointers and late values into it.
#pragma once

#include <memory>
#include <vector>

#include "runtime/executor/code.h"

namespace weft {

struct Bound {
  std::vector<int64_t> slots;         // at the start of a run; kNoValue for late ones
  std::vector<int64_t> buffer_bytes;  // early sizes; upper bounds of late ones in the arena; 0 for late memory
  std::vector<int64_t> arena_offsets; // per buffer, -1: not in this program's arena
  std::vector<int64_t> values;        // per tensor: TensorValues
  std::vector<int64_t> dims, tasks;   // per dim parameter, per launch (-1: late)
  std::vector<void*> ptrs;            // per pointer parameter
  int64_t arena_bytes = 0, arena_alignment = 64, max_live = 0;
  int64_t scratch_bytes = 0;          // per thread
  const std::byte* arena_base = nullptr;   // for which ptrs hold; null: not yet computed
  std::vector<std::byte*> patched;         // per buffer that runs bind: for which its patches hold
  int64_t version = 0;                     // rises when pointers change
  // On a device: per stretch of the program its graph, of the version for which it was recorded. A first run records none.
  struct Recorded {
    std::unique_ptr<DeviceGraph> graph;
    int64_t version = -1;
    bool seen = false;
  };
  std::vector<Recorded> recorded;

  TensorValues tensor(const TensorCode& t) { return {values.data() + t.values}; }
};

// Evaluates a tensor's place from `slots` into v. Error when it cannot be or makes no sense; bounds are not checked.
Status evaluate_tensor(const Plan& plan, const PlanCode& code, int tensor, const int64_t* slots, TensorValues v);
// Error unless the tensor lies within `bytes`.
Status check_tensor_fits(const Plan& plan, int tensor, TensorValues v, int64_t bytes);

// slots: the early values, kNoValue else. Error when a size cannot be computed, has no upper bound, or a tensor does not
// fit its buffer.
Result<std::unique_ptr<Bound>> bind_program(const Plan& plan, const PlanCode& code, const Program& program, std::vector<int64_t> slots);

}  // namespace weft
