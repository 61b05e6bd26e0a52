// canonicalize-slices: concat, slice, split and expand in chains. A concat inside a concat joins it; a concat of pieces
// that lie side by side in one value is a slice of it; a slice of a slice is one slice; a slice of a concat reads the part
// alone that it takes from; an expand before an elementwise op that broadcasts anyway goes.
#include <algorithm>

#include "ir/ops/move.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static int concat_axis(const Op& op) {
  auto a = normalize_axis(op.attr<ConcatAttrs>().axis, op.result()->type.rank());
  return a.ok() ? *a : -1;
}

static bool join_concats(Op& op) {
  int axis = concat_axis(op);
  std::vector<Value*> parts;
  std::vector<Op*> inner;
  for (Value* v : op.operands) {
    Op* c = def_of(v, OpKind::concat);
    if (c && has_one_use(v) && concat_axis(*c) == axis) {
      parts.insert(parts.end(), c->operands.begin(), c->operands.end());
      inner.push_back(c);
    } else if (!v->type.shape[axis].is(0) || op.num_operands() == 1) {
      parts.push_back(v);
    }
  }
  if (parts.empty() || (inner.empty() && parts.size() == op.operands.size())) return false;
  Builder b = build_before(op, inner);
  ConcatAttrs a;
  a.axis = axis;
  Value* y = try_build(b, OpKind::concat, parts, attrs_of(a));
  return y && replace_op(op, y);
}

// A run of elements of `source` along one axis.
struct Piece {
  Value* source = nullptr;
  Dim start = 0, length = 0;
};
// v as a piece along `axis` that has all of the other dims.
static std::optional<Piece> piece_of(Value* v, int axis) {
  if (Op* s = def_of(v, OpKind::slice)) {
    auto ranges = slice_ranges(*s, s->graph->module->symbols);
    if (!ranges.ok()) return std::nullopt;
    for (int d = 0; d < static_cast<int>(ranges->size()); ++d) {
      const SliceRange& r = (*ranges)[d];
      if (r.step != 1 || (d != axis && (!r.start.is(0) || !(r.length == s->operands[0]->type.shape[d])))) return std::nullopt;
    }
    return Piece{s->operands[0], (*ranges)[axis].start, (*ranges)[axis].length};
  }
  Op* s = def_of(v, OpKind::split);
  if (!s || !s->operands[0]->type.is_ranked()) return std::nullopt;
  auto along = normalize_axis(s->attr<SplitAttrs>().axis, s->operands[0]->type.rank());
  if (!along.ok() || *along != axis) return std::nullopt;
  Dim start = 0;
  for (int i = 0; i < v->index; ++i) start += s->result(i)->type.shape[axis];
  return Piece{s->operands[0], start, v->type.shape[axis]};
}

static Value* slice_along(Builder& b, const Piece& p, int axis) {
  if (!p.start.is_const() || !p.length.is_const()) return nullptr;
  int64_t from = p.start.value();
  return try_build(b, OpKind::slice, {p.source, b.ints({from}), b.ints({from + p.length.value()}), b.ints({axis})});
}

static bool undo_split(Op& op) {
  int axis = concat_axis(op);
  std::optional<Piece> all;
  for (Value* v : op.operands) {
    auto p = piece_of(v, axis);
    if (!p || (all && (p->source != all->source || !(p->start == all->start + all->length)))) return false;
    if (all) all->length += p->length;
    else all = p;
  }
  if (same_type(all->source->type, op.result()->type) && all->start.is(0)) return replace_op(op, all->source);
  Builder b = build_before(op);
  Value* y = slice_along(b, *all, axis);
  return y && replace_op(op, y);
}

// The only dim that a slice or a result of split cuts; -1: none, or several.
static int cut_axis(const Op& op) {
  auto ranges = slice_ranges(op, op.graph->module->symbols);
  if (!ranges.ok()) return -1;
  int axis = -1;
  for (int d = 0; d < static_cast<int>(ranges->size()); ++d) {
    const SliceRange& r = (*ranges)[d];
    if (r.start.is(0) && r.step == 1 && r.length == op.operands[0]->type.shape[d]) continue;
    if (axis >= 0 || r.step != 1) return -1;
    axis = d;
  }
  return axis;
}

static bool slice_of_piece(Op& op) {
  int axis = cut_axis(op);
  if (axis < 0) return false;
  auto outer = piece_of(op.result(), axis), inner = piece_of(op.operands[0], axis);
  if (!outer || !inner) return false;
  Builder b = build_before(op, {op.operands[0]->def});
  Value* y = slice_along(b, {inner->source, inner->start + outer->start, outer->length}, axis);
  return y && replace_op(op, y);
}

static bool slice_of_concat(Op& op) {
  Op* c = def_of(op.operands[0], OpKind::concat);
  int axis = c ? cut_axis(op) : -1;
  if (axis < 0 || concat_axis(*c) != axis) return false;
  auto want = piece_of(op.result(), axis);
  Dim at = 0;
  const SymbolTable& symbols = op.graph->module->symbols;
  for (Value* v : c->operands) {
    Dim end = at + v->type.shape[axis];
    if (known_ge(want->start, at, symbols) && known_le(want->start + want->length, end, symbols)) {
      if (want->length == v->type.shape[axis]) return replace_op(op, v);
      Builder b = build_before(op);
      Value* y = slice_along(b, {v, want->start - at, want->length}, axis);
      return y && replace_op(op, y);
    }
    at = end;
  }
  return false;
}

// The op reads the operand in broadcast form either way, provided that its result keeps its dims.
static bool drop_expands(Op& op) {
  if (op_def(op).family != Family::pointwise || op.num_results() != 1 || !op.result()->type.is_ranked()) return false;
  for (int i = 0; i < op.num_operands(); ++i) {
    Op* e = def_of(op.operands[i], OpKind::expand);
    if (!e || !e->operands[0]->type.is_ranked()) continue;
    std::vector<Value*> operands = op.operands;
    operands[i] = e->operands[0];
    Builder b = build_before(op, {e});
    Value* y = try_build(b, op.kind, operands, op.attrs->clone());
    if (y && replace_op(op, y)) return true;
  }
  return false;
}

Result<bool> pass_canonicalize_slices(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) {
    if (!op.results.empty() && !op.result()->type.is_ranked()) return false;
    if (op.kind == OpKind::concat) return join_concats(op) || undo_split(op);
    if (op.kind == OpKind::slice) return slice_of_piece(op) || slice_of_concat(op);
    return drop_expands(op);
  });
}

}  // namespace weft
