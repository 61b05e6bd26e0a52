#include "frontend/api/reference.h"

#include <algorithm>
#include <cstring>

#include "frontend/api/runtime/executable_state.h"
#include "ir/base/text.h"

namespace weft {

Result<Tensor> to_host_tensor(const api::Tensor& given) {
  if (given.empty()) return usage("an empty tensor");
  TRY_ASSIGN(api::Tensor t, given.contiguous() && given.device() == api::Tensor::kHost ? Result<api::Tensor>(given) : given.copy());
  TRY_ASSIGN(Tensor out, Tensor::make(t.dtype(), t.dims()));
  if (t.dtype() == DType::str) {
    const auto* from = t.data_as<const std::string>();
    out.strings = std::make_shared<std::vector<std::string>>(from, from + t.numel());
  } else if (is_subbyte(t.dtype())) {
    unpack_subbyte(t.dtype(), t.data(), out.data.get(), t.numel());
  } else if (out.bytes()) {
    std::memcpy(out.data.get(), t.data(), static_cast<size_t>(out.bytes()));
  }
  return out;
}

Result<api::Tensor> from_host_value(const HostValue& v) {
  if (v.kind != HostValue::Kind::tensor) return unsupported("a value that is a sequence, a map or an empty optional");
  const Tensor& t = v.tensor;
  TRY_ASSIGN(api::Tensor out, api::Tensor::make(t.dtype, t.dims));
  if (t.dtype == DType::str) std::copy(t.strings->begin(), t.strings->end(), out.data_as<std::string>());
  else if (is_subbyte(t.dtype)) pack_subbyte(t.dtype, t.data.get(), out.mutable_data(), t.numel());
  else if (t.bytes()) std::memcpy(out.mutable_data(), t.data.get(), static_cast<size_t>(t.bytes()));
  return out;
}

Result<std::vector<api::PortInfo>> describe_inputs(const Module& m) {
  std::vector<api::PortInfo> out;
  for (const std::string& name : m.ports().inputs) {
    const Value* in = m.input(name);
    if (!in->type.is_ranked()) {
      Error e = unsupported("an input of type " + in->type.to_string());
      e.at_tensor(in->name);
      if (in->type.is_tensor()) e.with_hint("give its dims with --shapes " + name_text(in->name) + "=…");
      return e;
    }
    out.push_back({in->name, in->type.dtype, api::extents_of(in->type.shape, m.symbols)});
  }
  return out;
}

std::vector<api::PortInfo> describe_outputs(const Module& m) {
  std::vector<api::PortInfo> out;
  for (const std::string& name : m.ports().outputs) {
    const Type& t = m.output(name)->type;
    out.push_back({name, t.dtype, t.is_ranked() ? api::extents_of(t.shape, m.symbols) : std::vector<api::Extent>()});
  }
  return out;
}

namespace {

Error input_error(const std::string& name, const std::string& what) {
  Error e = usage("input " + name_text(name) + " " + what);
  return e.at_tensor(name), e;
}

// Dtype, rank and fixed dims; equal symbols in several inputs are equal numbers.
Status check_input(const Value& in, const HostValue& v, SymbolValues& symbols) {
  const Type& type = in.type;
  if (!type.is_tensor()) return {};
  if (v.kind != HostValue::Kind::tensor) return input_error(in.name, "is no tensor, expected " + type.to_string());
  const Tensor& t = v.tensor;
  if (t.dtype != type.dtype)
    return input_error(in.name, std::string("has elements of type ") + dtype_name(t.dtype) + ", expected " + dtype_name(type.dtype));
  if (!type.ranked) return {};
  if (t.rank() != type.rank()) return input_error(in.name, "has rank " + std::to_string(t.rank()) + ", expected " + type.to_string());
  for (int k = 0; k < t.rank(); ++k) {
    const Dim& d = type.shape[k];
    std::optional<int64_t> want = d.eval(symbols);
    if (!want && d.is_symbol()) symbols[d.symbol_name()] = t.dims[k];
    else if (want && *want != t.dims[k])
      return input_error(in.name, "has dim " + std::to_string(k) + " = " + std::to_string(t.dims[k]) + ", expected " + std::to_string(*want) +
                                      " in " + type.to_string());
  }
  return {};
}

}  // namespace

Result<std::vector<HostValue>> evaluate_values(const Module& m, std::vector<HostValue> inputs, const std::atomic<bool>* cancel) {
  const std::vector<std::string> names = m.ports().inputs;
  if (inputs.size() != names.size())
    return usage("the model has " + std::to_string(names.size()) + " inputs, " + std::to_string(inputs.size()) + " are given");
  SymbolValues symbols;
  for (size_t i = 0; i < inputs.size(); ++i) TRY(check_input(*m.input(names[i]), inputs[i], symbols));
  EvalOptions options;
  options.cancel = cancel;
  return m.meshes.empty() ? evaluate(*m.main(), std::move(inputs), options) : evaluate_shared_out(m, inputs, options);
}

Result<api::NamedTensors> evaluate_module(const Module& m, const api::NamedTensors& inputs, const std::atomic<bool>* cancel) {
  std::vector<HostValue> values;
  const std::vector<std::string> names = m.ports().inputs;
  for (const std::string& name : names) {
    const api::Tensor* t = inputs.find(name);
    if (!t || t->empty()) return input_error(name, "is missing");
    TRY_ASSIGN(Tensor host, to_host_tensor(*t));
    values.emplace_back(std::move(host));
  }
  for (const api::NamedTensor& t : inputs)
    if (std::find(names.begin(), names.end(), t.name) == names.end())
      return input_error(t.name, "is not one of the model");
  TRY_ASSIGN(std::vector<HostValue> results, evaluate_values(m, std::move(values), cancel));
  api::NamedTensors out;
  std::vector<api::PortInfo> ports = describe_outputs(m);
  for (size_t i = 0; i < results.size(); ++i) {
    auto t = from_host_value(results[i]);
    if (!t.ok()) return t.error().at_tensor(ports[i].name);
    out.add(ports[i].name, std::move(*t));
  }
  return out;
}

Result<std::vector<HostValue>> run_values(api::Context& context, const std::vector<std::string>& names, const std::vector<HostValue>& inputs,
                                          const api::RunOptions& options) {
  api::NamedTensors tensors;
  for (size_t i = 0; i < inputs.size(); ++i) {
    TRY_ASSIGN(api::Tensor t, from_host_value(inputs[i]));
    tensors.add(names[i], std::move(t));
  }
  TRY_ASSIGN(api::NamedTensors out, context.run(tensors, {}, options));
  std::vector<HostValue> values;
  for (const api::NamedTensor& t : out) {
    TRY_ASSIGN(Tensor host, to_host_tensor(t.tensor));
    values.emplace_back(std::move(host));
  }
  return values;
}

}  // namespace weft
