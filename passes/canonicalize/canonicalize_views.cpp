// canonicalize-views: squeeze, unsqueeze, flatten and reshape become one reshape to a constant shape, where at most one dim
// of the result is symbolic; a chain of them becomes its last one. Kernels and other passes then meet one kind of view.
#include <algorithm>

#include "ir/ops/move.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static bool is_view(const Op* op) {
  return op && (op->kind == OpKind::reshape || op->kind == OpKind::squeeze || op->kind == OpKind::unsqueeze || op->kind == OpKind::flatten);
}

// The first value of a chain of views that ends in v.
static Value* view_source(Value* v) {
  while (is_view(v->def) && v->def->operands[0]->type.is_ranked()) v = v->def->operands[0];
  return v;
}

// A constant shape that gives exactly `to`: -1 stands for the one symbolic dim. nullopt: two dims or more are symbolic, or
// a zero hides what the -1 is.
static std::optional<std::vector<int64_t>> constant_shape(const Shape& to) {
  std::vector<int64_t> out;
  int holes = 0;
  bool zero = false;
  for (const Dim& d : to) {
    holes += !d.is_const();
    zero = zero || d.is(0);
    out.push_back(d.is_const() ? d.value() : -1);
  }
  if (holes > 1 || (holes == 1 && zero)) return std::nullopt;
  return out;
}

static bool has_zero(const std::vector<int64_t>& shape) { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }

// A reshape of x to `type`, whose shape is a constant; null where it cannot be, or does not infer to that type.
static Value* reshape_to(Builder& b, Value* x, const Type& type) {
  auto shape = constant_shape(type.shape);
  if (!shape) return nullptr;
  ReshapeAttrs a;
  a.allowzero = has_zero(*shape);
  Value* y = try_build(b, OpKind::reshape, {x, b.ints(*shape)}, attrs_of(a));
  return y && same_type(y->type, type) ? y : nullptr;
}

static bool is_plain(const Op& op) {
  if (op.kind != OpKind::reshape) return false;
  const Constant* c = constant_of(op.operands[1]);
  auto want = constant_shape(op.result()->type.shape);
  return c && want && const_ints(op.operands[1]) == want && op.attr<ReshapeAttrs>().allowzero == has_zero(*want);
}

// What the shape operand says holds for any source with as many elements: it names every dim as it is.
static bool is_absolute(const Op& op) {
  const std::vector<Dim>* k = known_of(op.operands[1]);
  return k && *k == op.result()->type.shape;
}

static bool shorten(Op& op) {
  if (!is_view(&op) || !op.result()->type.is_ranked() || !op.operands[0]->type.is_ranked()) return false;
  Value* x = view_source(op.operands[0]);
  if (same_type(x->type, op.result()->type)) return replace_op(op, x);
  if (is_plain(op) && x == op.operands[0]) return false;
  std::vector<Op*> chain;
  for (Value* v = op.operands[0]; v != x; v = v->def->operands[0]) chain.push_back(v->def);
  std::reverse(chain.begin(), chain.end());
  Builder b = build_before(op, chain);
  if (Value* y = reshape_to(b, x, op.result()->type)) return replace_op(op, y);
  if (x == op.operands[0] || op.kind != OpKind::reshape || !is_absolute(op)) return false;
  ReshapeAttrs a;
  a.allowzero = true;  // a symbol may be 0 at run time
  Value* y = try_build(b, OpKind::reshape, {x, op.operands[1]}, attrs_of(a));
  return y && replace_op(op, y);
}

Result<bool> pass_canonicalize_views(Module& m, PassContext&) { return rewrite_ops(m, shorten); }

}  // namespace weft
