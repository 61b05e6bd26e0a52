// Which specs the `transpose` template takes: one map without rows, whose results lie together along one parallel axis while
// some operand lies together along another.
#pragma once

#include <optional>

#include "codegen/kernel_spec.h"

namespace weft {

struct TransposeShape {
  int write_axis = -1, read_axis = -1;
  std::vector<int> operands;  // that are read along read_axis
  std::vector<int> others;    // axes
};
std::optional<TransposeShape> transpose_shape(const KernelSpec& s);

// False when another template suits better.
bool choose_transpose(KernelSpec& s);

}  // namespace weft
