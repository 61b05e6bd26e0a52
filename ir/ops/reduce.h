// Reductions along axes: attributes, the kinds, and which axes an op reduces.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

// Operands: data, axes? (i64[k]). No axes: all of them, or none with noop_with_empty_axes.
struct ReduceAttrs : AttrsOf<ReduceAttrs> {
  bool keepdims = true;
  bool noop_with_empty_axes = false;
  void fields(FieldVisitor& v) {
    v.field("keepdims", keepdims);
    v.field("noop_with_empty_axes", noop_with_empty_axes);
  }
};
// arg_max, arg_min: the index of the first extreme (or the last); NaN is more extreme than any number.
struct ArgReduceAttrs : AttrsOf<ArgReduceAttrs> {
  int64_t axis = 0;
  bool keepdims = true;
  bool select_last_index = false;
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("keepdims", keepdims);
    v.field("select_last_index", select_last_index);
  }
};

enum class Reduction : uint8_t { sum, mean, max, min, prod, l1, l2, log_sum, log_sum_exp, sum_square };
// Of one of the reduce_* kinds.
Reduction reduction_of(OpKind k);
// The sorted axes that a reduce_*, arg_max or arg_min reduces. Error kUnsupported while a reduction's axes are not constant.
Result<std::vector<int>> reduced_axes(const Op& op);

}  // namespace weft
