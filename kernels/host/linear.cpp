#include "kernels/host/linear.h"

#include "kernels/host/dense.h"

namespace weft {

static double determinant(double* a, int64_t n) {
  double det = 1;
  for (int64_t k = 0; k < n; ++k) {
    int64_t best = k;
    for (int64_t i = k + 1; i < n; ++i)
      if (std::fabs(a[i * n + k]) > std::fabs(a[best * n + k])) best = i;
    if (a[best * n + k] == 0) return 0;
    if (best != k) {
      std::swap_ranges(a + k * n, a + (k + 1) * n, a + best * n);
      det = -det;
    }
    det *= a[k * n + k];
    for (int64_t i = k + 1; i < n; ++i) {
      double f = a[i * n + k] / a[k * n + k];
      for (int64_t j = k + 1; j < n; ++j) a[i * n + j] -= f * a[k * n + j];
    }
  }
  return det;
}
void host_det(const TensorView& x, const TensorView& y) {
  std::vector<double> a = dense_doubles(x), out;
  int64_t n = x.dims.back();
  for (int64_t k = 0; k < y.numel(); ++k) out.push_back(determinant(a.data() + k * n * n, n));
  store_doubles(out, y);
}

Status host_max_unpool(const TensorView& x, const TensorView& indices, const std::vector<int64_t>& pooled, const TensorView& y) {
  int64_t size = 1;
  for (size_t d = 0; d < pooled.size(); ++d) {
    if (pooled[d] < 0 || pooled[d] > y.dims[d]) return invalid("max_unpool to dims that are too small");
    size *= pooled[d];
  }
  store_doubles(std::vector<double>(static_cast<size_t>(y.numel()), 0.0), y);
  for (Walk a(x), b(indices); !a.done(); a.next(), b.next()) {
    int64_t i = integer_at(indices, b.offset()), at = 0;
    if (i < 0 || i >= size) return invalid("max_unpool has the index " + std::to_string(i) + " of " + std::to_string(size) + " elements");
    for (size_t d = pooled.size(); d-- > 0; i /= pooled[d]) at += i % pooled[d] * y.strides[d];
    copy_cell(x, a.offset(), y, at);
  }
  return {};
}

}  // namespace weft
