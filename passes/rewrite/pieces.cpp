#include "passes/rewrite/pieces.h"

#include "ir/ops/move.h"

namespace weft {

static std::optional<Piece> piece_of_slice(const Op& s, int axis) {
  auto ranges = slice_ranges(s, s.graph->module->symbols);
  if (!ranges.ok()) return std::nullopt;
  for (int d = 0; d < static_cast<int>(ranges->size()); ++d) {
    const SliceRange& r = (*ranges)[d];
    if (d != axis && (r.step != 1 || !r.start.is(0) || !(r.length == s.operands[0]->type.shape[d]))) return std::nullopt;
  }
  const SliceRange& r = (*ranges)[axis];
  return Piece{s.operands[0], r.start, r.length, r.step};
}

std::optional<Piece> piece_of(const Value* v, int axis) {
  if (Op* s = def_of(v, OpKind::slice)) return piece_of_slice(*s, axis);
  Op* s = def_of(v, OpKind::split);
  if (!s || !s->operands[0]->type.is_ranked()) return std::nullopt;
  auto along = normalize_axis(s->attr<SplitAttrs>().axis, s->operands[0]->type.rank());
  if (!along.ok() || *along != axis) return std::nullopt;
  Dim start = 0;
  for (int i = 0; i < v->index; ++i) start += s->result(i)->type.shape[axis];
  return Piece{s->operands[0], start, v->type.shape[axis], 1};
}

Value* slice_along(Builder& b, const Piece& p, int axis) {
  if (!p.start.is_const() || !p.length.is_const() || p.step != 1) return nullptr;
  int64_t from = p.start.value();
  return try_build(b, OpKind::slice, {p.source, b.ints({from}), b.ints({from + p.length.value()}), b.ints({axis})});
}

int concat_axis(const Op& op) {
  auto a = normalize_axis(op.attr<ConcatAttrs>().axis, op.result()->type.rank());
  return a.ok() ? *a : -1;
}

}  // namespace weft
