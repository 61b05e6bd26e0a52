// grid_sample: per position, the elements that take part and their weights, then every channel.
#include "kernels/host/dense.h"
#include "kernels/host/sample.h"

namespace weft {

namespace {
using Options = GridSampleOptions;
struct Tap {
  int64_t offset;
  double weight;
};

double reflect(double v, double lo, double hi) {
  double range = hi - lo, over = v < lo ? lo - v : v - hi;
  if (v >= lo && v <= hi) return v;
  if (range <= 0) return lo;
  double n = std::trunc(over / range), rest = over - n * range;
  bool even = std::fmod(n, 2) == 0;
  return (v < lo) == even ? lo + rest : hi - rest;
}

// One dim of x, as the grid addresses it.
struct Axis {
  double length, lo, hi;
  Options o;
  Axis(int64_t n, const Options& options)
      : length(static_cast<double>(n)), lo(options.align_corners ? 0 : -0.5), hi(options.align_corners ? length - 1 : length - 0.5), o(options) {}

  double position(double g) const {
    double v = o.align_corners ? (g + 1) / 2 * (length - 1) : ((g + 1) * length - 1) / 2;
    if (!(v > -1e9)) v = -1e9;  // NaN, too: far outside
    v = std::min(v, 1e9);
    if (o.mode == Options::Mode::nearest) v = std::nearbyint(v);
    if (v >= lo && v <= hi) return v;
    if (o.outside == Options::Outside::border) return std::clamp(v, 0.0, length - 1);
    return o.outside == Options::Outside::reflection ? reflect(v, lo, hi) : v;
  }
  // The element at a whole position; -1: a zero.
  int64_t element(double at) const {
    if (at >= 0 && at < length) return static_cast<int64_t>(at);
    if (o.outside == Options::Outside::zeros) return -1;
    double v = o.outside == Options::Outside::border ? at : std::trunc(reflect(at, lo, hi));
    return static_cast<int64_t>(std::clamp(v, 0.0, length - 1));
  }
  std::vector<Tap> taps(double g) const {
    double v = position(g);
    if (o.mode == Options::Mode::nearest) return {{element(std::trunc(v)), 1}};
    double f = std::floor(v), t = v - f;
    if (o.mode == Options::Mode::linear) return {{element(f), 1 - t}, {element(f + 1), t}};
    constexpr double A = -0.75;
    auto inner = [](double d) { return ((A + 2) * d - (A + 3)) * d * d + 1; };
    auto outer = [](double d) { return ((A * d - 5 * A) * d + 8 * A) * d - 4 * A; };
    return {{element(f - 1), outer(1 + t)}, {element(f), inner(t)}, {element(f + 1), inner(1 - t)}, {element(f + 2), outer(2 - t)}};
  }
};

// Products of the taps of all dims, those that hit an element.
std::vector<Tap> combine(const std::vector<Axis>& axes, const double* grid) {
  std::vector<Tap> out{{0, 1}};
  for (size_t d = 0; d < axes.size(); ++d) {
    std::vector<Tap> next;
    for (const Tap& a : out)
      for (const Tap& b : axes[d].taps(grid[axes.size() - 1 - d]))
        if (b.offset >= 0) next.push_back({a.offset * static_cast<int64_t>(axes[d].length) + b.offset, a.weight * b.weight});
    out = std::move(next);
  }
  return out;
}
}  // namespace

void host_grid_sample(const TensorView& x, const TensorView& grid, const GridSampleOptions& options, const TensorView& y) {
  std::vector<Axis> axes;
  int64_t plane = 1, rank = x.rank() - 2, channels = x.dims[1];
  for (int64_t d = 0; d < rank; ++d) {
    axes.emplace_back(x.dims[2 + d], options);
    plane *= x.dims[2 + d];
  }
  if (y.numel() == 0) return;
  int64_t positions = y.numel() / (y.dims[0] * channels);
  std::vector<double> from = dense_doubles(x), at = dense_doubles(grid), out(static_cast<size_t>(y.numel()), 0.0);
  for (int64_t n = 0; n < y.dims[0]; ++n)
    for (int64_t p = 0; p < positions && plane > 0; ++p) {
      std::vector<Tap> taps = combine(axes, at.data() + (n * positions + p) * rank);
      for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (const Tap& t : taps) sum += t.weight * from[(n * channels + c) * plane + t.offset];
        out[(n * channels + c) * positions + p] = sum;
      }
    }
  store_doubles(out, y);
}

}  // namespace weft
