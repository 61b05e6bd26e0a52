// Pooling, convolution and resampling of old opsets; ONNX Runtime's fused convolution.
#include <algorithm>

#include "frontend/onnx/rules/rules.h"
#include "ir/ops/pool.h"
#include "ir/ops/resample.h"

namespace weft {

// Opset 1 had a float p, which must be a whole number here.
Values rule_lp_pool(Node& n) {
  OpKind kind = kind_of(n);
  if (n.version >= 2) return n.as(kind);
  double p = n.float_attr("p", 2);
  if (p != static_cast<int64_t>(p)) return unsupported("p of " + std::to_string(p) + " in " + n.type() + "-1");
  if (kind == OpKind::global_lp_pool) {
    GlobalLpPoolAttrs a;
    a.p = static_cast<int64_t>(p);
    return n.done({n.op(kind, {n.need(0)}, a)});
  }
  LpPoolAttrs a;
  a.auto_pad = n.text_attr("auto_pad", a.auto_pad);
  a.kernel_shape = n.ints_attr("kernel_shape");
  a.pads = n.ints_attr("pads");
  a.strides = n.ints_attr("strides");
  a.p = static_cast<int64_t>(p);
  return n.done({n.op(kind, {n.need(0)}, a)});
}

// Resizing before opset 11: result element i stands at i / scale, and the nearest element is the one before it, or the
// one behind it where the tensor shrinks.
static Values old_resize(Node& n, Value* scales, bool shrinks) {
  ResizeAttrs a;
  a.mode = n.text_attr("mode", "nearest");
  if (a.mode == "bilinear") a.mode = "linear";
  a.coordinate_transformation_mode = "asymmetric";
  a.nearest_mode = shrinks ? "ceil" : "floor";
  return n.done({n.op(OpKind::resize, {n.need(0), nullptr, scales}, a)});
}

Values rule_upsample(Node& n) {
  if (n.version >= 9) return old_resize(n, n.need(1), false);
  if (n.version >= 7) return old_resize(n, float_vector(n, n.floats_attr("scales")), false);
  return old_resize(n, float_vector(n, {1, 1, n.float_attr("height_scale", 1), n.float_attr("width_scale", 1)}), false);
}

Values rule_resize(Node& n) {
  if (n.version >= 11) return n.as(OpKind::resize);
  bool nearest = n.text_attr("mode", "nearest") == "nearest";
  if (!nearest) return old_resize(n, n.need(1), false);
  auto scales = n.need(1) ? const_floats(n.need(1)) : std::nullopt;
  if (!scales) return unsupported("nearest Resize-10 by scales that are not constant");
  bool grows = std::any_of(scales->begin(), scales->end(), [](double s) { return s > 1; });
  bool shrinks = std::any_of(scales->begin(), scales->end(), [](double s) { return s < 1; });
  if (grows && shrinks) return unsupported("nearest Resize-10 that grows one dim and shrinks another");
  return old_resize(n, n.need(1), shrinks);
}

Values rule_roi_align(Node& n) {
  RoiAlignAttrs a = attrs_of<RoiAlignAttrs>(n, OpKind::roi_align);
  if (n.version < 16) a.coordinate_transformation_mode = "output_half_pixel";
  return n.done({n.op(OpKind::roi_align, n.inputs, a)});
}

Values rule_grid_sample(Node& n) {
  GridSampleAttrs a = attrs_of<GridSampleAttrs>(n, OpKind::grid_sample);
  if (a.mode == "bilinear") a.mode = "linear";
  if (a.mode == "bicubic") a.mode = "cubic";
  return n.done({n.op(OpKind::grid_sample, n.inputs, a)});
}

// The input has as many dims as the weight.
Values rule_conv(Node& n) {
  std::vector<Value*> operands = n.inputs;
  Value* x = n.need(0);
  if (x && !x->type.ranked) operands[0] = n.with_rank(x, n.rank(n.need(1)));
  return n.as(OpKind::conv, operands);
}

// Where `move`, dim 1 becomes the last one, or the last one dim 1.
static Value* moved(Node& n, Value* v, bool move, bool to_end) {
  const int rank = n.rank(v);
  if (!move || n.failed()) return v;
  std::vector<int64_t> perm;
  for (int64_t d = 0; d < rank; ++d) perm.push_back(d);
  if (rank > 1) std::rotate(perm.begin() + 1, to_end ? perm.begin() + 2 : perm.end() - 1, perm.end());
  return n.transpose(v, perm);
}
Value* with_channels_first(Node& n, Value* x, bool last) { return moved(n, x, last, false); }
Value* with_channels_last(Node& n, Value* y, bool last) { return moved(n, y, last, true); }

Values rule_fused_conv(Node& n) {
  ConvAttrs a = attrs_of<ConvAttrs>(n, OpKind::conv);
  std::vector<Value*> operands(n.inputs.begin(), n.inputs.begin() + std::min(n.num_inputs(), 3));
  Value* y = n.op(OpKind::conv, operands, a);
  if (n.in(3)) y = n.add(y, n.in(3));
  return n.done({activated(n, y)});
}

}  // namespace weft
