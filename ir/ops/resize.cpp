// resize: separable, one dim at a time, in double; rounded once at the end. `nearest` moves elements of any type.
#include <algorithm>
#include <cmath>

#include "ir/ops/move.h"
#include "ir/ops/resample.h"

namespace weft {

// --- sizes and scales -----------------------------------------------------------------------------------------------

namespace {
// What a resize was given, from known operands or from tensors; lists are for `axes`.
struct ResizeRequest {
  std::vector<double> roi, scales;
  std::vector<Dim> sizes;
};
}  // namespace

static bool needs_roi(const ResizeAttrs& a) { return a.coordinate_transformation_mode == "tf_crop_and_resize"; }

// floor(in * scale); for a symbolic dim only with scales like 2, 0.5 or 1.5.
static Result<Dim> scaled_dim(const Dim& in, double scale) {
  if (in.is_const()) {
    double out = std::floor(static_cast<double>(in.value()) * scale);
    if (!(out >= 0 && out < 1e15)) return invalid("resize to a dim of " + std::to_string(out));
    return Dim(static_cast<int64_t>(out));
  }
  for (int64_t q = 1; q <= 64 && scale < 1e6; ++q) {
    double p = scale * static_cast<double>(q);
    if (p == std::floor(p)) return floordiv(in * Dim(static_cast<int64_t>(p)), q);
  }
  return unsupported("resize of a symbolic dim by " + std::to_string(scale));
}

static Status apply_policy(const ResizeAttrs& a, std::vector<ResizeAxis>& axes) {
  if (a.keep_aspect_ratio_policy == "stretch" || axes.empty()) return {};
  bool larger = a.keep_aspect_ratio_policy == "not_smaller";
  if (!larger && a.keep_aspect_ratio_policy != "not_larger") return invalid("keep_aspect_ratio_policy is " + a.keep_aspect_ratio_policy);
  double scale = larger ? 0 : INFINITY;
  for (const ResizeAxis& x : axes) {
    if (!x.in.is_const() || !x.out.is_const()) return unsupported("resize with keep_aspect_ratio_policy to symbolic sizes");
    double ratio = static_cast<double>(x.out.value()) / static_cast<double>(std::max<int64_t>(x.in.value(), 1));
    scale = larger ? std::max(scale, ratio) : std::min(scale, ratio);
  }
  for (ResizeAxis& x : axes) {
    x.scale = scale;
    TRY_ASSIGN(x.out, scaled_dim(Dim(1), static_cast<double>(x.in.value()) * scale + 0.5));
  }
  return {};
}

static Result<std::vector<ResizeAxis>> requested_axes(const ResizeAttrs& a, const Shape& dims, const ResizeRequest& q) {
  std::vector<int> listed;
  for (size_t d = 0; d < dims.size() && a.axes.empty(); ++d) listed.push_back(static_cast<int>(d));
  if (!a.axes.empty()) {
    TRY_ASSIGN(listed, axes_in_order(a.axes, static_cast<int>(dims.size())));
  }
  size_t n = listed.size();
  if (q.scales.empty() == q.sizes.empty() && n > 0) return invalid("resize takes either scales or sizes");
  if ((!q.scales.empty() && q.scales.size() != n) || (!q.sizes.empty() && q.sizes.size() != n) || (needs_roi(a) && q.roi.size() != 2 * n))
    return invalid("resize of " + std::to_string(n) + " dims has " + std::to_string(q.scales.size()) + " scales, " + std::to_string(q.sizes.size()) + " sizes and " +
                   std::to_string(q.roi.size()) + " roi elements");
  std::vector<ResizeAxis> axes(n);
  for (size_t k = 0; k < n; ++k) {
    ResizeAxis& x = axes[k];
    x.axis = listed[k];
    x.in = dims[listed[k]];
    if (q.sizes.empty()) {
      x.scale = q.scales[k];
      if (!(x.scale > 0 && std::isfinite(x.scale))) return invalid("resize by " + std::to_string(x.scale));
      TRY_ASSIGN(x.out, scaled_dim(x.in, x.scale));
    } else {
      x.out = q.sizes[k];
      if (x.out.is_const() && x.out.value() < 0) return invalid("resize to a dim of " + x.out.to_string());
      if (x.in.is_const() && x.out.is_const() && x.in.value() > 0) x.scale = static_cast<double>(x.out.value()) / static_cast<double>(x.in.value());
    }
    if (needs_roi(a)) {
      x.roi_begin = q.roi[k];
      x.roi_end = q.roi[n + k];
    }
  }
  if (!q.sizes.empty()) TRY(apply_policy(a, axes));
  for (const ResizeAxis& x : axes)
    if (x.in.is(0) && !x.out.is(0)) return invalid("resize of a dim without elements");
  bool same_reading = !needs_roi(a);
  std::erase_if(axes, [&](const ResizeAxis& x) { return x.in == x.out && (x.scale == 1 || x.scale == 0) && (same_reading || (x.roi_begin == 0 && x.roi_end == 1)); });
  std::sort(axes.begin(), axes.end(), [](const ResizeAxis& x, const ResizeAxis& y) { return x.axis < y.axis; });
  return axes;
}

static bool is_empty_vector(const Value* v) { return v->type.is_ranked() && numel(v->type.shape).is(0); }
Result<std::vector<ResizeAxis>> resize_axes(const Op& op) {
  ResizeRequest q;
  const ResizeAttrs& a = op.attr<ResizeAttrs>();
  if (needs_roi(a)) {
    if (!has_operand(op, 1)) return invalid("tf_crop_and_resize without a roi");
    auto roi = const_floats(op.operands[1]);
    if (!roi) return unsupported("resize with a roi that is not constant");
    q.roi = *roi;
  }
  if (has_operand(op, 2) && !is_empty_vector(op.operands[2])) {
    auto scales = const_floats(op.operands[2]);
    if (!scales) return unsupported("resize by scales that are not constant");
    q.scales = *scales;
  }
  if (has_operand(op, 3) && !is_empty_vector(op.operands[3])) {
    const std::vector<Dim>* sizes = known_of(op.operands[3]);
    if (!sizes) return unsupported("resize to sizes that are not known");
    q.sizes = *sizes;
  }
  return requested_axes(a, type_of(op, 0).shape, q);
}

static bool is_one_of(const std::string& v, std::initializer_list<const char*> list) {
  return std::any_of(list.begin(), list.end(), [&](const char* s) { return v == s; });
}
static Status check_resize_modes(const ResizeAttrs& a, DType t) {
  if (!is_one_of(a.mode, {"nearest", "linear", "cubic"})) return invalid("resize's mode is " + a.mode);
  if (!is_one_of(a.nearest_mode, {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"})) return invalid("nearest_mode is " + a.nearest_mode);
  if (!is_one_of(a.coordinate_transformation_mode, {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"}))
    return invalid("coordinate_transformation_mode is " + a.coordinate_transformation_mode);
  if (a.mode != "nearest" && !is_float(t) && !is_int(t)) return invalid(std::string("resize cannot interpolate ") + dtype_name(t));
  return {};
}
static Status infer_resize(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  TRY(check_resize_modes(op.attr<ResizeAttrs>(), x.dtype));
  if (has_operand(op, 3)) TRY(need_int_vector(op, 3));
  auto axes = resize_axes(op);
  if (!axes.ok()) {
    if (axes.error().code != Code::kUnsupported) return axes.error();
    set_unknown_dims(op, 0, x.dtype, x.rank(), cx);
    return {};
  }
  Shape shape = x.shape;
  for (const ResizeAxis& a : axes.value()) shape[a.axis] = a.out;
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  return {};
}

// --- interpolation --------------------------------------------------------------------------------------------------

ResizeTaps resize_taps(const ResizeAttrs& a, double scale) {
  if (a.mode == "nearest") return {};
  int64_t radius = a.mode == "linear" ? 1 : 2;
  if (a.antialias && scale < 1) radius = static_cast<int64_t>(std::ceil(static_cast<double>(radius) / scale));
  return {2 * radius, 1 - radius};
}

// Where result o lies in the input.
static double source_of(const ResizeAttrs& a, const ResizeAxis& x, double o) {
  const std::string& mode = a.coordinate_transformation_mode;
  double in = static_cast<double>(x.in.value()), width = x.scale * in;
  if (mode == "asymmetric") return o / x.scale;
  if (mode == "align_corners") return width == 1 ? 0 : o * (in - 1) / (width - 1);
  if (mode == "pytorch_half_pixel" && width == 1) return -0.5;
  if (mode == "tf_half_pixel_for_nn") return (o + 0.5) / x.scale;
  if (mode == "tf_crop_and_resize") {
    double extent = (x.roi_end - x.roi_begin) * (in - 1), begin = x.roi_begin * (in - 1);
    return begin + (width == 1 ? extent / 2 : o * extent / (width - 1));
  }
  double half_pixel = (o + 0.5) / x.scale - 0.5;
  if (mode == "half_pixel_symmetric") return in / 2 * (1 - static_cast<double>(x.out.value()) / width) + half_pixel;
  return half_pixel;
}
static int64_t nearest_of(const std::string& mode, double source, int64_t in) {
  double r = mode == "floor" ? std::floor(source) : mode == "ceil" ? std::ceil(source) : mode == "round_prefer_ceil" ? std::floor(source + 0.5) : std::ceil(source - 0.5);
  return static_cast<int64_t>(std::clamp(r, 0.0, static_cast<double>(in - 1)));
}
// The kernel of linear or cubic interpolation at distance d.
static double weight_at(const ResizeAttrs& a, double d) {
  d = std::fabs(d);
  if (a.mode == "linear") return std::max(0.0, 1 - d);
  double A = a.cubic_coeff_a;
  if (d <= 1) return ((A + 2) * d - (A + 3)) * d * d + 1;
  return d < 2 ? ((A * d - 5 * A) * d + 8 * A) * d - 4 * A : 0;
}

namespace {
// Per result position along one dim: the elements that it takes, and their weights.
struct AxisTaps {
  int64_t count = 1;
  std::vector<int64_t> elements;
  std::vector<double> weights;
  std::vector<bool> outside;  // extrapolated
};
}  // namespace

static AxisTaps axis_taps(const ResizeAttrs& a, const ResizeAxis& x) {
  ResizeTaps shape = resize_taps(a, x.scale);
  int64_t in = x.in.value(), out = x.out.value();
  double stretch = a.antialias ? std::min(x.scale, 1.0) : 1.0;
  AxisTaps t{.count = shape.count, .elements = {}, .weights = {}, .outside = std::vector<bool>(static_cast<size_t>(out))};
  for (int64_t o = 0; o < out; ++o) {
    double source = source_of(a, x, static_cast<double>(o)), sum = 0;
    t.outside[o] = needs_roi(a) && !(source >= 0 && source <= static_cast<double>(in - 1));
    source = std::clamp(source, -1e15, 1e15);
    if (a.mode == "nearest") {
      t.elements.push_back(nearest_of(a.nearest_mode, source, in));
      t.weights.push_back(1);
      continue;
    }
    int64_t floor = static_cast<int64_t>(std::floor(source));
    for (int64_t k = 0; k < shape.count; ++k) {
      int64_t e = floor + shape.first + k;
      double w = a.exclude_outside && (e < 0 || e >= in) ? 0 : weight_at(a, (static_cast<double>(e) - source) * stretch);
      t.elements.push_back(std::clamp<int64_t>(e, 0, in - 1));
      t.weights.push_back(w);
      sum += w;
    }
    if (!a.exclude_outside && stretch == 1) continue;  // sums to one already
    for (int64_t k = 0; k < shape.count && sum != 0; ++k) t.weights[t.weights.size() - 1 - k] /= sum;
  }
  return t;
}

// One dim of x resized.
static std::vector<double> resize_along(const std::vector<double>& x, std::vector<int64_t>& dims, const ResizeAxis& axis, const AxisTaps& t, double extrapolation) {
  int64_t outer = 1, inner = 1, in = dims[axis.axis], out = axis.out.value();
  for (int d = 0; d < axis.axis; ++d) outer *= dims[d];
  for (size_t d = axis.axis + 1; d < dims.size(); ++d) inner *= dims[d];
  dims[axis.axis] = out;
  std::vector<double> y(static_cast<size_t>(outer * out * inner), 0.0);
  for (int64_t p = 0; p < outer; ++p)
    for (int64_t o = 0; o < out; ++o) {
      double* to = y.data() + (p * out + o) * inner;
      if (t.outside[o]) std::fill(to, to + inner, extrapolation);
      for (int64_t k = 0; k < t.count && !t.outside[o]; ++k) {
        const double* from = x.data() + (p * in + t.elements[o * t.count + k]) * inner;
        double w = t.weights[o * t.count + k];
        for (int64_t i = 0; i < inner; ++i) to[i] += w * from[i];
      }
    }
  return y;
}
static Result<Tensor> resize_nearest(const ResizeAttrs& a, const Tensor& x, const std::vector<ResizeAxis>& axes, const std::vector<int64_t>& dims) {
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, dims));
  std::vector<int64_t> strides = dense_strides(x.dims), from, index(dims.size(), 0);
  std::vector<std::vector<int64_t>> offsets(dims.size());
  for (size_t d = 0; d < dims.size(); ++d)
    for (int64_t o = 0; o < dims[d]; ++o) offsets[d].push_back(o * strides[d]);
  for (const ResizeAxis& axis : axes) {
    AxisTaps t = axis_taps(a, axis);
    for (int64_t o = 0; o < dims[axis.axis]; ++o) offsets[axis.axis][o] = t.elements[o] * strides[axis.axis];
  }
  if (y.numel() == 0) return y;
  do {
    int64_t at = 0;
    for (size_t d = 0; d < dims.size(); ++d) at += offsets[d][index[d]];
    from.push_back(at);
  } while (next_index(index, dims));
  copy_listed(y, {}, x, from);
  return y;
}

static Result<ResizeRequest> request_of(EvalCall& call) {
  ResizeRequest q;
  if (call.has(1) && needs_roi(call.attr<ResizeAttrs>())) q.roi = load_all<double>(call.tensor(1));
  if (call.has(2)) q.scales = load_all<double>(call.tensor(2));
  if (call.has(3))
    for (int64_t s : load_all<int64_t>(call.tensor(3))) q.sizes.push_back(s);
  return q;
}
static Result<std::vector<HostValue>> eval_resize(EvalCall& call) {
  const ResizeAttrs& a = call.attr<ResizeAttrs>();
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(ResizeRequest q, request_of(call));
  TRY_ASSIGN(std::vector<ResizeAxis> axes, requested_axes(a, to_shape(x.dims), q));
  std::vector<int64_t> dims = x.dims;
  for (const ResizeAxis& axis : axes) dims[axis.axis] = axis.out.value();
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, dims));
  bool extrapolates = needs_roi(a) && (is_float(x.dtype) || is_int(x.dtype));
  if (y.numel() == 0) return one(std::move(y));
  if (a.mode == "nearest" && !extrapolates) return one(resize_nearest(a, x, axes, dims));
  std::vector<double> v = load_all<double>(x);
  std::vector<int64_t> now = x.dims;
  // Shrinking first: nothing in between is larger than both x and y.
  std::stable_sort(axes.begin(), axes.end(), [](const ResizeAxis& p, const ResizeAxis& r) { return p.scale < r.scale; });
  for (const ResizeAxis& axis : axes) {
    ResizeTaps taps = resize_taps(a, axis.scale);
    if (taps.count > (int64_t{1} << 31) / std::max<int64_t>(axis.out.value(), 1)) return resources("resize by " + std::to_string(axis.scale) + " takes too many elements per result");
    v = resize_along(v, now, axis, axis_taps(a, axis), a.extrapolation_value);
  }
  if (is_float(x.dtype)) {
    store_row(y, 0, v.data(), y.numel());
    return one(std::move(y));
  }
  std::vector<int64_t> whole;
  double most = std::min(static_cast<double>(int_max(x.dtype)), 0x1.fffffffffffffp62);  // the last double below 2^63
  for (double d : v) whole.push_back(static_cast<int64_t>(std::clamp(std::nearbyint(d), static_cast<double>(int_min(x.dtype)), most)));
  store_row(y, 0, whole.data(), y.numel());
  return one(std::move(y));
}

static Cost cost_resize(const Op& op) {
  Cost c = moved_bytes(op, 0);
  auto axes = resize_axes(op);
  if (!axes.ok()) return c;
  c.flops = numel(op.result()->type.shape);
  for (const ResizeAxis& x : axes.value()) c.flops *= Dim(2 * resize_taps(op.attr<ResizeAttrs>(), x.scale > 0 ? x.scale : 1).count);
  return c;
}
OpDef def_resize() {
  return {.onnx = "Resize", .family = Family::resample, .min_operands = 1, .max_operands = 4, .attrs = make_attrs<ResizeAttrs>, .infer = infer_resize,
          .eval = eval_resize, .cost = cost_resize};
}

}  // namespace weft
