#include "kernels/host/sort.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>

#include "ir/base/check.h"

namespace weft {

namespace {
// Element offset of position `linear` in row-major order over all dims but `skip` (-1: none).
int64_t offset_of(const TensorView& v, int64_t linear, int skip) {
  int64_t offset = 0;
  for (int d = v.rank() - 1; d >= 0; --d) {
    if (d == skip) continue;
    offset += linear % v.dims[d] * v.strides[d];
    linear /= v.dims[d];
  }
  return offset;
}

void load_line(DType t, const char* p, int64_t n, double* dst) { load_row_f64(t, p, dst, n); }
void load_line(DType t, const char* p, int64_t n, int64_t* dst) { load_row_i64(t, p, dst, n); }
void load_line(DType t, const char* p, int64_t n, uint64_t* dst) { load_row_u64(t, p, dst, n); }

template <class T>
void load_strided(const TensorView& v, int64_t offset, int64_t stride, int64_t n, T* dst) {
  const char* base = static_cast<const char*>(v.data);
  int64_t size = byte_size(v.dtype);
  if (stride == 1) return load_line(v.dtype, base + offset * size, n, dst);
  for (int64_t k = 0; k < n; ++k) load_line(v.dtype, base + (offset + k * stride) * size, 1, dst + k);
}

// A strict weak order in which NaN is the greatest.
template <class T>
bool below(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, double>) return !std::isnan(a) && (std::isnan(b) || a < b);
  else return a < b;
}

void copy_element(const TensorView& from, int64_t i, const TensorView& to, int64_t k) {
  if (from.dtype == DType::str) {
    static_cast<std::string*>(to.data)[k] = static_cast<const std::string*>(from.data)[i];
    return;
  }
  int64_t size = byte_size(from.dtype);
  std::memcpy(static_cast<char*>(to.data) + k * size, static_cast<const char*>(from.data) + i * size, static_cast<size_t>(size));
}

template <class T>
void top_k_lines(const TensorView& x, int axis, bool largest, const TensorView& values, const TensorView& indices) {
  const int64_t n = x.dims[axis], k = values.dims[axis];
  int64_t lines = 1;
  for (int d = 0; d < x.rank(); ++d)
    if (d != axis) lines *= x.dims[d];
  std::vector<T> line(n);
  std::vector<int64_t> order(n);
  auto better = [&](int64_t a, int64_t b) {
    if (below(line[a], line[b])) return !largest;
    if (below(line[b], line[a])) return largest;
    return a < b;
  };
  for (int64_t l = 0; l < lines; ++l) {
    const int64_t xo = offset_of(x, l, axis), vo = offset_of(values, l, axis), io = offset_of(indices, l, axis);
    load_strided(x, xo, x.strides[axis], n, line.data());
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + k, order.end(), better);
    for (int64_t j = 0; j < k; ++j) {
      copy_element(x, xo + order[j] * x.strides[axis], values, vo + j * values.strides[axis]);
      static_cast<int64_t*>(indices.data)[io + j * indices.strides[axis]] = order[j];
    }
  }
}

// Calls f with a tag of the carrier.
template <class F>
auto by_carrier(DType t, F&& f) {
  switch (dtype_class(t)) {
    case 'f': return f(double{});
    case 'i': case 'b': return f(int64_t{});
    case 'u': return f(uint64_t{});
    default: UNREACHABLE();
  }
}

// Groups `count` keys of `length` values each (key-major): the algorithm behind host_unique.
template <class T>
UniqueResult group(const std::vector<T>& keys, int64_t count, int64_t length, bool sorted) {
  auto compare = [&](int64_t a, int64_t b) {
    for (int64_t k = 0; k < length; ++k) {
      const T &x = keys[a * length + k], &y = keys[b * length + k];
      if (below(x, y)) return -1;
      if (below(y, x)) return 1;
    }
    return 0;
  };
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return compare(a, b) < 0; });
  UniqueResult u;
  u.inverse.resize(count);
  for (int64_t k = 0; k < count; ++k) {
    // The sort is stable, so the first of a run is the first occurrence.
    if (k == 0 || compare(order[k - 1], order[k]) != 0) {
      u.first.push_back(order[k]);
      u.counts.push_back(0);
    }
    u.inverse[order[k]] = static_cast<int64_t>(u.first.size()) - 1;
    ++u.counts.back();
  }
  if (sorted) return u;
  std::vector<int64_t> by_first(u.first.size()), rank(u.first.size());
  std::iota(by_first.begin(), by_first.end(), 0);
  std::sort(by_first.begin(), by_first.end(), [&](int64_t a, int64_t b) { return u.first[a] < u.first[b]; });
  UniqueResult r;
  for (size_t k = 0; k < by_first.size(); ++k) {
    rank[by_first[k]] = static_cast<int64_t>(k);
    r.first.push_back(u.first[by_first[k]]);
    r.counts.push_back(u.counts[by_first[k]]);
  }
  for (int64_t i : u.inverse) r.inverse.push_back(rank[i]);
  return r;
}

// Offsets of all elements, key by key.
std::vector<int64_t> key_offsets(const TensorView& x, std::optional<int> axis, int64_t count, int64_t length) {
  std::vector<int64_t> at;
  at.reserve(count * length);
  for (int64_t k = 0; k < count; ++k)
    for (int64_t j = 0; j < length; ++j) at.push_back(axis ? offset_of(x, j, *axis) + k * x.strides[*axis] : offset_of(x, k, -1));
  return at;
}
}  // namespace

void host_top_k(const TensorView& x, int axis, bool largest, const TensorView& values, const TensorView& indices) {
  CHECK(values.dims[axis] <= x.dims[axis] && indices.dtype == DType::i64);
  by_carrier(x.dtype, [&](auto t) { top_k_lines<decltype(t)>(x, axis, largest, values, indices); });
}

UniqueResult host_unique(const TensorView& x, std::optional<int> axis, bool sorted) {
  const int64_t count = axis ? x.dims[*axis] : x.numel();
  int64_t length = 1;
  if (axis)
    for (int d = 0; d < x.rank(); ++d)
      if (d != *axis) length *= x.dims[d];
  std::vector<int64_t> at = key_offsets(x, axis, count, length);
  if (x.dtype == DType::str) {
    std::vector<std::string> keys;
    for (int64_t o : at) keys.push_back(static_cast<const std::string*>(x.data)[o]);
    return group(keys, count, length, sorted);
  }
  return by_carrier(x.dtype, [&](auto t) {
    std::vector<decltype(t)> keys(at.size());
    for (size_t k = 0; k < at.size(); ++k) load_strided(x, at[k], 1, 1, &keys[k]);
    return group(keys, count, length, sorted);
  });
}

void host_take(const TensorView& x, std::optional<int> axis, const std::vector<int64_t>& first, const TensorView& y) {
  if (!axis) {
    for (size_t k = 0; k < first.size(); ++k) copy_element(x, offset_of(x, first[k], -1), y, static_cast<int64_t>(k) * y.strides[0]);
    return;
  }
  int64_t length = 1;
  for (int d = 0; d < x.rank(); ++d)
    if (d != *axis) length *= x.dims[d];
  for (size_t k = 0; k < first.size(); ++k)
    for (int64_t j = 0; j < length; ++j)
      copy_element(x, offset_of(x, j, *axis) + first[k] * x.strides[*axis], y,
                   offset_of(y, j, *axis) + static_cast<int64_t>(k) * y.strides[*axis]);
}

}  // namespace weft
