// Scatter and the indices of gather and scatter: host functions over strided views, shared by the reference evaluator and
// plans. Updates apply in row-major order, so that of several to one place the last stays; sums and products round after
// each step. NaN wins over numbers in min and max. Negative indices count from the end; one outside its dim is an Error.
// y has x's dims and dtype and must not overlap the operands. Sub-byte types lie one element a byte.
#pragma once

#include <optional>

#include "ir/base/result.h"
#include "ir/base/tensor_view.h"

namespace weft {

enum class ScatterMode : uint8_t { none, add, mul, min, max };

// A negative index counted from the end; Error when outside [-n, n).
Result<int64_t> wrap_index(int64_t index, int64_t n);

Status host_scatter_elements(const TensorView& x, const TensorView& indices, const TensorView& updates, int axis,
    ScatterMode mode, const TensorView& y);
Status host_scatter_nd(const TensorView& x, const TensorView& indices, const TensorView& updates, ScatterMode mode, const TensorView& y);
// starts: one write position for each sample; none: 0.
Status host_tensor_scatter(const TensorView& cache, const TensorView& update, const TensorView* starts, int axis, bool circular, const TensorView& y);

// Every index lies in [-n, n), or in [0, n) when `natural`; `ignored` is one that may be anything.
Status host_check_indices(const TensorView& indices, int64_t n, bool natural, std::optional<int64_t> ignored);
// Every length lies in [0, n].
Status host_check_lengths(const TensorView& lengths, int64_t n);
// The last dim of `indices` holds tuples that index x's dims from `batch_dims` on.
Status host_check_tuples(const TensorView& indices, const TensorView& x, int64_t batch_dims);

}  // namespace weft
