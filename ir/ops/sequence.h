// Sequences and optionals: attributes and their element types.
//
// The element type of a sequence holds for all of its elements: its symbols mean one number for all. A dim that may differ
// from element to element is the varying dim, the symbol `_`, which occurs nowhere else. A sequence known to be empty has
// the element type dtype[_empty], which joins with any other of that dtype.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

struct SequenceEmptyAttrs : AttrsOf<SequenceEmptyAttrs> {
  DType dtype = DType::f32;
  void fields(FieldVisitor& v) { v.field("dtype", dtype); }
};
// split_to_sequence(x, split?): parts of `split` elements (a scalar), of split[i] elements, or single ones, which lose the
// dim without keepdims.
struct SplitToSequenceAttrs : AttrsOf<SplitToSequenceAttrs> {
  int64_t axis = 0;
  bool keepdims = true;
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("keepdims", keepdims);
  }
};
struct ConcatFromSequenceAttrs : AttrsOf<ConcatFromSequenceAttrs> {
  int64_t axis = 0;
  bool new_axis = false;
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("new_axis", new_axis);
  }
};
// sequence_map(sequence, more inputs..., captures...): graphs[0] for each element; other sequences among the num_inputs
// first operands go along element by element.
struct SequenceMapAttrs : AttrsOf<SequenceMapAttrs> {
  int64_t num_inputs = 1;
  void fields(FieldVisitor& v) { v.field("num_inputs", num_inputs); }
};
// optional(x?): without an operand an empty optional of `type`.
struct OptionalAttrs : AttrsOf<OptionalAttrs> {
  Type type;
  void fields(FieldVisitor& v) { v.field("type", type); }
};

Dim varying_dim();
bool is_varying(const Dim& d);
Type empty_element(DType t);
bool is_empty_element(const Type& t);
// Error unless operand i is a sequence.
Status need_sequence(const Op& op, int i);
// The elements' own types, where the sequence is made of known values.
std::optional<std::vector<Type>> known_elements(const Value* v);
// A sequence type for elements of unknown dims, out of the type that a model declares: each symbolic dim may vary.
Type declared_sequence(Type element);

}  // namespace weft
