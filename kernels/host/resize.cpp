#include "kernels/host/resize.h"

#include <algorithm>
#include <cmath>

#include "ir/base/text.h"
#include "kernels/host/dense.h"

namespace weft {

using Options = ResizeOptions;

// --- sizes and scales -----------------------------------------------------------------------------------------------

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

// One scale for all: the smallest or largest of those that the sizes ask for.
static Status apply_policy(const Options& o, std::vector<ResizeAxis>& axes) {
  if (o.policy == Options::Policy::stretch || axes.empty()) return {};
  bool larger = o.policy == Options::Policy::not_smaller;
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

static Status check_lengths(const Options& o, size_t n, const ResizeRequest& q) {
  if (q.scales.empty() == q.sizes.empty() && n > 0) return invalid("resize takes either scales or sizes");
  if ((q.scales.empty() || q.scales.size() == n) && (q.sizes.empty() || q.sizes.size() == n) && (!o.crops() || q.roi.size() == 2 * n)) return {};
  return invalid("resize of " + std::to_string(n) + " dims has " + std::to_string(q.scales.size()) + " scales, " + std::to_string(q.sizes.size()) +
      " sizes and " +
                 std::to_string(q.roi.size()) + " roi elements");
}

Result<std::vector<ResizeAxis>> resize_axes(const Options& o, const Shape& dims, const ResizeRequest& q) {
  size_t n = o.axes.empty() ? dims.size() : o.axes.size();
  TRY(check_lengths(o, n, q));
  std::vector<ResizeAxis> axes(n);
  for (size_t k = 0; k < n; ++k) {
    ResizeAxis& x = axes[k];
    x.axis = o.axes.empty() ? static_cast<int>(k) : static_cast<int>(o.axes[k]);
    x.in = dims[x.axis];
    if (q.sizes.empty()) {
      x.scale = q.scales[k];
      if (!(x.scale > 0 && std::isfinite(x.scale))) return invalid("resize by " + std::to_string(x.scale));
      TRY_ASSIGN(x.out, scaled_dim(x.in, x.scale));
    } else {
      x.out = q.sizes[k];
      if (x.out.is_const() && x.out.value() < 0) return invalid("resize to a dim of " + x.out.to_string());
      if (x.in.is_const() && x.out.is_const() && x.in.value() > 0) x.scale = static_cast<double>(x.out.value()) / static_cast<double>(x.in.value());
    }
    if (o.crops()) {
      x.roi_begin = q.roi[k];
      x.roi_end = q.roi[n + k];
    }
  }
  if (!q.sizes.empty()) TRY(apply_policy(o, axes));
  for (const ResizeAxis& x : axes)
    if (x.in.is(0) && !x.out.is(0)) return invalid("resize of a dim without elements");
  std::erase_if(axes, [&](const ResizeAxis& x) { return x.in == x.out && (x.scale == 1 || x.scale == 0) && x.roi_begin == 0 && x.roi_end == 1; });
  std::sort(axes.begin(), axes.end(), [](const ResizeAxis& x, const ResizeAxis& y) { return x.axis < y.axis; });
  return axes;
}

// --- one dim --------------------------------------------------------------------------------------------------------

ResizeTaps resize_taps(const Options& o, double scale) {
  if (o.mode == Options::Mode::nearest) return {};
  int64_t radius = o.mode == Options::Mode::linear ? 1 : 2;
  if (o.antialias && scale < 1) radius = static_cast<int64_t>(std::ceil(std::min(static_cast<double>(radius) / scale, 1e15)));
  return {2 * radius, 1 - radius};
}

// Where result i lies in the input.
static double source_of(const Options& o, const ResizeAxis& x, double i) {
  using C = Options::Coordinates;
  double in = static_cast<double>(x.in.value()), width = x.scale * in, half_pixel = (i + 0.5) / x.scale - 0.5;
  switch (o.coordinates) {
    case C::asymmetric: return i / x.scale;
    case C::align_corners: return width == 1 ? 0 : i * (in - 1) / (width - 1);
    case C::pytorch_half_pixel: return width == 1 ? -0.5 : half_pixel;
    case C::tf_half_pixel_for_nn: return (i + 0.5) / x.scale;
    case C::tf_crop_and_resize: {
      double extent = (x.roi_end - x.roi_begin) * (in - 1);
      return x.roi_begin * (in - 1) + (width == 1 ? extent / 2 : i * extent / (width - 1));
    }
    case C::half_pixel_symmetric: return in / 2 * (1 - static_cast<double>(x.out.value()) / width) + half_pixel;
    case C::half_pixel: return half_pixel;
  }
  UNREACHABLE();
}
static int64_t nearest_of(Options::Nearest mode, double source, int64_t in) {
  using N = Options::Nearest;
  double r = mode == N::floor ? std::floor(source) : mode == N::ceil ? std::ceil(source) :
             mode == N::round_prefer_ceil ? std::floor(source + 0.5) : std::ceil(source - 0.5);
  return static_cast<int64_t>(std::clamp(r, 0.0, static_cast<double>(in - 1)));
}
// The kernel of linear or cubic interpolation at distance d.
static double weight_at(const Options& o, double d) {
  d = std::fabs(d);
  if (o.mode == Options::Mode::linear) return std::max(0.0, 1 - d);
  double A = o.cubic_coeff_a;
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

static AxisTaps axis_taps(const Options& o, const ResizeAxis& x) {
  ResizeTaps shape = resize_taps(o, x.scale);
  int64_t in = x.in.value(), out = x.out.value();
  double stretch = o.antialias ? std::min(x.scale, 1.0) : 1.0;
  AxisTaps t{.count = shape.count, .elements = {}, .weights = {}, .outside = std::vector<bool>(static_cast<size_t>(out))};
  for (int64_t i = 0; i < out; ++i) {
    double source = source_of(o, x, static_cast<double>(i)), sum = 0;
    t.outside[i] = o.crops() && !(source >= 0 && source <= static_cast<double>(in - 1));
    source = std::isnan(source) ? 0 : std::clamp(source, -1e15, 1e15);
    if (o.mode == Options::Mode::nearest) {
      t.elements.push_back(nearest_of(o.nearest, source, in));
      t.weights.push_back(1);
      continue;
    }
    int64_t floor = static_cast<int64_t>(std::floor(source));
    for (int64_t k = 0; k < shape.count; ++k) {
      int64_t e = floor + shape.first + k;
      double w = o.exclude_outside && (e < 0 || e >= in) ? 0 : weight_at(o, (static_cast<double>(e) - source) * stretch);
      t.elements.push_back(std::clamp<int64_t>(e, 0, in - 1));
      t.weights.push_back(w);
      sum += w;
    }
    if (!o.exclude_outside && stretch == 1) continue;  // sums to one already
    for (int64_t k = 0; k < shape.count && sum != 0; ++k) t.weights[t.weights.size() - 1 - k] /= sum;
  }
  return t;
}

// --- all dims -------------------------------------------------------------------------------------------------------

static std::vector<double> resize_along(const std::vector<double>& x, std::vector<int64_t>& dims, const ResizeAxis& axis, const AxisTaps& t,
    double extrapolation) {
  int64_t outer = 1, inner = 1, in = dims[axis.axis], out = axis.out.value();
  for (int d = 0; d < axis.axis; ++d) outer *= dims[d];
  for (size_t d = axis.axis + 1; d < dims.size(); ++d) inner *= dims[d];
  dims[axis.axis] = out;
  std::vector<double> y(static_cast<size_t>(outer * out * inner), 0.0);
  for (int64_t p = 0; p < outer; ++p)
    for (int64_t i = 0; i < out; ++i) {
      double* to = y.data() + (p * out + i) * inner;
      if (t.outside[i]) std::fill(to, to + inner, extrapolation);
      for (int64_t k = 0; k < t.count && !t.outside[i]; ++k) {
        const double* from = x.data() + (p * in + t.elements[i * t.count + k]) * inner;
        double w = t.weights[i * t.count + k];
        for (int64_t j = 0; j < inner; ++j) to[j] += w * from[j];
      }
    }
  return y;
}
static void resize_nearest(const TensorView& x, const Options& o, const std::vector<ResizeAxis>& axes, const TensorView& y) {
  std::vector<std::vector<int64_t>> offsets(y.dims.size());
  for (size_t d = 0; d < y.dims.size(); ++d)
    for (int64_t i = 0; i < y.dims[d]; ++i) offsets[d].push_back(i * x.strides[d]);
  for (const ResizeAxis& axis : axes) {
    AxisTaps t = axis_taps(o, axis);
    for (int64_t i = 0; i < y.dims[axis.axis]; ++i) offsets[axis.axis][i] = t.elements[i] * x.strides[axis.axis];
  }
  for (Walk w(y); !w.done(); w.next()) {
    int64_t from = 0;
    for (size_t d = 0; d < offsets.size(); ++d) from += offsets[d][w.index()[d]];
    copy_cell(x, from, y, w.offset());
  }
}

Status host_resize(const TensorView& x, const Options& o, std::vector<ResizeAxis> axes, const TensorView& y) {
  if (y.numel() == 0) return {};
  bool numbers = is_float(x.dtype) || is_int(x.dtype);
  if (o.mode == Options::Mode::nearest && !(o.crops() && numbers)) {
    resize_nearest(x, o, axes, y);
    return {};
  }
  if (!numbers) return invalid(std::string("resize cannot interpolate ") + dtype_name(x.dtype));
  std::vector<double> v = dense_doubles(x);
  std::vector<int64_t> now = x.dims;
  // Shrinking first: nothing in between is larger than both x and y.
  std::stable_sort(axes.begin(), axes.end(), [](const ResizeAxis& p, const ResizeAxis& r) { return p.scale < r.scale; });
  for (const ResizeAxis& axis : axes) {
    if (resize_taps(o, axis.scale).count > (int64_t{1} << 31) / axis.out.value())
        return resources("resize by " + std::to_string(axis.scale) + " takes too many elements per result");
    v = resize_along(v, now, axis, axis_taps(o, axis), o.extrapolation_value);
  }
  if (!is_float(x.dtype))
    for (double& d : v) d = std::nearbyint(d);
  store_doubles(v, y);
  return {};
}

}  // namespace weft
