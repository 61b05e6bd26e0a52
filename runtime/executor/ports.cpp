// Inputs and outputs: the caller's memory where it fits the plan's strides, else copies in memory of the context.
#include <algorithm>
#include <cstring>

#include "ir/base/text.h"
#include "runtime/executor/context_impl.h"
#include "runtime/executor/device_copy.h"

namespace weft {

namespace {

bool within(const Block& b, const void* p) { return b.data() && p >= b.data() && p < b.data() + b.capacity(); }

bool aligned(const void* p, const BufferCode& b) { return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(b.element) == 0; }

// Into `view`, whose vectors keep their memory.
TensorView shown(TensorView view, const StridedRef& from, int device) {
  view.dtype = from.dtype;
  view.dims.assign(from.dims, from.dims + from.rank);
  view.strides.assign(from.strides, from.strides + from.rank);
  view.data = from.data;
  view.device = device;
  return view;
}

}  // namespace

Error ContextImpl::misplaced(const char* kind, const PlanPort& port, const std::string& what) const {
  Error e = usage(std::string(kind) + " " + name_text(port.name) + " " + what);
  return e.at_tensor(port.name), e;
}

Status ContextImpl::check_place(const char* kind, const PlanPort& port, const TensorView& view) const {
  const int home = exe_->device ? exe_->device->number() : TensorView::kHost;
  if (view.device == TensorView::kHost || view.device == home) return {};
  return misplaced(kind, port, "lies on GPU " + std::to_string(view.device) + ", the model runs on " + (exe_->device ? exe_->device->name() : "the host"));
}

Status ContextImpl::bind_inputs(std::span<const TensorView> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorView& view = inputs[i];
    const TensorCode& t = exe_->code.tensors[exe_->plan.inputs[i].tensor];
    TensorValues v = current_->tensor(t);
    Input& in = inputs_[i];
    int64_t lo = 0, hi = 0;
    bool any = strided_extent(view.dtype, view.rank(), view.dims.data(), view.strides.data(), &lo, &hi);
    if (hi < lo) {
      Error e = usage("input " + name_text(exe_->plan.inputs[i].name) + " reaches further than 2^63 bytes");
      return e.at_tensor(exe_->plan.inputs[i].name), e;
    }
    in.lo = in.hi = nullptr;
    std::byte* data = static_cast<std::byte*>(view.data);
    const bool on_device = view.device != TensorView::kHost;
    if (any && aligned(data, exe_->code.buffers[t.buffer]) && same_strides(t.rank, v.dims(), v.strides(t.rank), view.strides.data())) {
      in.lo = data + lo;
      in.hi = data + hi;
    } else if (any && on_device) {
      if (!aligned(data, exe_->code.buffers[t.buffer]))
        return misplaced("input", exe_->plan.inputs[i], "lies on a device, where it must be aligned to its elements");
      TRY(in.device.reserve(v.hi()));
      TRY(device_copy(*queue_, {in.device.data(), t.dtype, t.rank, v.dims(), v.strides(t.rank)}, ref_of(view)));
      data = in.device.data();
    } else {
      TRY(in.staged.reserve(v.hi()));
      data = in.staged.data();
      if (is_subbyte(t.dtype)) std::memset(data, 0, static_cast<size_t>(v.hi()));  // the padding of rows
      if (any) strided_copy({data, t.dtype, t.rank, v.dims(), v.strides(t.rank)}, ref_of(view), exe_->pool.get());
    }
    if (queue_ && !(any && on_device)) {
      TRY(in.device.reserve(v.hi()));
      if (v.hi() > 0) TRY(queue_->upload(in.device.data(), data, v.hi()));
      data = in.device.data();
      in.lo = in.hi = nullptr;  // read already
    }
    machine_.set_memory(t.buffer, data, current_->buffer_bytes[t.buffer]);
  }
  return {};
}

bool ContextImpl::has_own_buffer(int output) const {
  const PlanBuffer& b = exe_->plan.buffers[exe_->code.tensors[exe_->plan.outputs[output].tensor].buffer];
  return b.storage == Storage::output && b.source == output;
}

