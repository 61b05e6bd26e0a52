#include "kernels/host/generate.h"

#include <algorithm>
#include <cmath>

#include "ir/base/text.h"
#include "kernels/host/random.h"
#include "kernels/host/walk.h"

namespace weft {

template <class T>
static T combine_running(T a, T b, bool product) {
  if constexpr (std::is_same_v<T, double>) return product ? a * b : a + b;
  else {
    uint64_t x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
    return static_cast<T>(product ? x * y : x + y);
  }
}

void host_cumulative(const TensorView& x, int axis, const CumulativeOptions& o, const TensorView& y) {
  const int64_t n = x.dims[axis];
  TensorView lines = x, results = y;
  lines.dims[axis] = results.dims[axis] = std::min<int64_t>(n, 1);
  with_cell_carrier(x.dtype, [&](auto carrier) {
    using T = decltype(carrier);
    if constexpr (std::is_same_v<T, std::complex<double>>) {
      UNREACHABLE();
    } else {
      for (Walk from(lines), to(results); !from.done(); from.next(), to.next()) {
        T acc = static_cast<T>(o.product), v{};
        for (int64_t step = 0; step < n; ++step) {
          int64_t i = o.reverse ? n - 1 - step : step, at = to.offset() + i * y.strides[axis];
          load_cell(x, from.offset() + i * x.strides[axis], &v);
          if (o.exclusive) store_cell(y, at, acc);
          acc = combine_running(acc, v, o.product);
          if (!o.exclusive) store_cell(y, at, acc);
        }
      }
    }
  });
}

Result<int64_t> range_count(double start, double limit, double delta) {
  double n = std::ceil((limit - start) / delta);
  if (delta == 0 || std::isnan(n))
    return invalid(
        "range from " + number_text(start) + " to " + number_text(limit) + " in steps of " + number_text(delta));
  if (n > 1e18) return resources("a range of " + number_text(n) + " elements");
  return n > 0 ? static_cast<int64_t>(n) : 0;
}
Result<int64_t> range_count(int64_t start, int64_t limit, int64_t delta) {
  if (delta == 0) return invalid("range in steps of 0");
  __int128 span = static_cast<__int128>(limit) - start, d = delta;
  if (d < 0) {
    span = -span;
    d = -d;
  }
  __int128 n = span > 0 ? (span + d - 1) / d : 0;
  if (n > INT64_MAX) return resources("a range of more than 2^63 elements");
  return static_cast<int64_t>(n);
}

template <class F>
static void fill_random(const TensorView& y, double seed, F draw) {
  RandomStream stream(seed);
  for (Walk w(y); !w.done(); w.next()) store_cell(y, w.offset(), draw(stream));
}
void host_random_normal(double mean, double scale, double seed, const TensorView& y) {
  fill_random(y, seed, [&](RandomStream& s) { return mean + scale * s.normal(); });
}
void host_random_uniform(double low, double high, double seed, const TensorView& y) {
  fill_random(y, seed, [&](RandomStream& s) { return low + (high - low) * s.uniform(); });
}

void host_bernoulli(const TensorView& p, double seed, const TensorView& y) {
  RandomStream stream(seed);
  for (Walk from(p), to(y); !from.done(); from.next(), to.next()) {
    double x = 0;
    load_cell(p, from.offset(), &x);
    // Inversion, by the smaller of the two probabilities.
    bool set = x <= 0.5 ? stream.uniform() > 1 - x : stream.uniform() <= x;
    with_cell_carrier(y.dtype, [&](auto c) { store_cell(y, to.offset(), static_cast<decltype(c)>(set)); });
  }
}

Status host_multinomial(const TensorView& log_p, double seed, const TensorView& y) {
  const int64_t batch = log_p.dims[0], classes = log_p.dims[1], samples = y.dims[1];
  if (classes == 0 && batch * samples > 0) return invalid("multinomial has no class to draw from");
  RandomStream stream(seed);
  std::vector<double> row(static_cast<size_t>(classes)), sums(row.size());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t c = 0; c < classes; ++c) load_cell(log_p, b * log_p.strides[0] + c * log_p.strides[1], &row[c]);
    double top = classes ? *std::max_element(row.begin(), row.end()) : 0, sum = 0;
    for (int64_t c = 0; c < classes; ++c) sums[c] = sum += std::exp(row[c] - top);
    for (int64_t s = 0; s < samples; ++s) {
      int64_t c = std::upper_bound(sums.begin(), sums.end(), stream.uniform() * sum) - sums.begin();
      store_cell(y, b * y.strides[0] + s * y.strides[1], std::min(c, classes - 1));
    }
  }
  return {};
}

Status host_dropout(const TensorView& x, double ratio, bool training, double seed, const TensorView& y, const TensorView* mask) {
  bool drops = training && ratio != 0;
  if (drops && !(ratio > 0 && ratio < 1)) return invalid("dropout's ratio must lie in [0, 1), is " + number_text(ratio));
  RandomStream stream(seed);
  std::optional<Walk> m;
  if (mask) m.emplace(*mask);
  for (Walk from(x), to(y); !from.done(); from.next(), to.next()) {
    bool kept = !drops || stream.uniform() >= ratio;
    double v = 0;
    load_cell(x, from.offset(), &v);
    store_cell(y, to.offset(), !kept ? 0 : drops ? v / (1 - ratio) : v);
    if (!m) continue;
    *element(*mask, m->offset()) = kept;
    m->next();
  }
  return {};
}

}  // namespace weft
