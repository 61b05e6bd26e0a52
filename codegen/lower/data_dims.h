// What lowering knows about dims that only data decide.
#pragma once

#include "codegen/lower/lowering.h"
#include "ir/ops/move.h"

namespace weft {

// As slice_ranges, also for bounds that are read at run time.
Result<std::vector<SliceRange>> bounds_of_slice(Lowering& l, Op& op);

}  // namespace weft
