// Which elements are set: non_zero and compress, host functions over strided views, shared by the reference evaluator and
// plans. A float is set when it is not ±0 (NaN is), a complex number when a part is, anything else when a bit is; strings
// are no operands. Sub-byte types lie one element a byte.
#pragma once

#include <vector>

#include "ir/base/tensor_view.h"

namespace weft {

// Coordinates of the set elements in row-major order, dim by dim: [rank, n] flattened. A scalar has no coordinates.
struct NonZero {
  int64_t count = 0;
  std::vector<int64_t> coordinates;
};
NonZero host_non_zero(const TensorView& x);

// Numbers of the set elements of a vector. compress takes these slices: host_take (sort.h) copies them.
std::vector<int64_t> host_set_positions(const TensorView& condition);

}  // namespace weft
