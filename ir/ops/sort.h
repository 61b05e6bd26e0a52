// Attributes of cumulative and sorting ops.
#pragma once

#include "ir/core/attrs.h"

namespace weft {

// cum_sum, cum_prod (x, axis[]): exclusive leaves the element itself out, reverse runs from the end.
struct CumulativeAttrs : AttrsOf<CumulativeAttrs> {
  bool exclusive = false, reverse = false;
  void fields(FieldVisitor& v) {
    v.field("exclusive", exclusive);
    v.field("reverse", reverse);
  }
};
// top_k(x, k[1]) -> values, indices. Results are always sorted, equal elements by index.
struct TopKAttrs : AttrsOf<TopKAttrs> {
  int64_t axis = -1;
  bool largest = true, sorted = true;
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("largest", largest);
    v.field("sorted", sorted);
  }
};
// unique(x) -> y, first indices?, inverse indices?, counts?; without has_axis of the flattened input.
struct UniqueAttrs : AttrsOf<UniqueAttrs> {
  bool has_axis = false;
  int64_t axis = 0;
  bool sorted = true;
  void fields(FieldVisitor& v) {
    v.field("has_axis", has_axis);
    v.field("axis", axis);
    v.field("sorted", sorted);
  }
};
// non_max_suppression(boxes, scores, max_boxes_per_class?, iou_threshold?, score_threshold?) -> i64[u,3]
struct NmsAttrs : AttrsOf<NmsAttrs> {
  bool center_point_box = false;
  void fields(FieldVisitor& v) { v.field("center_point_box", center_point_box); }
};

}  // namespace weft
