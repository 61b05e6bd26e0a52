// The reference evaluator: runs a Graph op by op through each op's eval. For tests, constant folding and verify; never a
// backend.
#pragma once

#include <atomic>

#include "ir/eval/host_value.h"

namespace weft {

struct EvalOptions {
  // Called after each op with its results; for bisecting and NaN search.
  void (*observe)(const Op&, const std::vector<HostValue>&, void*) = nullptr;
  void* observe_state = nullptr;
  const std::atomic<bool>* cancel = nullptr;  // looked at before each op: Error kCancelled
};

// inputs: one per graph input, in order. Values are freed after their last use.
Result<std::vector<HostValue>> evaluate(const Graph& g, std::vector<HostValue> inputs, const EvalOptions& options = {});
// One op on concrete inputs (null pointer or kind none: absent).
Result<std::vector<HostValue>> evaluate_op(const Op& op, std::vector<const HostValue*> inputs);
// Interprets a scalar body over rows: inputs broadcast to `dims` already as carrier-agnostic tensors.
Result<std::vector<Tensor>> evaluate_scalar(const ScalarProgram& p, const std::vector<const Tensor*>& inputs, const std::vector<int64_t>& dims,
                                            const std::vector<DType>& output_types);

}  // namespace weft
