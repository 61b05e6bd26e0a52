// Windows of convolutions and pools: lists of attributes turned into one record per spatial dim.
#include "ir/ops/common.h"
#include "ir/ops/pool.h"

namespace weft {

constexpr int64_t kMostWindow = int64_t{1} << 31;  // keeps products of attributes exact

static Status check_list(const char* name, const std::vector<int64_t>& v, size_t length, int64_t least) {
  if (!v.empty() && v.size() != length)
      return invalid(std::string(name) + " has " + std::to_string(v.size()) + " elements, not " + std::to_string(length));
  for (int64_t e : v)
    if (e < least || e > kMostWindow) return invalid(std::string(name) + " has an element of " + std::to_string(e));
  return {};
}
static int64_t at_or(const std::vector<int64_t>& v, size_t k, int64_t fallback) { return v.empty() ? fallback : v[k]; }

// Everything but the pads and the result's dims. A kernel_shape that is given must be the kernel.
static Result<std::vector<WindowAxis>> bare_axes(const WindowAttrs& a, const Shape& spatial, const Shape& kernel) {
  size_t rank = spatial.size();
  if (rank == 0) return invalid("a window needs a spatial dim");
  if (kernel.size() != rank) return invalid("a kernel of rank " + std::to_string(kernel.size()) + " for " + std::to_string(rank) + " spatial dims");
  TRY(check_list("kernel_shape", a.kernel_shape, rank, 1));
  TRY(check_list("strides", a.strides, rank, 1));
  TRY(check_list("dilations", a.dilations, rank, 1));
  TRY(check_list("pads", a.pads, 2 * rank, 0));
  if (a.auto_pad != "NOTSET" && a.auto_pad != "SAME_UPPER" && a.auto_pad != "SAME_LOWER" && a.auto_pad != "VALID")
      return invalid("auto_pad is " + a.auto_pad);
  std::vector<WindowAxis> axes(rank);
  for (size_t k = 0; k < rank; ++k) {
    bool differ = kernel[k].is_const() && !a.kernel_shape.empty() && !kernel[k].is(a.kernel_shape[k]);
    if (differ) return invalid("kernel_shape says " + std::to_string(a.kernel_shape[k]) + " where the kernel has " + kernel[k].to_string());
    if (kernel[k].is_const() && (kernel[k].value() < 1 || kernel[k].value() > kMostWindow))
        return invalid("a kernel with a dim of " + kernel[k].to_string());
    axes[k].in = spatial[k];
    axes[k].kernel = kernel[k];
    axes[k].stride = at_or(a.strides, k, 1);
    axes[k].dilation = at_or(a.dilations, k, 1);
    axes[k].pad_begin = a.auto_pad == "NOTSET" ? at_or(a.pads, k, 0) : 0;
    axes[k].pad_end = a.auto_pad == "NOTSET" ? at_or(a.pads, rank + k, 0) : 0;
  }
  return axes;
}
static bool is_same(const WindowAttrs& a) { return a.auto_pad == "SAME_UPPER" || a.auto_pad == "SAME_LOWER"; }
static Dim extent_of(const WindowAxis& x) { return (x.kernel - 1) * Dim(x.dilation) + 1; }
// The odd element goes to the end, or to the beginning.
static void share_pads(WindowAxis& x, const Dim& total, bool end_gets_more) {
  Dim half = floordiv(total, 2);
  x.pad_begin = end_gets_more ? half : total - half;
  x.pad_end = total - x.pad_begin;
}

Result<std::vector<WindowAxis>> window_axes(const WindowAttrs& a, const Shape& spatial, const Shape& kernel, bool ceil_mode) {
  TRY_ASSIGN(std::vector<WindowAxis> axes, bare_axes(a, spatial, kernel));
  for (WindowAxis& x : axes) {
    if (is_same(a)) {
      x.out = ceildiv(x.in, x.stride);
      share_pads(x, max((x.out - 1) * Dim(x.stride) + extent_of(x) - x.in, 0), a.auto_pad == "SAME_UPPER");
      continue;
    }
    Dim room = x.in + x.pad_begin + x.pad_end - extent_of(x);
    if (room.is_const() && room.value() < 0 && !x.in.is(0))
      return invalid("a window of " + extent_of(x).to_string() + " is larger than the padded input of " +
          (x.in + x.pad_begin + x.pad_end).to_string());
    x.out = room.is_const() && room.value() < 0 ? Dim(0) : floordiv(room, x.stride) + 1;
    if (!ceil_mode || x.out.is(0)) continue;
    // A last window that would start in the end padding is dropped; only one ever is.
    Dim rounded_up = ceildiv(room, x.stride) + 1, starts = ceildiv(x.in + x.pad_begin, x.stride);
    x.out = max(min(rounded_up, starts), rounded_up - 1);
  }
  return axes;
}

Status kernel_facts(const WindowAttrs& a, const Shape& w, Facts& facts) {
  for (size_t k = 0; k < a.kernel_shape.size(); ++k) TRY(facts.equal(w[k + 2], Dim(a.kernel_shape[k]), "the kernel's dims and kernel_shape"));
  return {};
}

Result<std::vector<WindowAxis>> transpose_window_axes(const ConvTransposeAttrs& a, const Shape& spatial, const Shape& kernel) {
  TRY_ASSIGN(std::vector<WindowAxis> axes, bare_axes(a, spatial, kernel));
  TRY(check_list("output_padding", a.output_padding, axes.size(), 0));
  TRY(check_list("output_shape", a.output_shape, axes.size(), 0));
  for (size_t k = 0; k < axes.size(); ++k) {
    WindowAxis& x = axes[k];
    Dim full = (x.in - 1) * Dim(x.stride) + extent_of(x) + at_or(a.output_padding, k, 0);
    if (!a.output_shape.empty() || is_same(a)) {
      x.out = a.output_shape.empty() ? x.in * Dim(x.stride) : Dim(a.output_shape[k]);
      share_pads(x, full - x.out, a.auto_pad == "SAME_UPPER");
    } else {
      x.out = full - x.pad_begin - x.pad_end;
    }
    if (x.in.is(0) && x.out.is_const() && x.out.value() < 0) x.out = 0;
    if (x.out.is_const() && x.out.value() < 0) return invalid("conv_transpose's pads leave a dim of " + x.out.to_string());
  }
  return axes;
}

template <class A>
static Result<std::vector<WindowAxis>> pool_axes(const Op& op, const Shape& spatial) {
  const A& a = op.attr<A>();
  if (a.kernel_shape.empty()) return invalid(std::string(op_name(op.kind)) + " without a kernel_shape");
  return window_axes(a, spatial, to_shape(a.kernel_shape), a.ceil_mode);
}
static Shape tail(const Type& t) { return Shape(t.shape.begin() + 2, t.shape.end()); }

Result<std::vector<WindowAxis>> window_axes_of(const Op& op) {
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  if (x.rank() < 3) return invalid(std::string(op_name(op.kind)) + " takes an input of rank 3 or more, got " + x.to_string());
  switch (op.kind) {
    case OpKind::max_pool: return pool_axes<MaxPoolAttrs>(op, tail(x));
    case OpKind::average_pool: return pool_axes<AveragePoolAttrs>(op, tail(x));
    case OpKind::lp_pool: return pool_axes<LpPoolAttrs>(op, tail(x));
    default: break;
  }
  TRY(need_tensor(op, 1));
  const Type& w = type_of(op, 1);
  if (w.rank() != x.rank())
      return invalid(std::string(op_name(op.kind)) + " of ranks " + std::to_string(x.rank()) + " and " + std::to_string(w.rank()));
  switch (op.kind) {
    case OpKind::conv: return window_axes(op.attr<ConvAttrs>(), tail(x), tail(w));
    case OpKind::deform_conv: return window_axes(op.attr<DeformConvAttrs>(), tail(x), tail(w));
    case OpKind::conv_transpose: return transpose_window_axes(op.attr<ConvTransposeAttrs>(), tail(x), tail(w));
    default: UNREACHABLE();
  }
}

}  // namespace weft
