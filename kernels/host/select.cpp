#include "kernels/host/select.h"

namespace weft {

static bool element_is_set(DType t, const char* p) {
  if (is_float(t)) {
    double v;
    load_row_f64(t, p, &v, 1);
    return v != 0;
  }
  if (is_complex(t)) {
    double v[2];
    load_row_f64(t, p, v, 1);
    return v[0] != 0 || v[1] != 0;
  }
  for (int i = 0; i < byte_size(t); ++i)
    if (p[i]) return true;
  return false;
}

// f(position) for every set element in row-major order.
template <class F>
static void for_each_set(const TensorView& v, F&& f) {
  std::vector<int64_t> at(v.dims.size(), 0);
  const int64_t n = v.numel(), size = byte_size(v.dtype);
  for (int64_t i = 0; i < n; ++i) {
    int64_t offset = 0;
    for (size_t d = 0; d < at.size(); ++d) offset += at[d] * v.strides[d];
    if (element_is_set(v.dtype, static_cast<const char*>(v.data) + offset * size)) f(at);
    for (size_t d = at.size(); d-- > 0;) {
      if (++at[d] < v.dims[d]) break;
      at[d] = 0;
    }
  }
}

NonZero host_non_zero(const TensorView& x) {
  NonZero out;
  std::vector<int64_t> found;  // position by position
  for_each_set(x, [&](const std::vector<int64_t>& at) {
    found.insert(found.end(), at.begin(), at.end());
    ++out.count;
  });
  const int64_t rank = x.rank();
  out.coordinates.resize(found.size());
  for (int64_t i = 0; i < out.count; ++i)
    for (int64_t d = 0; d < rank; ++d) out.coordinates[d * out.count + i] = found[i * rank + d];
  return out;
}

std::vector<int64_t> host_set_positions(const TensorView& condition) {
  std::vector<int64_t> out;
  for_each_set(condition, [&](const std::vector<int64_t>& at) { out.push_back(at.empty() ? 0 : at[0]); });
  return out;
}

}  // namespace weft
