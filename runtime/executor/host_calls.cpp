// Machine's host calls: views of the operands, and outputs whose dims the function itself decides.
#include <algorithm>

#include "ir/base/text.h"
#include "runtime/executor/machine.h"

namespace weft {

// Shows an operand to the function: in place, or in host memory while the function runs, with its contents where the
// function reads them or where others lie between an output's elements. Reuses the vectors' memory.
Status Machine::set_view(size_t operand, const StridedRef& r, bool is_output) {
  TensorView& view = views_[operand];
  view.data = r.data;
  view.dtype = r.dtype;
  view.dims.assign(r.dims, r.dims + r.rank);
  view.strides.assign(r.strides, r.strides + r.rank);
  if (!queue_) return {};
  Staged& staged = staged_[operand];
  int64_t lo = 0, hi = 0;
  staged.bytes = 0;
  if (!strided_extent(r.dtype, r.rank, r.dims, r.strides, &lo, &hi)) return {};
  TRY(staged.memory.reserve(hi - lo));
  staged.device = r.data + lo;
  staged.bytes = hi - lo;
  view.data = staged.memory.data() - lo;
  const bool gaps = staged.bytes != view.numel() * byte_size(r.dtype);
  return !is_output || gaps ? queue_->download(staged.memory.data(), staged.device, staged.bytes) : Status{};
}

Status Machine::upload_outputs(size_t inputs) {
  for (size_t i = inputs; queue_ && i < call_->source->tensors.size(); ++i)
    if (staged_[i].bytes) TRY(queue_->upload(staged_[i].device, staged_[i].memory.data(), staged_[i].bytes));
  return {};
}

Status Machine::host_call(const Step& s) {
  const Command& c = *s.source;
  const HostCallCode& h = program_.host_calls[s.item];
  const auto inputs = static_cast<size_t>(c.index);
  if (views_.size() < c.tensors.size()) {
    views_.resize(c.tensors.size());
    staged_.resize(c.tensors.size());
  }
  for (int slot : h.sets) slots_[slot] = kNoValue;
  for (size_t i = 0; i < inputs; ++i) {
    TRY_ASSIGN(StridedRef r, locate(c.tensors[i]));
    TRY(set_view(i, r, false));
  }
  TRY(host_outputs(s, h, inputs));
  call_ = &s;
  call_inputs_ = inputs;
  HostCall call;
  call.inputs = std::span(views_.data(), inputs);
  call.outputs = std::span(views_.data() + inputs, c.tensors.size() - inputs);
  call.attributes = c.text;
  call.resizer = &Machine::resize_output;
  call.state = this;
  Status status = h.fn(call);
  if (status.ok()) status = upload_outputs(inputs);
  call_ = nullptr;
  TRY(status);
  for (int slot : h.sets)
    if (slots_[slot] == kNoValue)
      return invalid("the host function " + name_text(c.name) + " gave the symbol " + code_.program.name(slot) + " no value");
  return {};
}

// An output whose dims depend on this call has no memory yet, and -1 for the dims that do.
Status Machine::host_outputs(const Step& s, const HostCallCode& h, size_t inputs) {
  for (size_t i = inputs; i < s.source->tensors.size(); ++i) {
    int tensor = s.source->tensors[i];
    if (!h.sized_here[i - inputs]) {
      TRY_ASSIGN(StridedRef r, locate(tensor));
      TRY(set_view(i, r, true));
      continue;
    }
    const TensorCode& t = code_.tensors[tensor];
    TensorView& view = views_[i];
    view.data = nullptr;
    view.dtype = t.dtype;
    view.dims.assign(static_cast<size_t>(t.rank), -1);
    view.strides.assign(static_cast<size_t>(t.rank), 0);
    for (int k = 0; k < t.rank; ++k)
      if (!code_.program.eval(code_.dims[t.dims + static_cast<uint32_t>(k)], slots_.data(), &view.dims[k])) view.dims[k] = -1;
  }
  return {};
}

Status Machine::resize_output(void* self, int output, std::span<const int64_t> dims) { return static_cast<Machine*>(self)->resize(output, dims); }

Status Machine::resize(int output, std::span<const int64_t> dims) {
  const Command& c = *call_->source;
  const HostCallCode& h = program_.host_calls[call_->item];
  if (output < 0 || static_cast<size_t>(output) >= h.sized_here.size())
    return invalid("the host function " + name_text(c.name) + " has no output " + std::to_string(output) + " here");
  int tensor = c.tensors[call_inputs_ + static_cast<size_t>(output)];
  const TensorCode& t = code_.tensors[tensor];
  auto mismatch = [&]() -> Error {
    std::string got;
    for (int64_t d : dims) got += (got.empty() ? "" : ",") + std::to_string(d);
    Error e = invalid("the host function " + name_text(c.name) + " gives [" + got + "] for an output of shape [" +
                      shape_text(plan_.tensors[tensor].dims) + "]");
    return e.at_tensor(plan_.tensors[tensor].name), e;
  };
  if (static_cast<int>(dims.size()) != t.rank) return mismatch();
  for (const Solve& s : h.solves) {
    if (s.port != output || slots_[s.slot] != kNoValue) continue;
    int64_t coefficient = 0, rest = 0, difference = 0;
    bool known = code_.program.eval(s.coefficient, slots_.data(), &coefficient) && code_.program.eval(s.rest, slots_.data(), &rest);
    if (!known || coefficient == 0 || __builtin_sub_overflow(dims[static_cast<size_t>(s.dim)], rest, &difference) ||
        difference % coefficient)
      return mismatch();
    TRY(assign(s.slot, difference / coefficient));
  }
  for (int k = 0; k < t.rank; ++k) {
    int64_t expected = 0;
    if (!code_.program.eval(code_.dims[t.dims + static_cast<uint32_t>(k)], slots_.data(), &expected) ||
        expected != dims[static_cast<size_t>(k)])
      return mismatch();
  }
  if (!h.sized_here[static_cast<size_t>(output)]) return {};
  if (code_.buffers[t.buffer].late_memory && plan_.buffers[t.buffer].storage != Storage::arena) TRY(allocate(t.buffer, tensor));
  TRY_ASSIGN(StridedRef r, locate(tensor));
  return set_view(call_inputs_ + static_cast<size_t>(output), r, true);
}

}  // namespace weft
