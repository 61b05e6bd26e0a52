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
  SymbolValues symbols;                       // those that inputs do not bind: a rank's coordinates
  RankExchange* ranks = nullptr;
};

// inputs: one per graph input, in order. Values are freed after their last use.
Result<std::vector<HostValue>> evaluate(const Graph& g, std::vector<HostValue> inputs, const EvalOptions& options = {});
// Every rank of the module's one mesh in a thread of its own, with the graph of its stage: inputs[i] are those of rank i, and so
// are the results. Ranks are numbered row-major, the first axis outermost. Where one fails, all end with its Error.
Result<std::vector<std::vector<HostValue>>> evaluate_ranks(const Module& m, std::vector<std::vector<HostValue>> inputs, const EvalOptions& options = {});
// The same with the model's inputs for every rank that has them, and the model's outputs: of several ranks that have one, the first's.
Result<std::vector<HostValue>> evaluate_shared_out(const Module& m, const std::vector<HostValue>& inputs, const EvalOptions& options = {});
// One op on concrete inputs (null pointer or kind none: absent).
Result<std::vector<HostValue>> evaluate_op(const Op& op, std::vector<const HostValue*> inputs, const SymbolValues& symbols = {});
// Interprets a scalar body over rows: inputs broadcast to `dims` already as carrier-agnostic tensors.
Result<std::vector<Tensor>> evaluate_scalar(const ScalarProgram& p, const std::vector<const Tensor*>& inputs, const std::vector<int64_t>& dims,
                                            const std::vector<DType>& output_types);

}  // namespace weft
