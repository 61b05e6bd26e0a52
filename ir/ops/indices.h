// Which elements the indices of gather and scatter ops mean.
#pragma once

#include "ir/ops/move.h"

namespace weft {

// gather_elements, scatter_elements: for each index the offset into x of the element at the index's own position, with the
// index along the axis.
Result<std::vector<int64_t>> element_offsets(const Tensor& x, const Tensor& indices, int64_t axis);

// gather_nd, scatter_nd: index tuples, the last dim of `indices`, name slices of x behind its first batch_dims dims.
struct NdSlices {
  std::vector<int64_t> offsets;  // of each slice's first element
  int64_t size = 1;              // elements in a slice
  int slice_rank = 0;
};
Result<NdSlices> nd_slices(const Tensor& x, const Tensor& indices, int64_t batch_dims);

}  // namespace weft
