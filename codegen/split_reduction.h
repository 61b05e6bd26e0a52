// A reduction of long rows to few results as two kernels: the first reduces parts of each row, the second their results. For
// devices on which the few results alone would leave most of the threads without work.
#pragma once

#include <optional>

#include "codegen/kernel_spec.h"

namespace weft {

struct SplitReduction {
  KernelSpec first, second;                  // not chosen yet; same params as the whole
  std::vector<int> first_ptrs, second_ptrs;  // per pointer: one of the whole's, or -1 - k for partial tensor k
  std::vector<DType> partials;               // a tensor for each accumulator, all of these dims
  Shape dims;                                // over params: the parallel extents, then the parts, or before them
};

// Into at most about `parts` parts in all. nullopt when the spec has other stages than reductions that do not depend on each
// other and what follows from them, when rows are short, or when no number of parts divides them.
std::optional<SplitReduction> split_reduction(const KernelSpec& s, int64_t parts);

}  // namespace weft
