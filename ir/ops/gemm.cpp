#include "ir/ops/gemm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace weft {

namespace {
constexpr int64_t kTileRows = 4, kTileColumns = 4;
constexpr int64_t kBlockK = 256, kBlockRows = 128, kBlockColumns = 512;
template <class T>
struct VectorOf;
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(32)));
};
template <>
struct VectorOf<uint64_t> {
  typedef uint64_t type __attribute__((vector_size(32)));
};
}  // namespace

// Rows of a (or columns of b) in groups of four, element k of all four side by side; missing ones are zeros.
template <class T>
static void pack_groups(const T* from, int64_t count, int64_t step, int64_t k, int64_t k_step, T* to) {
  for (int64_t g = 0; g < count; g += 4) {
    int64_t used = std::min<int64_t>(4, count - g);
    for (int64_t p = 0; p < k; ++p, to += 4)
      for (int64_t j = 0; j < 4; ++j) to[j] = j < used ? from[(g + j) * step + p * k_step] : T{0};
  }
}

// One tile of c: `rows` by `columns` of the four by four that the packed operands hold.
template <class T>
static void tile_product(int64_t k, const T* a, const T* b, Matrix<T> c, int64_t rows, int64_t columns) {
  using V = typename VectorOf<T>::type;
  V acc[kTileRows] = {};
  T edge[kTileRows][kTileColumns];
  bool whole = rows == kTileRows && columns == kTileColumns;
  auto row_of = [&](int64_t i) { return whole ? c.data + i * c.stride : edge[i]; };
  if (!whole) {
    std::memset(edge, 0, sizeof edge);
    for (int64_t i = 0; i < rows; ++i) std::copy_n(c.data + i * c.stride, columns, edge[i]);
  }
  for (int64_t i = 0; i < kTileRows; ++i) std::memcpy(&acc[i], row_of(i), sizeof(V));
  for (int64_t p = 0; p < k; ++p, a += kTileRows, b += kTileColumns) {
    V row;
    std::memcpy(&row, b, sizeof row);
    acc[0] += row * a[0];
    acc[1] += row * a[1];
    acc[2] += row * a[2];
    acc[3] += row * a[3];
  }
  for (int64_t i = 0; i < kTileRows; ++i) std::memcpy(row_of(i), &acc[i], sizeof(V));
  if (!whole)
    for (int64_t i = 0; i < rows; ++i) std::copy_n(edge[i], columns, c.data + i * c.stride);
}

template <class T>
void gemm(int64_t m, int64_t n, int64_t k, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  std::vector<T> pack_a(static_cast<size_t>(std::min(kBlockRows, m + 3) * std::min(kBlockK, k)));
  std::vector<T> pack_b(static_cast<size_t>(std::min(kBlockColumns, n + 3) * std::min(kBlockK, k)));
  for (int64_t j0 = 0; j0 < n; j0 += kBlockColumns) {
    int64_t columns = std::min(kBlockColumns, n - j0);
    for (int64_t p0 = 0; p0 < k; p0 += kBlockK) {
      int64_t depth = std::min(kBlockK, k - p0);
      pack_groups(b.data + p0 * b.stride + j0, columns, 1, depth, b.stride, pack_b.data());
      for (int64_t i0 = 0; i0 < m; i0 += kBlockRows) {
        int64_t rows = std::min(kBlockRows, m - i0);
        pack_groups(a.data + i0 * a.stride + p0, rows, a.stride, depth, 1, pack_a.data());
        for (int64_t i = 0; i < rows; i += kTileRows)
          for (int64_t j = 0; j < columns; j += kTileColumns)
            tile_product<T>(depth, pack_a.data() + i * depth, pack_b.data() + j * depth, {c.data + (i0 + i) * c.stride + j0 + j, c.stride},
                            std::min(kTileRows, rows - i), std::min(kTileColumns, columns - j));
      }
    }
  }
}
template void gemm<double>(int64_t, int64_t, int64_t, Matrix<const double>, Matrix<const double>, Matrix<double>);
template void gemm<uint64_t>(int64_t, int64_t, int64_t, Matrix<const uint64_t>, Matrix<const uint64_t>, Matrix<uint64_t>);

void store_sums(Tensor& y, int64_t offset, const double* v, int64_t n) {
  if (is_float(y.dtype)) return store_row(y, offset, v, n);
  std::vector<int64_t> whole(static_cast<size_t>(n));
  for (int64_t k = 0; k < n; ++k) whole[k] = std::fabs(v[k]) < 9e18 ? static_cast<int64_t>(v[k]) : 0;
  store_row(y, offset, whole.data(), n);
}

}  // namespace weft
