// roi_align and max_roi_pool. roi_align's `max` takes the largest of the four weighted neighbours of each sample, as ONNX's
// reference does, not the largest interpolated value.
#include "kernels/host/dense.h"
#include "kernels/host/sample.h"

namespace weft {

namespace {
constexpr int64_t kMostSamples = int64_t{1} << 22;  // of one bin

struct Bins {
  double begin, size;   // of a bin
  int64_t count, samples;
};
struct Point {
  int64_t low, high;
  double t;             // weight of high
  bool inside;
};

Point point_at(double v, int64_t length) {
  if (!(v >= -1 && v <= static_cast<double>(length))) return {0, 0, 0, false};
  v = std::max(v, 0.0);
  int64_t low = static_cast<int64_t>(v);
  if (low >= length - 1) return {length - 1, length - 1, 0, true};
  return {low, low + 1, v - static_cast<double>(low), true};
}
std::vector<Point> points(const Bins& b, int64_t length) {
  std::vector<Point> out;
  for (int64_t p = 0; p < b.count; ++p)
    for (int64_t s = 0; s < b.samples; ++s)
      out.push_back(point_at(b.begin + (static_cast<double>(p) + (static_cast<double>(s) + 0.5) / static_cast<double>(b.samples)) * b.size, length));
  return out;
}

Result<Bins> bins(double from, double to, int64_t count, const RoiAlignOptions& o) {
  double shift = o.half_pixel ? 0.5 : 0, begin = from * o.spatial_scale - shift, extent = to * o.spatial_scale - shift - begin;
  if (!o.half_pixel) extent = std::max(extent, 1.0);
  double size = extent / static_cast<double>(count), samples = o.sampling_ratio > 0 ? static_cast<double>(o.sampling_ratio) : std::ceil(size);
  if (!(std::fabs(begin) < 1e15) || !(samples <= static_cast<double>(kMostSamples) / static_cast<double>(count)))
      return resources("a region of interest is too large");
  return Bins{begin, size, count, std::max<int64_t>(static_cast<int64_t>(samples), 0)};
}

double bin_value(const double* plane, int64_t width, const Point* y, int64_t ny, const Point* x, int64_t nx, bool largest) {
  double value = 0;
  bool first = true;
  for (int64_t i = 0; i < ny; ++i)
    for (int64_t j = 0; j < nx; ++j) {
      double v = 0;
      if (y[i].inside && x[j].inside) {
        double a = (1 - y[i].t) * (1 - x[j].t) * plane[y[i].low * width + x[j].low], b = (1 - y[i].t) * x[j].t * plane[y[i].low * width + x[j].high];
        double c = y[i].t * (1 - x[j].t) * plane[y[i].high * width + x[j].low], d = y[i].t * x[j].t * plane[y[i].high * width + x[j].high];
        v = largest ? std::max(std::max(a, b), std::max(c, d)) : a + b + c + d;
      }
      value = !largest ? value + v : first ? v : std::max(value, v);
      first = false;
    }
  return largest ? value : value / static_cast<double>(std::max<int64_t>(ny * nx, 1));
}

Result<int64_t> batch_of(double v, int64_t batches) {
  if (v >= 0 && v < static_cast<double>(batches)) return static_cast<int64_t>(v);
  return invalid("a region of interest in a batch that is not there");
}
}  // namespace

Status host_roi_align(const TensorView& x, const TensorView& rois, const TensorView& batch, const RoiAlignOptions& options, const TensorView& y) {
  int64_t channels = x.dims[1], height = x.dims[2], width = x.dims[3], ph = y.dims[2], pw = y.dims[3];
  std::vector<double> from = dense_doubles(x), r = dense_doubles(rois), b = dense_doubles(batch), out;
  if (y.numel() == 0) return {};
  if (height < 1 || width < 1) return invalid("regions of interest of an empty picture");
  for (int64_t n = 0; n < y.dims[0]; ++n) {
    TRY_ASSIGN(int64_t at, batch_of(b[n], x.dims[0]));
    TRY_ASSIGN(Bins down, bins(r[4 * n + 1], r[4 * n + 3], ph, options));
    TRY_ASSIGN(Bins across, bins(r[4 * n], r[4 * n + 2], pw, options));
    if (down.samples * across.samples > kMostSamples) return resources("a region of interest is too large");
    std::vector<Point> ys = points(down, height), xs = points(across, width);
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < ph; ++i)
        for (int64_t j = 0; j < pw; ++j)
          out.push_back(bin_value(from.data() + (at * channels + c) * height * width, width, ys.data() + i * down.samples, down.samples,
                                  xs.data() + j * across.samples, across.samples, options.largest));
  }
  store_doubles(out, y);
  return {};
}

// Elements [first, second) of bin p of a region from..to (both belong to it).
static std::pair<int64_t, int64_t> bin_range(double from, double to, double scale, int64_t p, int64_t count, int64_t length) {
  double begin = std::round(from * scale), size = std::max(std::round(to * scale) - begin + 1, 1.0) / static_cast<double>(count);
  auto clip = [&](double v) { return static_cast<int64_t>(std::clamp(v + begin, 0.0, static_cast<double>(length))); };
  if (!std::isfinite(begin) || !std::isfinite(size)) return {0, 0};
  return {clip(std::floor(static_cast<double>(p) * size)), clip(std::ceil(static_cast<double>(p + 1) * size))};
}
Status host_max_roi_pool(const TensorView& x, const TensorView& rois, double scale, const TensorView& y) {
  int64_t channels = x.dims[1], height = x.dims[2], width = x.dims[3], ph = y.dims[2], pw = y.dims[3];
  std::vector<double> from = dense_doubles(x), r = dense_doubles(rois), out;
  for (int64_t n = 0; n < y.dims[0]; ++n) {
    TRY_ASSIGN(int64_t at, batch_of(r[5 * n], x.dims[0]));
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < ph; ++i)
        for (int64_t j = 0; j < pw; ++j) {
          auto [y0, y1] = bin_range(r[5 * n + 2], r[5 * n + 4], scale, i, ph, height);
          auto [x0, x1] = bin_range(r[5 * n + 1], r[5 * n + 3], scale, j, pw, width);
          double top = y0 < y1 && x0 < x1 ? -INFINITY : 0;
          for (int64_t h = y0; h < y1; ++h)
            for (int64_t w = x0; w < x1; ++w) top = std::max(top, from[((at * channels + c) * height + h) * width + w]);
          out.push_back(top);
        }
  }
  store_doubles(out, y);
  return {};
}

}  // namespace weft