Status ContextImpl::check_output(int output, const TensorView& view, const int64_t* dims, int rank) const {
  const PlanPort& q = exe_->plan.outputs[output];
  DType t = exe_->plan.tensors[q.tensor].dtype;
  std::string what;
  if (view.dtype != t) what = std::string("has elements of type ") + dtype_name(t) + ", the given tensor " + dtype_name(view.dtype);
  else if (view.rank() != rank || view.strides.size() != view.dims.size() || !std::equal(view.dims.begin(), view.dims.end(), dims)) {
    std::string have, want;
    for (int64_t d : view.dims) have += (have.empty() ? "" : ",") + std::to_string(d);
    for (int i = 0; i < rank; ++i) want += (i ? "," : "") + std::to_string(dims[i]);
    what = "has shape [" + want + "], the given tensor [" + have + "]";
  }
  return what.empty() ? check_place("output", q, view) : misplaced("output", q, what);
}

bool ContextImpl::overlaps_inputs(const std::byte* lo, const std::byte* hi) const {
  return std::any_of(inputs_.begin(), inputs_.end(), [&](const Input& in) { return in.lo < hi && lo < in.hi; });
}

bool ContextImpl::overlaps(int output, const std::byte* lo, const std::byte* hi) const {
  if (overlaps_inputs(lo, hi)) return true;
  for (size_t i = 0; i < views_.size(); ++i) {
    if (static_cast<int>(i) == output || !outputs_[i].given) continue;
    const TensorView& v = views_[i];
    int64_t from = 0, to = 0;
    if (v.strides.size() != v.dims.size() || !strided_extent(v.dtype, v.rank(), v.dims.data(), v.strides.data(), &from, &to)) continue;
    const auto* p = static_cast<const std::byte*>(v.data);
    if (p + from < hi && lo < p + to) return true;
  }
  return false;
}

Status ContextImpl::reserve(Block& block, Block& spare, int64_t bytes) {
  if (overlaps_inputs(block.data(), block.data() + block.capacity())) std::swap(block, spare);
  return block.reserve(bytes);
}

// Memory for an output with a buffer of its own: the caller's if the program can write it directly.
Result<std::byte*> ContextImpl::output_memory(int output, TensorValues v, int64_t bytes) {
  Output& out = outputs_[output];
  const TensorCode& t = exe_->code.tensors[exe_->plan.outputs[output].tensor];
  out.direct = false;
  const TensorView& view = views_[output];
  if (out.given) TRY(check_output(output, view, v.dims(), t.rank));
  if (out.given && (view.device != TensorView::kHost || !queue_)) {
    auto* data = static_cast<std::byte*>(view.data);
    out.direct = aligned(data, exe_->code.buffers[t.buffer]) && same_strides(t.rank, v.dims(), v.strides(t.rank), view.strides.data()) &&
                 !overlaps(output, data + v.lo() - v.offset(), data + v.hi() - v.offset());
    if (out.direct) return out.base = data - v.offset();
  }
  Block& block = queue_ ? out.device : out.own;
  TRY(reserve(block, queue_ ? out.device_spare : out.spare, bytes));
  return out.base = block.data();
}

