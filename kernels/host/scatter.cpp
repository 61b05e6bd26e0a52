#include "kernels/host/scatter.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/host/walk.h"

namespace weft {

Result<int64_t> wrap_index(int64_t index, int64_t n) {
  if (index < -n || index >= n) return invalid("index " + std::to_string(index) + " is outside a dim of " + std::to_string(n));
  return index < 0 ? index + n : index;
}

// Integers wrap.
template <class T>
static T combine_scattered(ScatterMode m, T a, T b) {
  constexpr bool kInteger = std::is_integral_v<T>, kComplex = std::is_same_v<T, std::complex<double>>;
  if (m == ScatterMode::none) return b;
  if constexpr (kInteger) {
    if (m == ScatterMode::add) return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    if (m == ScatterMode::mul) return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  } else {
    if (m == ScatterMode::add) return a + b;
    if (m == ScatterMode::mul) return a * b;
  }
  if constexpr (kComplex) {
    UNREACHABLE();
  } else {
    if constexpr (!kInteger)
      if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
    return m == ScatterMode::min ? std::min(a, b) : std::max(a, b);
  }
}

static void scatter_cell(ScatterMode m, const TensorView& updates, int64_t from, const TensorView& y, int64_t to) {
  if (m == ScatterMode::none) return copy_cell(updates, from, y, to);
  with_cell_carrier(y.dtype, [&](auto c) {
    decltype(c) a{}, b{};
    load_cell(y, to, &a);
    load_cell(updates, from, &b);
    store_cell(y, to, combine_scattered(m, a, b));
  });
}

static Status check_mode(ScatterMode m, DType t) {
  bool ordered = m == ScatterMode::min || m == ScatterMode::max;
  if (m != ScatterMode::none && (t == DType::str || (ordered && is_complex(t))))
    return invalid(std::string("scatter cannot reduce elements of type ") + dtype_name(t));
  return {};
}

Status host_scatter_elements(const TensorView& x, const TensorView& indices, const TensorView& updates, int axis,
    ScatterMode mode, const TensorView& y) {
  TRY(check_mode(mode, x.dtype));
  if (updates.dims != indices.dims) return invalid("scatter_elements needs one update for each index");
  if (indices.rank() != x.rank())
    return invalid(
        "indices of rank " + std::to_string(indices.rank()) + " into a tensor of rank " + std::to_string(x.rank()));
  for (int d = 0; d < x.rank(); ++d)
    if (d != axis && indices.dims[d] > x.dims[d]) return invalid("indices reach beyond dim " + std::to_string(d));
  copy_cells(x, y);
  for (Walk i(indices), u(updates); !i.done(); i.next(), u.next()) {
    TRY_ASSIGN(int64_t k, wrap_index(integer_at(indices, i.offset()), y.dims[axis]));
    int64_t to = 0;
    for (int d = 0; d < y.rank(); ++d) to += (d == axis ? k : i.index()[d]) * y.strides[d];
    scatter_cell(mode, updates, u.offset(), y, to);
  }
  return {};
}

Status host_scatter_nd(const TensorView& x, const TensorView& indices, const TensorView& updates, ScatterMode mode, const TensorView& y) {
  TRY(check_mode(mode, x.dtype));
  const int64_t tuple = indices.rank() ? indices.dims.back() : 0;
  std::vector<int64_t> want;
  if (indices.rank() && tuple <= x.rank()) {
    want.assign(indices.dims.begin(), indices.dims.end() - 1);
    want.insert(want.end(), x.dims.begin() + tuple, x.dims.end());
  }
  if (indices.rank() < 1 || tuple > x.rank() || updates.dims != want) return invalid("scatter_nd's updates do not fit its indices");
  copy_cells(x, y);
  const int lead = indices.rank() - 1;
  TensorView tuples = indices, slice = y, from = updates, places = updates;
  tuples.dims.pop_back();
  tuples.strides.pop_back();
  slice.dims.erase(slice.dims.begin(), slice.dims.begin() + tuple);
  slice.strides.erase(slice.strides.begin(), slice.strides.begin() + tuple);
  from.dims.erase(from.dims.begin(), from.dims.begin() + lead);
  from.strides.erase(from.strides.begin(), from.strides.begin() + lead);
  places.dims.resize(static_cast<size_t>(lead));
  places.strides.resize(static_cast<size_t>(lead));
  for (Walk t(tuples), p(places); !t.done(); t.next(), p.next()) {
    int64_t to = 0;
    for (int64_t k = 0; k < tuple; ++k) {
      TRY_ASSIGN(int64_t i, wrap_index(integer_at(indices, t.offset() + k * indices.strides.back()), y.dims[k]));
      to += i * y.strides[k];
    }
    for (Walk s(slice), f(from); !s.done(); s.next(), f.next()) scatter_cell(mode, updates, p.offset() + f.offset(), y, to + s.offset());
  }
  return {};
}

Status host_tensor_scatter(const TensorView& cache, const TensorView& update, const TensorView* starts, int axis,
    bool circular, const TensorView& y) {
  std::vector<int64_t> want = cache.dims;
  if (update.rank() == cache.rank()) want[axis] = update.dims[axis];
  if (update.dims != want || want[axis] > cache.dims[axis]) return invalid("an update of other dims than its cache");
  const int64_t length = cache.dims[axis], written = update.dims[axis];
  if (starts && starts->numel() != cache.dims[0])
    return invalid("tensor_scatter needs one write index for each of " + std::to_string(cache.dims[0]) + " samples");
  std::vector<int64_t> start(static_cast<size_t>(cache.dims[0]), 0);
  for (int64_t b = 0; starts && b < cache.dims[0]; ++b) {
    int64_t& s = start[b];
    s = integer_at(*starts, starts->rank() ? b * starts->strides[0] : 0);
    if (s < 0 || (!circular && s > length - written))
      return invalid("tensor_scatter writes " + std::to_string(written) + " elements at " + std::to_string(s) + " of " + std::to_string(length));
  }
  copy_cells(cache, y);
  for (Walk u(update); !u.done(); u.next()) {
    int64_t to = 0;
    for (int d = 0; d < y.rank(); ++d) {
      int64_t i = u.index()[d];
      if (d == axis) i = (start[u.index()[0]] % length + i) % length;
      to += i * y.strides[d];
    }
    copy_cell(update, u.offset(), y, to);
  }
  return {};
}

Status host_check_indices(const TensorView& indices, int64_t n, bool natural, std::optional<int64_t> ignored) {
  for (Walk w(indices); !w.done(); w.next()) {
    int64_t i = integer_at(indices, w.offset());
    if (ignored && i == *ignored) continue;
    if (natural && i < 0) return invalid("index " + std::to_string(i) + " is negative");
    TRY(wrap_index(i, n));
  }
  return {};
}
Status host_check_lengths(const TensorView& lengths, int64_t n) {
  for (Walk w(lengths); !w.done(); w.next())
    if (int64_t length = integer_at(lengths, w.offset()); length < 0 || length > n)
      return invalid("a sequence of length " + std::to_string(length) + " in " + std::to_string(n) + " steps");
  return {};
}
Status host_check_tuples(const TensorView& indices, const TensorView& x, int64_t batch_dims) {
  for (Walk w(indices); !w.done(); w.next()) {
    int64_t d = batch_dims + w.index().back();
    if (d >= x.rank()) return invalid("index tuples longer than the rank of what they index");
    TRY(wrap_index(integer_at(indices, w.offset()), x.dims[d]));
  }
  return {};
}

}  // namespace weft
