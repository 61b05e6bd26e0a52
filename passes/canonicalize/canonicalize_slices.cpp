// canonicalize-slices: concat, slice, split and expand in chains. A concat inside a concat joins it; a concat of pieces that lie
// side by side in one value is a slice of it; a slice of a slice is one slice; a slice of a concat reads the part alone that it
// takes from; values that are cut alike and put together one by one are put together first; an expand before an elementwise op
// that broadcasts anyway goes.
#include <algorithm>

#include "ir/ops/move.h"
#include "passes/rewrite/pieces.h"

namespace weft {

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

static bool undo_split(Op& op) {
  int axis = concat_axis(op);
  std::optional<Piece> all;
  for (Value* v : op.operands) {
    auto p = piece_of(v, axis);
    if (!p || p->step != 1 || (all && (p->source != all->source || !(p->start == all->start + all->length)))) return false;
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

// concat(slice(x), slice(y)) along another dim than the slices cut: slice(concat(x, y)), which the other parts of x and y read,
// too, since all of x and y is cut and put together so.
static bool concat_of_slices(Op& op) {
  const int axis = concat_axis(op);
  std::optional<Piece> first;
  int cut = -1;
  std::vector<Value*> sources;
  for (Value* v : op.operands) {
    Op* s = def_of(v, OpKind::slice);
    if (s && cut < 0) cut = cut_axis(*s);
    if (!s || cut < 0 || cut == axis || cut_axis(*s) != cut) return false;
    auto p = piece_of(v, cut);
    if (!p || (first && !(p->start == first->start && p->length == first->length))) return false;
    Dim together = 0;
    bool joined = false;  // for another part
    for (const Use& u : p->source->uses) {
      if (u.op->kind == OpKind::concat && concat_axis(*u.op) == axis) {
        joined = true;
        continue;
      }
      auto part = u.op->kind == OpKind::slice && cut_axis(*u.op) == cut ? piece_of(u.op->result(), cut) : std::nullopt;
      if (!part || !has_one_use(u.op->result()) || u.op->result()->uses[0].op->kind != OpKind::concat) return false;
      together += part->length;
    }
    if (!joined && !(together == p->source->type.shape[static_cast<size_t>(cut)])) return false;
    if (!first) first = p;
    sources.push_back(p->source);
  }
  if (sources.size() < 2) return false;
  Builder b = build_before(op);
  ConcatAttrs a;
  a.axis = axis;
  Value* all = try_build(b, OpKind::concat, sources, attrs_of(a));
  Value* y = all ? slice_along(b, {all, first->start, first->length, 1}, cut) : nullptr;
  return y && replace_op(op, y);
}

static bool slice_of_piece(Op& op) {
  int axis = cut_axis(op);
  if (axis < 0) return false;
  auto outer = piece_of(op.result(), axis), inner = piece_of(op.operands[0], axis);
  if (!outer || !inner || inner->step != 1) return false;
  Builder b = build_before(op, {op.operands[0]->def});
  Value* y = slice_along(b, {inner->source, inner->start + outer->start, outer->length, 1}, axis);
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
      Value* y = slice_along(b, {v, want->start - at, want->length, 1}, axis);
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
    if (op.kind == OpKind::concat) return join_concats(op) || undo_split(op) || concat_of_slices(op);
    if (op.kind == OpKind::slice) return slice_of_piece(op) || slice_of_concat(op);
    return drop_expands(op);
  });
}

}  // namespace weft
