// Elements of strided views one by one: offsets in row-major order, copies, and loads and stores by carrier. Strings are
// views of std::string[].
#pragma once

#include <complex>
#include <cstring>
#include <string>

#include "ir/base/check.h"
#include "ir/base/tensor_view.h"

namespace weft {

class Walk {
 public:
  explicit Walk(const TensorView& v) : dims_(v.dims), strides_(v.strides), at_(v.dims.size(), 0), left_(v.numel()) {}
  bool done() const { return left_ <= 0; }
  int64_t offset() const { return offset_; }             // in elements
  const std::vector<int64_t>& index() const { return at_; }
  void next() {
    --left_;
    for (size_t d = at_.size(); d-- > 0;) {
      offset_ += strides_[d];
      if (++at_[d] < dims_[d]) return;
      offset_ -= dims_[d] * strides_[d];
      at_[d] = 0;
    }
  }

 private:
  const std::vector<int64_t>&dims_, &strides_;           // of the view, which must stay
  std::vector<int64_t> at_;
  int64_t offset_ = 0, left_;
};

inline char* element(const TensorView& v, int64_t offset) { return static_cast<char*>(v.data) + offset * byte_size(v.dtype); }

inline void copy_cell(const TensorView& from, int64_t i, const TensorView& to, int64_t k) {
  if (from.dtype == DType::str) static_cast<std::string*>(to.data)[k] = static_cast<const std::string*>(from.data)[i];
  else std::memcpy(element(to, k), element(from, i), static_cast<size_t>(byte_size(from.dtype)));
}
// Same dims and dtype.
inline void copy_cells(const TensorView& from, const TensorView& to) {
  if (from.dtype != DType::str && from.contiguous() && to.contiguous()) {
    if (from.numel() > 0) std::memcpy(to.data, from.data, static_cast<size_t>(from.numel() * byte_size(from.dtype)));
    return;
  }
  for (Walk a(from), b(to); !a.done(); a.next(), b.next()) copy_cell(from, a.offset(), to, b.offset());
}

inline void load_cell(const TensorView& v, int64_t k, double* x) { load_row_f64(v.dtype, element(v, k), x, 1); }
inline void load_cell(const TensorView& v, int64_t k, int64_t* x) { load_row_i64(v.dtype, element(v, k), x, 1); }
inline void load_cell(const TensorView& v, int64_t k, uint64_t* x) { load_row_u64(v.dtype, element(v, k), x, 1); }
inline void load_cell(const TensorView& v, int64_t k, std::complex<double>* x) {
  load_row_f64(v.dtype, element(v, k), reinterpret_cast<double*>(x), 1);
}
inline void store_cell(const TensorView& v, int64_t k, double x) { store_row_f64(v.dtype, &x, element(v, k), 1); }
inline void store_cell(const TensorView& v, int64_t k, int64_t x) { store_row_i64(v.dtype, &x, element(v, k), 1); }
inline void store_cell(const TensorView& v, int64_t k, uint64_t x) { store_row_u64(v.dtype, &x, element(v, k), 1); }
inline void store_cell(const TensorView& v, int64_t k, std::complex<double> x) {
  store_row_f64(v.dtype, reinterpret_cast<double*>(&x), element(v, k), 1);
}

// An integer element of any width and sign.
inline int64_t integer_at(const TensorView& v, int64_t k) {
  if (is_unsigned_int(v.dtype)) {
    uint64_t u = 0;
    load_cell(v, k, &u);
    return static_cast<int64_t>(u);
  }
  int64_t i = 0;
  load_cell(v, k, &i);
  return i;
}

// f with a value of the carrier that elements of the dtype load into; strings CHECK.
template <class F>
auto with_cell_carrier(DType t, F&& f) {
  switch (dtype_class(t)) {
    case 'f': return f(double{});
    case 'i': case 'b': return f(int64_t{});
    case 'u': return f(uint64_t{});
    case 'c': return f(std::complex<double>{});
    default: UNREACHABLE();
  }
}

}  // namespace weft
