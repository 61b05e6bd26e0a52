// The host calls over sample.h, resize.h and linear.h.
#include "kernels/host/call_support.h"
#include "kernels/host/dense.h"
#include "kernels/host/linear.h"
#include "kernels/host/resize.h"
#include "kernels/host/sample.h"

namespace weft {

static bool all_floats(const HostCall& c) {
  for (const TensorView& v : c.inputs)
    if (!is_float(v.dtype) || is_subbyte(v.dtype)) return false;
  return is_float(c.outputs[0].dtype) && !is_subbyte(c.outputs[0].dtype);
}
static bool numbers(const TensorView& v) { return (is_float(v.dtype) || is_int(v.dtype)) && !is_subbyte(v.dtype); }
// An attribute in [least, most].
static Result<int64_t> bounded(const HostCall& c, const char* name, int64_t fallback, int64_t least, int64_t most) {
  TRY_ASSIGN(int64_t v, c.integer(name, fallback));
  if (v < least || v > most) return invalid(std::string("a host call's attribute ") + name + " is " + std::to_string(v));
  return v;
}

Status host_call_grid_sample(HostCall& c) {
  TRY(operands(c, 2, 2, 1, 1));
  const TensorView &x = c.inputs[0], &grid = c.inputs[1], &y = c.outputs[0];
  bool fits = numbers(x) && y.dtype == x.dtype && is_float(grid.dtype) && !is_subbyte(grid.dtype) && x.rank() >= 3 && grid.rank() == x.rank() &&
      y.rank() == x.rank() &&
              grid.dims.back() == x.rank() - 2 && grid.dims[0] == x.dims[0] && y.dims[0] == x.dims[0] && y.dims[1] == x.dims[1];
  for (int d = 2; fits && d < y.rank(); ++d) fits = y.dims[d] == grid.dims[d - 1];
  TRY(expect(fits, "wants grid_sample's shapes and types"));
  GridSampleOptions o;
  TRY_ASSIGN(int64_t mode, bounded(c, "mode", 1, 0, 2));
  TRY_ASSIGN(int64_t outside, bounded(c, "outside", 0, 0, 2));
  TRY_ASSIGN(int64_t corners, c.integer("align_corners", 0));
  o.mode = static_cast<GridSampleOptions::Mode>(mode);
  o.outside = static_cast<GridSampleOptions::Outside>(outside);
  o.align_corners = corners != 0;
  host_grid_sample(x, grid, o, y);
  return {};
}

// An attribute that is the number of an enumerator, at most `last`.
template <class E>
static Status enumerator(const HostCall& c, const char* name, E last, E& to) {
  TRY_ASSIGN(int64_t v, bounded(c, name, 0, 0, static_cast<int64_t>(last)));
  to = static_cast<E>(v);
  return {};
}
static Result<ResizeOptions> resize_options(const HostCall& c, int rank) {
  ResizeOptions o;
  TRY(enumerator(c, "mode", ResizeOptions::Mode::cubic, o.mode));
  TRY(enumerator(c, "coordinates", ResizeOptions::Coordinates::tf_half_pixel_for_nn, o.coordinates));
  TRY(enumerator(c, "nearest", ResizeOptions::Nearest::ceil, o.nearest));
  TRY(enumerator(c, "policy", ResizeOptions::Policy::not_smaller, o.policy));
  TRY_ASSIGN(o.cubic_coeff_a, c.real("cubic_coeff_a", -0.75));
  TRY_ASSIGN(o.extrapolation_value, c.real("extrapolation_value", 0));
  TRY_ASSIGN(int64_t exclude, c.integer("exclude_outside", 0));
  TRY_ASSIGN(int64_t antialias, c.integer("antialias", 0));
  TRY_ASSIGN(int64_t axes, bounded(c, "axes", 0, 0, rank));
  o.exclude_outside = exclude != 0;
  o.antialias = antialias != 0;
  for (int64_t k = 0; k < axes; ++k) {
    TRY_ASSIGN(int64_t axis, bounded(c, ("axis" + std::to_string(k)).c_str(), -1, 0, rank - 1));
    TRY(expect(std::find(o.axes.begin(), o.axes.end(), axis) == o.axes.end(), "has an axis twice"));
    o.axes.push_back(axis);
  }
  return o;
}
// For what only the run knows: scales, a roi, sizes under a policy.
Status host_call_resize(HostCall& c) {
  TRY(operands(c, 2, 3, 1, 1));
  const TensorView& x = c.inputs[0];
  TRY(expect(numbers(x) && c.outputs[0].dtype == x.dtype, "wants numbers of one type"));
  TRY_ASSIGN(ResizeOptions o, resize_options(c, x.rank()));
  ResizeRequest q;
  for (const char* name : {"roi", "scales", "sizes"}) {
    TRY_ASSIGN(int i, operand_number(c, name, c.inputs.size()));
    if (i < 0) continue;
    TRY(expect(numbers(c.inputs[i]) && c.inputs[i].rank() == 1 && is_int(c.inputs[i].dtype) == (name[1] == 'i'), "wants vectors of numbers"));
    std::vector<double> v = dense_doubles(c.inputs[i]);
    if (name[0] == 'r') q.roi = std::move(v);
    else if (name[1] == 'c') q.scales = std::move(v);
    else for (double d : v) q.sizes.push_back(Dim(static_cast<int64_t>(std::clamp(d, -1.0, 1e15))));
  }
  Shape from(x.dims.begin(), x.dims.end());
  TRY_ASSIGN(std::vector<ResizeAxis> axes, resize_axes(o, from, q));
  std::vector<int64_t> dims = x.dims;
  for (const ResizeAxis& a : axes) dims[a.axis] = a.out.value();
  TRY(c.resize(0, dims));
  return host_resize(x, o, std::move(axes), c.outputs[0]);
}

Status host_call_deform_conv(HostCall& c) {
  TRY(operands(c, 3, 5, 1, 1));
  TRY_ASSIGN(int bias, operand_number(c, "bias", c.inputs.size()));
  TRY_ASSIGN(int mask, operand_number(c, "mask", c.inputs.size()));
  const TensorView &x = c.inputs[0], &w = c.inputs[1], &offset = c.inputs[2], &y = c.outputs[0];
  constexpr int64_t kMost = int64_t{1} << 31;
  DeformConvOptions o;
  TRY_ASSIGN(o.group, bounded(c, "group", 1, 1, kMost));
  TRY_ASSIGN(o.offset_group, bounded(c, "offset_group", 1, 1, kMost));
  const char* names[] = {"stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w"};
  for (int d = 0; d < 2; ++d) {
    TRY_ASSIGN(o.stride[d], bounded(c, names[d], 1, 1, kMost));
    TRY_ASSIGN(o.pad[d], bounded(c, names[d + 2], 0, -kMost, kMost));
    TRY_ASSIGN(o.dilation[d], bounded(c, names[d + 4], 1, 1, kMost));
  }
  bool fits = all_floats(c) && x.rank() == 4 && w.rank() == 4 && y.rank() == 4 && y.dims[0] == x.dims[0] && y.dims[1] == w.dims[0] &&
      w.dims[0] % o.group == 0 &&
              w.dims[1] == x.dims[1] / o.group && x.dims[1] % o.group == 0 && x.dims[1] % o.offset_group == 0;
  auto field = [&](const TensorView& v, int64_t each) {
    return v.rank() == 4 && v.dims[0] == x.dims[0] && v.dims[1] == o.offset_group * w.dims[2] * w.dims[3] * each && v.dims[2] == y.dims[2] &&
        v.dims[3] == y.dims[3];
  };
  fits = fits && field(offset, 2) && (mask < 0 || field(c.inputs[mask], 1)) &&
      (bias < 0 || (c.inputs[bias].rank() == 1 && c.inputs[bias].dims[0] == y.dims[1]));
  TRY(expect(fits, "wants deform_conv's shapes and types"));
  if (y.numel() > 0) host_deform_conv(x, w, offset, bias < 0 ? nullptr : &c.inputs[bias], mask < 0 ? nullptr : &c.inputs[mask], o, y);
  return {};
}

static bool pooled_regions(const HostCall& c, int64_t columns) {
  const TensorView &x = c.inputs[0], &rois = c.inputs[1], &y = c.outputs[0];
  return is_float(x.dtype) && is_float(rois.dtype) && y.dtype == x.dtype && !is_subbyte(x.dtype) && x.rank() == 4 && y.rank() == 4 &&
      rois.rank() == 2 &&
         rois.dims[1] == columns && y.dims[0] == rois.dims[0] && y.dims[1] == x.dims[1];
}
Status host_call_roi_align(HostCall& c) {
  TRY(operands(c, 3, 3, 1, 1));
  bool fits = pooled_regions(c, 4) && c.inputs[2].rank() == 1 && is_int(c.inputs[2].dtype) && c.inputs[2].dims[0] == c.inputs[1].dims[0];
  TRY(expect(fits, "wants roi_align's shapes and types"));
  RoiAlignOptions o;
  TRY_ASSIGN(int64_t largest, c.integer("largest", 0));
  TRY_ASSIGN(int64_t half_pixel, c.integer("half_pixel", 1));
  TRY_ASSIGN(o.sampling_ratio, bounded(c, "sampling_ratio", 0, 0, int64_t{1} << 31));
  TRY_ASSIGN(o.spatial_scale, c.real("spatial_scale", 1));
  o.largest = largest != 0;
  o.half_pixel = half_pixel != 0;
  return host_roi_align(c.inputs[0], c.inputs[1], c.inputs[2], o, c.outputs[0]);
}
Status host_call_max_roi_pool(HostCall& c) {
  TRY(operands(c, 2, 2, 1, 1));
  TRY(expect(pooled_regions(c, 5), "wants max_roi_pool's shapes and types"));
  TRY_ASSIGN(double scale, c.real("spatial_scale", 1));
  return host_max_roi_pool(c.inputs[0], c.inputs[1], scale, c.outputs[0]);
}

Status host_call_det(HostCall& c) {
  TRY(operands(c, 1, 1, 1, 1));
  const TensorView &x = c.inputs[0], &y = c.outputs[0];
  bool fits = all_floats(c) && x.rank() >= 2 && y.rank() == x.rank() - 2 && x.dims[x.rank() - 1] == x.dims[x.rank() - 2];
  for (int d = 0; fits && d < y.rank(); ++d) fits = y.dims[d] == x.dims[d];
  TRY(expect(fits, "wants square matrices"));
  host_det(x, y);
  return {};
}

// Dim d of what was pooled: (x - 1) * stride<d> + extra<d>.
Status host_call_max_unpool(HostCall& c) {
  TRY(operands(c, 2, 2, 1, 1));
  const TensorView &x = c.inputs[0], &indices = c.inputs[1], &y = c.outputs[0];
  bool fits = numbers(x) && y.dtype == x.dtype && is_int(indices.dtype) && !is_subbyte(indices.dtype) && indices.dims == x.dims &&
      y.rank() == x.rank() && x.rank() >= 2;
  TRY(expect(fits, "wants max_unpool's shapes and types"));
  std::vector<int64_t> pooled = {x.dims[0], x.dims[1]};
  for (int d = 2; d < x.rank(); ++d) {
    TRY_ASSIGN(int64_t stride, bounded(c, ("stride" + std::to_string(d - 2)).c_str(), 1, 1, int64_t{1} << 31));
    TRY_ASSIGN(int64_t extra, bounded(c, ("extra" + std::to_string(d - 2)).c_str(), 1, -(int64_t{1} << 32), int64_t{1} << 32));
    TRY(expect(x.dims[d] < int64_t{1} << 31, "wants fewer elements"));
    pooled.push_back((x.dims[d] - 1) * stride + extra);
  }
  return host_max_unpool(x, indices, pooled, y);
}

}  // namespace weft
