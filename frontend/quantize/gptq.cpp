#include <algorithm>
#include <cmath>

#include "frontend/quantize/methods.h"

namespace weft::quantize {

namespace {

// The upper U with H^-1 = U^T U: H = R R^T with an upper R, from the last row on, and U = R^-1. In place, in the upper half of h.
// False when H is not positive definite.
bool invert_factor(std::vector<double>& h, int64_t n) {
  auto row = [&](int64_t i) { return h.data() + i * n; };
  for (int64_t j = n; j-- > 0;) {
    const double* pivot = row(j);
    for (int64_t i = j + 1; i-- > 0;) {
      double* r = row(i);
      double sum = r[j];
      for (int64_t k = j + 1; k < n; ++k) sum -= r[k] * pivot[k];
      if (i == j && !(sum > 0)) return false;
      r[j] = i == j ? std::sqrt(sum) : sum / pivot[j];
    }
  }
  std::vector<double> made(n);
  for (int64_t i = n; i-- > 0;) {
    double* r = row(i);
    std::fill(made.begin() + i, made.end(), 0.0);
    for (int64_t k = i + 1; k < n; ++k) {
      const double* below = row(k);
      for (int64_t j = k; j < n; ++j) made[j] += r[k] * below[j];
    }
    const double inverse = 1 / r[i];
    for (int64_t j = i + 1; j < n; ++j) r[j] = -made[j] * inverse;
    r[i] = inverse;
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
  std::vector<double> left(n);
  for (int64_t r = 0; r < w.rows; ++r) {
    std::copy(w.row(r), w.row(r) + n, left.begin());
    for (int64_t k = 0; k < n; ++k) {
      if (c.blocks() > 1 && k % block == 0) {  // a block's scale is that of what it has become
        double largest = 0;
        for (int64_t j = k; j < std::min(k + block, n); ++j) largest = std::max(largest, std::fabs(left[j]));
        const auto scale = static_cast<float>(largest / high);
        if (std::isnormal(scale)) c.scales[r * c.blocks() + k / block] = scale;
      }
      const float scale = c.scale(r, k), code = to_code(type, static_cast<float>(left[k] / scale));
      c.codes[r * n + k] = code;
      const double* row = u.data() + k * n;
      const double error = (left[k] - static_cast<double>(code) * scale) / row[k];
      for (int64_t j = k + 1; j < n; ++j) left[j] -= error * row[j];
    }
  }
  return c;
}

}  // namespace weft::quantize
