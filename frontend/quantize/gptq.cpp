#include <algorithm>
#include <cmath>

#include "frontend/quantize/methods.h"

namespace weft::quantize {

namespace {

// In eight sums that do not wait for each other.
double dot(const double* a, const double* b, int64_t n) {
  constexpr int kSums = 8;
  double sums[kSums] = {};
  int64_t k = 0;
  for (; k + kSums <= n; k += kSums)
    for (int i = 0; i < kSums; ++i) sums[i] += a[k + i] * b[k + i];
  for (; k < n; ++k) sums[0] += a[k] * b[k];
  double sum = 0;
  for (double s : sums) sum += s;
  return sum;
}

// The upper U with H^-1 = U^T U: H = R R^T with an upper R, from the last row on, and U = R^-1. In place, in the upper half of h, some
// rows at a time, so that what lies below is read once for all of them. False when H is not positive definite.
bool invert_factor(std::vector<double>& h, int64_t n) {
  constexpr int64_t kRows = 16;
  auto row = [&](int64_t i) { return h.data() + i * n; };
  for (int64_t to = n, from = 0; to > 0; to = from) {
    from = std::max<int64_t>(to - kRows, 0);
    for (int64_t i = 0; i < to; ++i)
      for (int64_t j = std::max(i, from); j < to; ++j) row(i)[j] -= dot(row(i) + to, row(j) + to, n - to);
    for (int64_t j = to; j-- > from;)
      for (int64_t i = j + 1; i-- > 0;) {
        const double sum = row(i)[j] - dot(row(i) + j + 1, row(j) + j + 1, to - j - 1);
        if (i == j && !(sum > 0)) return false;
        row(i)[j] = i == j ? std::sqrt(sum) : sum / row(j)[j];
      }
  }
  std::vector<double> made(kRows * n);
  for (int64_t to = n, from = 0; to > 0; to = from) {
    from = std::max<int64_t>(to - kRows, 0);
    std::fill(made.begin(), made.end(), 0.0);
    auto add = [&](int64_t i, int64_t k) {
      const double factor = row(i)[k], *below = row(k);
      double* sums = made.data() + (i - from) * n;
      for (int64_t j = k; j < n; ++j) sums[j] += factor * below[j];
    };
    for (int64_t k = to; k < n; ++k)
      for (int64_t i = from; i < to; ++i) add(i, k);
    for (int64_t i = to; i-- > from;) {
      for (int64_t k = i + 1; k < to; ++k) add(i, k);
      const double inverse = 1 / row(i)[i], *sums = made.data() + (i - from) * n;
      for (int64_t j = i + 1; j < n; ++j) row(i)[j] = -sums[j] * inverse;
      row(i)[i] = inverse;
    }
  }
  return true;
}

}  // namespace

Codes round_by_second_moments(const Matrix& w, DType type, int64_t block, const Moments& moments) {
  const int64_t n = w.columns;
  std::vector<double> u = moments.second;
  double trace = 0;
  for (int64_t k = 0; k < n; ++k) trace += u[k * n + k];
  if (!(trace > 0)) return round_to_nearest(w, type, block);
  // So that inputs that hardly vary have an inverse.
  for (int64_t k = 0; k < n; ++k) u[k * n + k] += 0.01 * trace / static_cast<double>(n);
  if (!invert_factor(u, n)) return round_to_nearest(w, type, block);
  Codes c = empty_codes(w, type, block);
  const float high = code_range(type, true).high;
  auto rescale = [&](int64_t r, int64_t k, const double* left) {  // a block's scale is that of what it has become
    double largest = 0;
    for (int64_t j = k; j < std::min(k + block, n); ++j) largest = std::max(largest, std::fabs(left[j]));
    const auto scale = static_cast<float>(largest / high);
    if (std::isnormal(scale)) c.scales[r * c.blocks() + k / block] = scale;
  };
  // Some rows at a time, so that u is read once for all of them.
  constexpr int64_t kRows = 16;
  std::vector<double> left(kRows * n);
  for (int64_t from = 0; from < w.rows; from += kRows) {
    const int64_t to = std::min(from + kRows, w.rows);
    std::copy(w.row(from), w.row(to), left.begin());
    for (int64_t k = 0; k < n; ++k) {
      const double* row = u.data() + k * n;
      for (int64_t r = from; r < to; ++r) {
        double* mine = left.data() + (r - from) * n;
        if (c.blocks() > 1 && k % block == 0) rescale(r, k, mine);
        const float scale = c.scale(r, k), code = to_code(type, static_cast<float>(mine[k] / scale));
        c.codes[r * n + k] = code;
        const double error = (mine[k] - static_cast<double>(code) * scale) / row[k];
        for (int64_t j = k + 1; j < n; ++j) mine[j] -= error * row[j];
      }
    }
  }
  return c;
}

}  // namespace weft::quantize
