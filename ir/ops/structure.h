// Attributes of the ops that hold a Module together.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

// prepared(): an output of the prepare graph, by name.
struct PreparedAttrs : AttrsOf<PreparedAttrs> {
  std::string name;
  void fields(FieldVisitor& v) { v.field("name", name); }
};
// shape(x): dims [start, end) of x, clamped as a slice is; without has_end up to the last.
struct ShapeAttrs : AttrsOf<ShapeAttrs> {
  int64_t start = 0;
  bool has_end = false;
  int64_t end = 0;
  void fields(FieldVisitor& v) {
    v.field("start", start);
    v.field("has_end", has_end);
    v.field("end", end);
  }
};
// reorder(x): the same elements in another layout, written as Layout prints it.
struct ReorderAttrs : AttrsOf<ReorderAttrs> {
  std::string layout = "any";
  void fields(FieldVisitor& v) { v.field("layout", layout); }
};
// fused(operands...): graphs[0] over the same operands; family names the kernel family that will run it.
struct FusedAttrs : AttrsOf<FusedAttrs> {
  std::string family;
  void fields(FieldVisitor& v) { v.field("family", family); }
};

// The prepare graph's output of that name, null if there is none.
const Value* prepared_output(const Module& m, const std::string& name);

}  // namespace weft
