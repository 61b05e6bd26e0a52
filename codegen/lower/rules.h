// What rules share.
#pragma once

#include "codegen/lower/spec_builder.h"

namespace weft {

// The index into a tensor of dims `from` that is broadcast to `to` and read at idx.
Index broadcast_index(const Shape& from, const Shape& to, const Index& idx);
// The index into `from` of the element at idx of `to`, where both hold the same elements in row-major order.
Index reshape_index(SpecBuilder& r, const Shape& to, const Shape& from, const Index& idx);

// Guards for loads at indices that were clamped into dims that may turn out to have no elements.
std::vector<SpecGuard> not_empty(const Shape& dims);

// f32 for narrow floats, else t itself: what kernels compute in.
DType wide_float(DType t);
// What a sum of products of t is accumulated in.
DType accumulator_type(DType t);
// A factor of such a product: v in the accumulator's type, or rounded to tf32.
int factor_value(ScalarProgram& p, int v, DType acc, bool tf32);
// A reduction of (value, index) pairs to the extreme one; NaN beats numbers, ties go to the lower index, or the higher. A
// pair whose index is -1 stands for nothing.
SpecBuilder::Reduction arg_extreme(DType t, bool is_max, bool last_of_equals);

}  // namespace weft
