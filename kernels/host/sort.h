// Top-k and unique: host functions over strided views, shared by the reference evaluator and plans. Order: NaN is above
// every number and equal to itself; strings (views whose data is std::string[]) compare by bytes. Sub-byte types lie one
// element a byte.
#pragma once

#include <optional>

#include "ir/base/tensor_view.h"

namespace weft {

// The k = values.dims[axis] largest (or smallest) elements of each line along `axis`, best first; equal elements in
// index order. values: x's dtype; indices: i64; both of x's dims with k along the axis. k <= x.dims[axis]. Not strings.
void host_top_k(const TensorView& x, int axis, bool largest, const TensorView& values, const TensorView& indices);

// Distinct elements of x (axis absent: of all, in row-major order), or distinct slices along an axis.
struct UniqueResult {
  std::vector<int64_t> first;    // where each distinct one first occurs
  std::vector<int64_t> inverse;  // for each element or slice, its number among the distinct ones
  std::vector<int64_t> counts;
};
// sorted: ascending (slices lexicographically); else in order of first occurrence.
UniqueResult host_unique(const TensorView& x, std::optional<int> axis, bool sorted);
// Copies the elements or slices `first` of x to y, whose dims are [u], or x's with u along the axis.
void host_take(const TensorView& x, std::optional<int> axis, const std::vector<int64_t>& first, const TensorView& y);

}  // namespace weft
