// Small dense algebra and scatters that no kernel family computes: host functions over strided views.
#pragma once

#include "ir/base/result.h"
#include "ir/base/tensor_view.h"

namespace weft {

// x [..., n, n], y [...]: determinants by elimination with pivoting, in double.
void host_det(const TensorView& x, const TensorView& y);
// y (zeroed first): element indices[i] of a dense tensor with dims `pooled` becomes x[i]; that tensor lies at y's origin.
// Error when an index is not inside it, or it is larger than y along a dim.
Status host_max_unpool(const TensorView& x, const TensorView& indices, const std::vector<int64_t>& pooled, const TensorView& y);

}  // namespace weft
