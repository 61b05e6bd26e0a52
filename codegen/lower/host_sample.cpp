// Host calls of ops that read between elements, where no rule gives a kernel.
#include "codegen/lower/host_op.h"
#include "ir/ops/pool.h"
#include "ir/ops/resample.h"

namespace weft {

// Scales and rois that only the run knows; sizes whose effect does not follow from Dim arithmetic.
static bool resizes_on_host(const Op& op) {
  auto o = resize_options(op.attr<ResizeAttrs>(), op.operands[0]->type.rank());
  if (!o.ok()) return false;
  auto unknown = [&](int i) { return op.operand(i) && !constant_of(op.operands[i]); };
  bool open = unknown(3);
  for (const Dim& d : op.operands[0]->type.shape) open = open || !d.is_const();
  bool exact = o.value().policy != ResizeOptions::Policy::stretch || (o.value().antialias && o.value().mode != ResizeOptions::Mode::nearest);
  return (o.value().crops() && unknown(1)) || unknown(2) || (open && exact);
}
// More elements per result than a kernel would read one by one.
static bool grid_is_wide(const Op& op) {
  int spatial = op.operands[0]->type.rank() - 2;
  const std::string& mode = op.attr<GridSampleAttrs>().mode;
  return spatial > (mode == "cubic" ? 3 : mode == "linear" ? 6 : 60);
}
bool sampled_on_host(const Op& op) {
  switch (op.kind) {
    case OpKind::grid_sample: return grid_is_wide(op);
    case OpKind::deform_conv: case OpKind::det: case OpKind::max_unpool: case OpKind::roi_align: case OpKind::max_roi_pool: return true;
    case OpKind::resize: return resizes_on_host(op);
    default: return false;
  }
}

static Status resize_call(HostOp& h) {
  const Op& op = h.op;
  const ResizeAttrs& a = op.attr<ResizeAttrs>();
  TRY_ASSIGN(ResizeOptions o, resize_options(a, op.operands[0]->type.rank()));
  if (o.crops()) TRY(h.input(1, "roi"));
  const char* names[] = {"scales", "sizes"};
  for (int i : {2, 3})
    if (op.operand(i) && !numel(op.operands[i]->type.shape).is(0)) TRY(h.input(i, names[i - 2]));
  h.set("mode", static_cast<int64_t>(o.mode));
  h.set("coordinates", static_cast<int64_t>(o.coordinates));
  h.set("nearest", static_cast<int64_t>(o.nearest));
  h.set("policy", static_cast<int64_t>(o.policy));
  h.set("cubic_coeff_a", o.cubic_coeff_a);
  h.set("extrapolation_value", o.extrapolation_value);
  h.set("exclude_outside", int64_t{o.exclude_outside});
  h.set("antialias", int64_t{o.antialias});
  h.set("axes", static_cast<int64_t>(o.axes.size()));
  for (size_t k = 0; k < o.axes.size(); ++k) h.set("axis" + std::to_string(k), o.axes[k]);
  return h.call("resize");
}

static Status deform_conv_call(HostOp& h) {
  const DeformConvAttrs& a = h.op.attr<DeformConvAttrs>();
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes_of(h.op));
  TRY(h.input(1));
  TRY(h.input(2));
  TRY(h.input(3, "bias"));
  TRY(h.input(4, "mask"));
  const char* ends[] = {"_h", "_w"};
  for (int d = 0; d < 2; ++d) {
    if (!axes[d].pad_begin.is_const()) return unsupported("deform_conv with pads that only the run knows");
    h.set(std::string("stride") + ends[d], axes[d].stride);
    h.set(std::string("pad") + ends[d], axes[d].pad_begin.value());
    h.set(std::string("dilation") + ends[d], axes[d].dilation);
  }
  h.set("group", a.group);
  h.set("offset_group", a.offset_group);
  return h.call("deform_conv");
}

static Status max_unpool_call(HostOp& h) {
  const MaxUnpoolAttrs& a = h.op.attr<MaxUnpoolAttrs>();
  size_t rank = a.kernel_shape.size();
  TRY(h.input(1));
  for (size_t d = 0; d < rank; ++d) {
    int64_t pads = a.pads.empty() ? 0 : a.pads[d] + a.pads[rank + d];
    h.set("stride" + std::to_string(d), a.strides.empty() ? int64_t{1} : a.strides[d]);
    h.set("extra" + std::to_string(d), a.kernel_shape[d] - pads);
  }
  return h.call("max_unpool");
}

Status sample_call(HostOp& h) {
  Op& op = h.op;
  TRY(h.input(0));
  h.output(0);
  switch (op.kind) {
    case OpKind::resize: return resize_call(h);
    case OpKind::deform_conv: return deform_conv_call(h);
    case OpKind::max_unpool: return max_unpool_call(h);
    case OpKind::det: return h.call("det");
    case OpKind::grid_sample: {
      const GridSampleAttrs& a = op.attr<GridSampleAttrs>();
      TRY(h.input(1));
      h.set("mode", int64_t{a.mode == "nearest" ? 0 : a.mode == "linear" ? 1 : 2});
      h.set("outside", int64_t{a.padding_mode == "zeros" ? 0 : a.padding_mode == "border" ? 1 : 2});
      h.set("align_corners", int64_t{a.align_corners});
      return h.call("grid_sample");
    }
    case OpKind::roi_align: {
      const RoiAlignAttrs& a = op.attr<RoiAlignAttrs>();
      TRY(h.input(1));
      TRY(h.input(2));
      h.set("largest", int64_t{a.mode == "max"});
      h.set("half_pixel", int64_t{a.coordinate_transformation_mode == "half_pixel"});
      h.set("sampling_ratio", a.sampling_ratio);
      h.set("spatial_scale", a.spatial_scale);
      return h.call("roi_align");
    }
    default:
      TRY(h.input(1));
      h.set("spatial_scale", op.attr<MaxRoiPoolAttrs>().spatial_scale);
      return h.call("max_roi_pool");
  }
}

}  // namespace weft
