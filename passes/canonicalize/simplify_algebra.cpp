// simplify-algebra: elementwise arithmetic with numbers, and ops with simpler names. Results may differ in the sign of a
// zero and in what pow does with -0 and -inf; otherwise only exact rewrites: a division becomes a product where the
// divisor is a power of two.
#include <cmath>

#include "ir/ops/pointwise.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static bool become(Op& op, OpKind kind, std::vector<Value*> operands, const std::vector<Op*>& from = {}) {
  Builder b = build_before(op, from);
  Value* y = try_build(b, kind, std::move(operands));
  return y && replace_op(op, y);
}

static bool is_power_of_two(double x) {
  int e;
  return std::isfinite(x) && x != 0 && std::fabs(std::frexp(x, &e)) == 0.5 && e > -100 && e < 100;
}
static bool is_exact_float(DType t) { return t == DType::f32 || t == DType::f64; }

static bool simplify_mul(Op& op) {
  auto n = with_number(op);
  if (!n) return false;
  if (n->number == 1) return replace_op(op, n->other);
  return n->number == -1 && !is_unsigned_int(n->other->type.dtype) && same_type(n->other->type, op.result()->type) &&
         become(op, OpKind::neg, {n->other});
}
static bool simplify_add(Op& op) {
  auto n = with_number(op);
  if (n && n->number == 0 && replace_op(op, n->other)) return true;
  for (int i = 0; i < 2; ++i)
    if (Op* neg = def_of(op.operands[i], OpKind::neg)) return become(op, OpKind::sub, {op.operands[1 - i], neg->operands[0]}, {neg});
  return false;
}
static bool simplify_sub(Op& op) {
  if (is_uniform(op.operands[1], 0)) return replace_op(op, op.operands[0]);
  if (is_uniform(op.operands[0], 0) && same_type(op.operands[1]->type, op.result()->type)) return become(op, OpKind::neg, {op.operands[1]});
  Op* neg = def_of(op.operands[1], OpKind::neg);
  return neg && become(op, OpKind::add, {op.operands[0], neg->operands[0]}, {neg});
}
static bool simplify_div(Op& op) {
  DType t = op.result()->type.dtype;
  auto d = uniform_value(op.operands[1]);
  if (d && *d == 1) return replace_op(op, op.operands[0]);
  if (is_float(t) && is_uniform(op.operands[0], 1) && same_type(op.operands[1]->type, op.result()->type))
    return become(op, OpKind::reciprocal, {op.operands[1]});
  if (!d || !is_exact_float(t) || !is_power_of_two(*d)) return false;
  Builder b = build_before(op);
  return become(op, OpKind::mul, {op.operands[0], b.splat(t, constant_of(op.operands[1])->dims, 1 / *d)});
}
static bool simplify_pow(Op& op) {
  auto e = uniform_value(op.operands[1]);
  Value* x = op.operands[0];
  if (!e || !is_float(x->type.dtype) || !same_type(x->type, op.result()->type)) return false;
  if (*e == 1) return replace_op(op, x);
  if (*e == 2) return become(op, OpKind::mul, {x, x});
  if (*e == 0.5) return become(op, OpKind::sqrt, {x});
  if (*e == -1) return become(op, OpKind::reciprocal, {x});
  Builder b = build_before(op);
  if (*e == -0.5) return become(op, OpKind::reciprocal, {b.op(OpKind::sqrt, {x})});
  if (*e != 3 || !is_exact_float(x->type.dtype)) return false;
  return become(op, OpKind::mul, {b.op(OpKind::mul, {x, x}), x});
}

// relu: max(x, 0) and clip(x, 0, none).
static bool simplify_max(Op& op) {
  auto n = op.num_operands() == 2 ? with_number(op) : std::nullopt;
  return n && n->number == 0 && is_float(n->other->type.dtype) && same_type(n->other->type, op.result()->type) &&
         become(op, OpKind::relu, {n->other});
}
static bool simplify_clip(Op& op) {
  return is_uniform(op.operand(1), 0) && !op.operand(2) && is_float(op.operands[0]->type.dtype) && become(op, OpKind::relu, {op.operands[0]});
}

static bool simplify_where(Op& op) {
  Op* n = def_of(op.operands[0], OpKind::not_);
  return n && become(op, OpKind::where, {n->operands[0], op.operands[2], op.operands[1]}, {n});
}
// f(f(x)) == x
static bool undo(Op& op) {
  Op* inner = def_of(op.operands[0], op.kind);
  return inner && replace_op(op, inner->operands[0]);
}

static bool simplify(Op& op) {
  for (const Value* v : op.operands)
    if (v && !v->type.is_ranked()) return false;
  switch (op.kind) {
    case OpKind::mul: return simplify_mul(op);
    case OpKind::add: return simplify_add(op);
    case OpKind::sub: return simplify_sub(op);
    case OpKind::div: return simplify_div(op);
    case OpKind::pow: return simplify_pow(op);
    case OpKind::max: return simplify_max(op);
    case OpKind::clip: return simplify_clip(op);
    case OpKind::where: return simplify_where(op);
    case OpKind::sum: return op.num_operands() == 2 && become(op, OpKind::add, op.operands);
    case OpKind::neg: case OpKind::not_: case OpKind::bitwise_not: return undo(op);
    default: return false;
  }
}

Result<bool> pass_simplify_algebra(Module& m, PassContext&) { return rewrite_ops(m, simplify); }

}  // namespace weft