Status ContextImpl::bind_outputs(std::span<TensorView> outputs) {
  if (outputs.size() != exe_->plan.outputs.size())
    return usage("the model has " + std::to_string(exe_->plan.outputs.size()) + " outputs, places for " + std::to_string(outputs.size()) +
                 " are given");
  for (size_t i = 0; i < outputs.size(); ++i) {
    Output& out = outputs_[i];
    out.given = outputs[i].data;
    for (const Block* b : {&out.own, &out.spare, &out.device, &out.device_spare}) out.given = out.given && !within(*b, outputs[i].data);
  }
  for (int i = 0; i < static_cast<int>(outputs.size()); ++i) {
    const TensorCode& t = exe_->code.tensors[exe_->plan.outputs[i].tensor];
    TensorValues v = current_->tensor(t);
    outputs_[i].direct = false;
    if (!has_own_buffer(i)) {
      if (!t.late_shape && outputs_[i].given) TRY(check_output(i, outputs[i], v.dims(), t.rank));
      continue;
    }
    outputs_[i].base = nullptr;
    if (exe_->code.buffers[t.buffer].late_memory) {
      // Known already where it depends on state lengths alone; else the program allocates it.
      int64_t bytes = 0;
      if (!exe_->code.program.eval(exe_->code.buffers[t.buffer].bytes, machine_.slots().data(), &bytes)) continue;
      TRY(evaluate_tensor(exe_->plan, exe_->code, exe_->plan.outputs[i].tensor, machine_.slots().data(), v));
      TRY(check_tensor_fits(exe_->plan, exe_->plan.outputs[i].tensor, v, bytes));
      TRY_ASSIGN(std::byte* data, output_memory(i, v, v.hi()));
      machine_.set_memory(t.buffer, data, v.hi());
      continue;
    }
    if (t.late_shape)
      return invalid("output " + name_text(exe_->plan.outputs[i].name) +
                     " has a shape that only the run determines, but a buffer of fixed size");
    TRY_ASSIGN(std::byte* data, output_memory(i, v, v.hi()));
    machine_.set_memory(t.buffer, data, current_->buffer_bytes[t.buffer]);
  }
  return {};
}

Status ContextImpl::finish_outputs(std::span<TensorView> outputs, bool device_outputs) {
  for (int i = 0; i < static_cast<int>(outputs.size()); ++i)
    if (!outputs_[i].direct) TRY(finish_output(i, outputs[i], device_outputs));
  return {};
}

Status ContextImpl::finish_output(int i, TensorView& view, bool device_outputs) {
  Output& out = outputs_[i];
  TRY_ASSIGN(StridedRef from, machine_.locate(exe_->plan.outputs[i].tensor));
  if (out.given) TRY(check_output(i, view, from.dims, from.rank));
  if (queue_ && (out.given ? view.device != TensorView::kHost : device_outputs)) return show_on_device(i, view, from);
  if (queue_) {
    int64_t lo = 0, hi = 0;
    strided_extent(from.dtype, from.rank, from.dims, from.strides, &lo, &hi);
    TRY(reserve(out.own, out.spare, hi - lo));
    if (hi > lo) TRY(queue_->download(out.own.data(), from.data + lo, hi - lo));
    from.data = out.own.data() - lo;
  }
  if (out.given) {
    strided_copy(ref_of(view), from, exe_->pool.get());
    return {};
  }
  view = shown(std::move(view), from, TensorView::kHost);
  if (has_own_buffer(i) || queue_) return {};
  // It lies in memory that the next run or another output uses too.
  int64_t lo = 0, hi = 0;
  if (!plan_dense_strides(from.dtype, from.rank, view.dims.data(), view.strides.data())) return resources("an output's size overflows");
  strided_extent(from.dtype, from.rank, view.dims.data(), view.strides.data(), &lo, &hi);
  if (hi < lo) return resources("an output's size overflows");
  TRY(reserve(out.own, out.spare, hi));
  view.data = out.own.data();
  strided_copy(ref_of(view), from, exe_->pool.get());
  return {};
}

// The result stays on the device: in memory of its own, or copied to where the caller wants it.
Status ContextImpl::show_on_device(int output, TensorView& view, StridedRef from) {
  Output& out = outputs_[output];
  int64_t lo = 0, hi = 0;
  strided_extent(from.dtype, from.rank, from.dims, from.strides, &lo, &hi);
  if (out.given) return device_copy(*queue_, ref_of(view), from);
  if (!has_own_buffer(output)) {
    TRY(reserve(out.device, out.device_spare, hi - lo));
    if (hi > lo) TRY(queue_->copy(out.device.data(), from.data + lo, hi - lo));
    from.data = out.device.data() - lo;
  }
  view = shown(std::move(view), from, exe_->device->number());
  return {};
}

}  // namespace weft
