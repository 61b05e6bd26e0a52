// Copies and fills over strided tensors of any element size: what the commands copy and fill do, and how inputs and
// outputs pass between the caller's strides and the plan's. Packed sub-byte elements too: their strides count elements,
// low bits first.
#pragma once

#include "ir/base/tensor_view.h"
#include "runtime/cpu/thread_pool.h"

namespace weft {

constexpr int kMaxStridedRank = 64;

// A tensor without vectors of its own. Strides in elements.
struct StridedRef {
  std::byte* data;  // of element [0,0,...]
  DType dtype;
  int rank;
  const int64_t* dims;
  const int64_t* strides;
};
inline StridedRef ref_of(const TensorView& v) { return {static_cast<std::byte*>(v.data), v.dtype, v.rank(), v.dims.data(), v.strides.data()}; }

// dst = src; same dtype and dims. Over the threads of `pool` (may be null) when it is worth it. The two must not overlap.
void strided_copy(const StridedRef& dst, const StridedRef& src, ThreadPool* pool);
// Every element = value, converted to the dtype: integers truncate and clamp, floats round.
void strided_fill(const StridedRef& dst, double value, ThreadPool* pool);

// The bytes [*lo, *hi) around data that a tensor touches; false when it has no elements, or on overflow (then *hi < *lo).
bool strided_extent(DType t, int rank, const int64_t* dims, const int64_t* strides, int64_t* lo, int64_t* hi);
// Whether the strides matter only where they agree: equal on every dim larger than 1, or there are no elements.
bool same_strides(int rank, const int64_t* dims, const int64_t* a, const int64_t* b);
// Row-major strides of a plan tensor: a sub-byte type's rows padded to whole bytes. False on overflow.
bool plan_dense_strides(DType t, int rank, const int64_t* dims, int64_t* strides);

}  // namespace weft
