// Runs of elements of a value along one axis, whether a slice or a split took them.
#pragma once

#include "passes/rewrite/rewrite.h"

namespace weft {

// Elements start, start + step, … (`length` of them) of `source` along an axis, all of them along the others.
struct Piece {
  Value* source = nullptr;
  Dim start = 0, length = 0;
  int64_t step = 1;
};
// v as a piece along `axis`; nullopt where it is no slice or result of split, or cuts another axis, too.
std::optional<Piece> piece_of(const Value* v, int axis);
// A slice that is the piece; null where its bounds are no numbers.
Value* slice_along(Builder& b, const Piece& p, int axis);
// The axis of a concat, counted from the front; -1 where there is none.
int concat_axis(const Op& op);

}  // namespace weft
