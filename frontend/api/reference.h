// The reference evaluator behind the public types: what `--target eval` and `verify` run.
#pragma once

#include "ir/eval/evaluator.h"
#include "weft/executable.h"

namespace weft {

// Copies. Sub-byte elements are packed outside and one a byte inside. Error kUsage for an empty tensor.
Result<Tensor> to_host_tensor(const api::Tensor& t);
// Error kUnsupported for sequences, maps and empty optionals.
Result<api::Tensor> from_host_value(const HostValue& v);

// Inputs and outputs of the main graph. Error kUnsupported for one that is not a tensor of known rank.
Result<std::vector<api::PortInfo>> describe_inputs(const Module& m);
std::vector<api::PortInfo> describe_outputs(const Module& m);  // those that are no ranked tensors have no dims

// All outputs, in order; inputs in order, of any type. Errors of tensors that do not fit are kUsage, as of Context::run.
// kCancelled between two ops once `cancel` is set.
Result<std::vector<HostValue>> evaluate_values(const Module& m, std::vector<HostValue> inputs, const std::atomic<bool>* cancel = nullptr);
// The same by name.
Result<api::NamedTensors> evaluate_module(const Module& m, const api::NamedTensors& inputs, const std::atomic<bool>* cancel = nullptr);

// One run of what was compiled, as evaluate_values evaluates it: tensors by the names of the inputs, all outputs in order.
Result<std::vector<HostValue>> run_values(api::Context& context, const std::vector<std::string>& names, const std::vector<HostValue>& inputs,
                                          const api::RunOptions& options = {});

}  // namespace weft
