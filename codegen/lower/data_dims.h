// What lowering knows about dims that only data decide.
#pragma once

#include "codegen/lower/lowering.h"
#include "ir/ops/move.h"

namespace weft {

// As slice_ranges, also for bounds that are read at run time.
struct SliceBounds {
  Dim start = 0, length = 0, step = 1;
};
Result<std::vector<SliceBounds>> bounds_of_slice(Lowering& l, Op& op);

// 1 where it holds, else 0, for integers of any sign.
Dim is_negative(const Dim& d);
Dim is_zero(const Dim& d);

// Axes that only data know, as numbers: per dim whether it is one of them (1 or 0), and how many come before it.
struct AxisSet {
  std::vector<Dim> hit, before;
  // 1 where dim `from` of those that are no axes is number `to`.
  Dim place(int from, int to) const;
};
Result<AxisSet> axis_set(Lowering& l, const std::vector<Dim>& axes, int rank);

}  // namespace weft
