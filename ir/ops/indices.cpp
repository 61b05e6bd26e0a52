#include "ir/ops/indices.h"

namespace weft {

Result<std::vector<int64_t>> element_offsets(const Tensor& x, const Tensor& indices, int64_t attr_axis) {
  TRY_ASSIGN(int axis, normalize_axis(attr_axis, x.rank()));
  if (indices.rank() != x.rank())
    return invalid(
        "indices of rank " + std::to_string(indices.rank()) + " into a tensor of rank " + std::to_string(x.rank()));
  for (int d = 0; d < x.rank(); ++d)
    if (d != axis && indices.dims[d] > x.dims[d]) return invalid("indices reach beyond dim " + std::to_string(d));
  std::vector<int64_t> strides = dense_strides(x.dims), index = load_all<int64_t>(indices), at(x.rank(), 0);
  for (int64_t& i : index) {
    TRY_ASSIGN(int64_t k, wrap_index(i, x.dims[axis]));
    i = k * strides[axis];
    for (int d = 0; d < x.rank(); ++d)
      if (d != axis) i += at[d] * strides[d];
    next_index(at, indices.dims);
  }
  return index;
}

Result<NdSlices> nd_slices(const Tensor& x, const Tensor& indices, int64_t batch_dims) {
  int64_t tuple = indices.rank() ? indices.dims.back() : 0;
  bool fits = batch_dims >= 0 && batch_dims < indices.rank() && tuple >= 0 && batch_dims + tuple <= x.rank();
  for (int d = 0; fits && d < batch_dims; ++d) fits = x.dims[d] == indices.dims[d];
  if (!fits)
    return invalid("indices [" + shape_text(to_shape(indices.dims)) + "] into [" + shape_text(to_shape(x.dims)) +
                   "] with batch_dims " + std::to_string(batch_dims));
  NdSlices out;
  out.slice_rank = x.rank() - static_cast<int>(batch_dims + tuple);
  for (int d = x.rank() - out.slice_rank; d < x.rank(); ++d) out.size *= x.dims[d];
  std::vector<int64_t> strides = dense_strides(x.dims), index = load_all<int64_t>(indices);
  std::vector<int64_t> dims(indices.dims.begin(), indices.dims.end() - 1), at(dims.size(), 0);
  int64_t tuples = 1;
  for (int64_t d : dims) tuples *= d;
  for (int64_t t = 0; t < tuples; ++t, next_index(at, dims)) {
    int64_t offset = 0;
    for (int d = 0; d < batch_dims; ++d) offset += at[d] * strides[d];
    for (int64_t k = 0; k < tuple; ++k) {
      TRY_ASSIGN(int64_t i, wrap_index(index[t * tuple + k], x.dims[batch_dims + k]));
      offset += i * strides[batch_dims + k];
    }
    out.offsets.push_back(offset);
  }
  return out;
}

}  // namespace weft
