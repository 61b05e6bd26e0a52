// raise-activations: x * sigmoid(a x) is a swish (SiLU where a is 1; the quick GELU where it is 1.702); clip(x + 3, 0, 6) / 6
// is a hard sigmoid, and x times that a hard swish; x * tanh(softplus(x)) is mish.
#include <algorithm>

#include "ir/ops/pointwise.h"
#include "passes/raise/product.h"

namespace weft {

namespace {

// clip(x + 3, 0, 6), also as min(max(…, 0), 6): x.
Value* clipped_shift(Value* v) {
  Value* inner = nullptr;
  if (Op* clip = def_of(v, OpKind::clip)) {
    if (is_uniform(clip->operand(1), 0) && is_uniform(clip->operand(2), 6)) inner = clip->operands[0];
  } else if (Op* min = def_of(v, OpKind::min); min && min->num_operands() == 2) {
    auto top = with_number(*min);
    Op* relu = top && top->number == 6 ? def_of(top->other, OpKind::relu) : nullptr;
    if (relu) inner = relu->operands[0];
  }
  Op* add = inner ? def_of(inner, OpKind::add) : nullptr;
  auto three = add ? with_number(*add) : std::nullopt;
  return three && three->number == 3 ? three->other : nullptr;
}

std::vector<Op*> origins(const Product& p, std::initializer_list<Value*> others) {
  std::vector<Op*> out = p.ops;
  for (Value* v : others) {
    if (!v || !v->def) continue;
    for (Value* x : v->def->operands)
      if (x && x->def && has_one_use(x) && !constant_of(x)) out.push_back(x->def);
    out.push_back(v->def);
  }
  return out;
}

template <class A>
bool become_activation(Op& op, const std::vector<Op*>& from, OpKind kind, Value* x, A attrs) {
  Builder b = build_before(op, from);
  return replace_op(op, b.op(kind, {x}, attrs));
}

// x * f, x and f the two factors of a product with `number`.
bool raise_gate(Op& op, const Product& p, Value* x, Value* f) {
  if (Op* sigmoid = def_of(f, OpKind::sigmoid); sigmoid && p.number == 1) {
    Product inner = product_of(sigmoid->operands[0], x, true);
    if (inner.factors != std::vector<Value*>{x}) return false;
    AlphaAttrs a;
    a.alpha = inner.number;
    return become_activation(op, origins(p, {f}), OpKind::swish, x, a);
  }
  if (Op* tanh = def_of(f, OpKind::tanh); tanh && p.number == 1) {
    Op* softplus = def_of(tanh->operands[0], OpKind::softplus);
    return softplus && softplus->operands[0] == x && become_activation(op, origins(p, {f}), OpKind::mish, x, NoAttrs{});
  }
  if (Op* hard = def_of(f, OpKind::hard_sigmoid); hard && p.number == 1) {
    const HardSigmoidAttrs& a = hard->attr<HardSigmoidAttrs>();
    return hard->operands[0] == x && is_about(a.alpha, 1.0 / 6, x->type.dtype) && a.beta == 0.5 &&
           become_activation(op, origins(p, {f}), OpKind::hard_swish, x, NoAttrs{});
  }
  return is_about(p.number, 1.0 / 6, x->type.dtype) && clipped_shift(f) == x && become_activation(op, origins(p, {f}), OpKind::hard_swish, x, NoAttrs{});
}

bool raise_activation(Op& op) {
  if ((op.kind != OpKind::mul && op.kind != OpKind::div) || !is_float(op.result()->type.dtype)) return false;
  Product p = product_of(op.result());
  if (p.factors.size() == 2) return raise_gate(op, p, p.factors[0], p.factors[1]) || raise_gate(op, p, p.factors[1], p.factors[0]);
  if (p.factors.size() != 1 || !is_about(p.number, 1.0 / 6, op.result()->type.dtype)) return false;
  Value* x = clipped_shift(p.factors[0]);
  if (!x) return false;
  HardSigmoidAttrs a;
  a.alpha = 1.0 / 6;
  return become_activation(op, origins(p, {p.factors[0]}), OpKind::hard_sigmoid, x, a);
}

}  // namespace

Result<bool> pass_raise_activations(Module& m, PassContext&) { return rewrite_ops(m, raise_activation); }

}  // namespace weft
