// TensorView: pointer, dtype, dims, element strides. What the API, plans and host kernels pass around; owns nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/base/dtype.h"

namespace weft {

struct TensorView {
  static constexpr int kHost = -1;

  void* data = nullptr;
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  std::vector<int64_t> strides;  // in elements; same length as dims
  int device = kHost;            // where data lies: the number of a GPU, or the host

  int rank() const { return static_cast<int>(dims.size()); }
  int64_t numel() const {
    int64_t n = 1;
    for (int64_t d : dims) n *= d;
    return n;
  }
  bool contiguous() const {
    int64_t expect = 1;
    for (int i = rank() - 1; i >= 0; --i) {
      if (dims[i] != 1 && strides[i] != expect) return false;
      expect *= dims[i];
    }
    return true;
  }
};

// Row-major element strides of a dense tensor.
inline std::vector<int64_t> dense_strides(const std::vector<int64_t>& dims) {
  std::vector<int64_t> s(dims.size(), 1);
  for (int i = static_cast<int>(dims.size()) - 2; i >= 0; --i) s[i] = s[i + 1] * (dims[i + 1] ? dims[i + 1] : 1);
  return s;
}

}  // namespace weft
