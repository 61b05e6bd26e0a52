// raise-gelu: x/2 * (1 + erf(x / √2)) and its approximation x/2 * (1 + tanh(√(2/π) * (x + 0.044715 x³))) become gelu, in
// whatever order their factors stand. The third spelling, x * sigmoid(1.702 x), is a swish.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "ir/ops/pointwise.h"
#include "passes/raise/product.h"

namespace weft {

namespace {

// v is 1 + f(…): the operand of f.
Op* one_plus(Value* v, OpKind f) {
  Op* add = def_of(v, OpKind::add);
  auto n = add ? with_number(*add) : std::nullopt;
  return n && n->number == 1 ? def_of(n->other, f) : nullptr;
}

bool all_are(const std::vector<Value*>& factors, const Value* x, size_t count) {
  return factors.size() == count && std::all_of(factors.begin(), factors.end(), [&](const Value* v) { return v == x; });
}

bool is_erf_argument(Value* v, const Value* x) {
  Product p = product_of(v, x, true);
  return all_are(p.factors, x, 1) && is_about(p.number, std::numbers::sqrt2 / 2, x->type.dtype);
}

// √(2/π) * (x + 0.044715 x³), or with x in front of the bracket.
bool is_tanh_argument(Value* v, const Value* x) {
  Product p = product_of(v, x, true);
  if (!is_about(p.number, std::sqrt(2 / std::numbers::pi), x->type.dtype)) return false;
  auto cubic = [&](const Value* term, size_t power) {
    Product c = product_of(const_cast<Value*>(term), x, true);
    return all_are(c.factors, x, power) && is_about(c.number, 0.044715, x->type.dtype);
  };
  if (p.factors.size() == 1) {
    Op* add = def_of(p.factors[0], OpKind::add);
    return add && ((add->operands[0] == x && cubic(add->operands[1], 3)) || (add->operands[1] == x && cubic(add->operands[0], 3)));
  }
  if (p.factors.size() != 2) return false;
  Value* bracket = p.factors[0] == x ? p.factors[1] : p.factors[1] == x ? p.factors[0] : nullptr;
  Op* add = bracket ? def_of(bracket, OpKind::add) : nullptr;
  auto n = add ? with_number(*add) : std::nullopt;
  return n && n->number == 1 && cubic(n->other, 2);
}

// The ops between x and `from`, for their origins.
void collect_between(Value* from, const Value* x, std::vector<Op*>& out) {
  if (from == x || !from->def || constant_of(from) || std::find(out.begin(), out.end(), from->def) != out.end()) return;
  for (Value* v : from->def->operands)
    if (v) collect_between(v, x, out);
  out.push_back(from->def);
}

bool raise_gelu(Op& op) {
  if ((op.kind != OpKind::mul && op.kind != OpKind::div) || !is_float(op.result()->type.dtype)) return false;
  Product p = product_of(op.result());
  if (p.factors.size() != 2 || !is_about(p.number, 0.5, op.result()->type.dtype)) return false;
  for (int i = 0; i < 2; ++i) {
    Value *x = p.factors[i], *bracket = p.factors[1 - i];
    Op *erf = one_plus(bracket, OpKind::erf), *tanh = one_plus(bracket, OpKind::tanh);
    bool exact = erf && is_erf_argument(erf->operands[0], x), approximate = tanh && is_tanh_argument(tanh->operands[0], x);
    if (!exact && !approximate) continue;
    std::vector<Op*> from;
    collect_between(op.result(), x, from);
    Builder b = build_before(op, from);
    GeluAttrs a;
    a.approximate = exact ? "none" : "tanh";
    if (replace_op(op, b.op(OpKind::gelu, {x}, a))) return true;
  }
  return false;
}

}  // namespace

Result<bool> pass_raise_gelu(Module& m, PassContext&) { return rewrite_ops(m, raise_gelu); }

}  // namespace weft
