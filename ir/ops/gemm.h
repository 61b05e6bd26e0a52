// The evaluator's matrix product: c[m, n] += a[m, k] * b[k, n], row-major with row strides in elements. Packed and blocked,
// with inner loops of a fixed width that compilers turn into vector code. T is double or uint64_t (wrapping integers).
// Every element of c adds its products in the order of k, whatever the blocking.
#pragma once

#include "ir/eval/host_value.h"

namespace weft {

template <class T>
struct Matrix {
  T* data;
  int64_t stride;
};
template <class T>
void gemm(int64_t m, int64_t n, int64_t k, Matrix<const T> a, Matrix<const T> b, Matrix<T> c);
extern template void gemm<double>(int64_t, int64_t, int64_t, Matrix<const double>, Matrix<const double>, Matrix<double>);
extern template void gemm<uint64_t>(int64_t, int64_t, int64_t, Matrix<const uint64_t>, Matrix<const uint64_t>, Matrix<uint64_t>);

// n sums rounded to y's type; doubles for an integer type are truncated, and wrap.
void store_sums(Tensor& y, int64_t offset, const double* v, int64_t n);
inline void store_sums(Tensor& y, int64_t offset, const uint64_t* v, int64_t n) { store_row(y, offset, v, n); }

}  // namespace weft
