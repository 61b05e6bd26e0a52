// fold-contract: what stands around a matrix product goes into it: transposes of operands and of the result into the spec,
// products with a number into alpha, and the sum with constants into the bias.
#include <algorithm>

#include "ir/ops/contract.h"
#include "ir/ops/move.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static std::string spec_text(const ContractSpec& s) { return s.a + "," + s.b + "->" + s.out; }

// A contract in place of `op`, which is a contract, too, or the last op of a pattern around one.
static bool replace_contract(Op& op, ContractAttrs a, std::vector<Value*> operands, const std::vector<Op*>& from) {
  Builder b = build_before(op, from);
  while (!operands.empty() && !operands.back()) operands.pop_back();
  Value* y = try_build(b, OpKind::contract, std::move(operands), attrs_of(std::move(a)));
  return y && replace_op(op, y);
}

// A transposed operand: the letters move instead. Scales of an operand follow its dims, so they forbid it.
static bool fold_operand_transpose(Op& op) {
  auto spec = parse_contract(op.attr<ContractAttrs>().spec);
  if (!spec.ok()) return false;
  for (int i = 0; i < 2; ++i) {
    Op* t = def_of(op.operands[i], OpKind::transpose);
    if (!t || op.operand(3 + i)) continue;
    auto perm = transpose_perm(*t);
    if (!perm.ok()) continue;
    std::string &letters = i == 0 ? spec->a : spec->b, moved = letters;
    for (size_t d = 0; d < perm->size(); ++d) moved[(*perm)[d]] = letters[d];
    letters = moved;
    ContractAttrs a = op.attr<ContractAttrs>();
    a.spec = spec_text(*spec);
    std::vector<Value*> operands = op.operands;
    operands[i] = t->operands[0];
    return replace_contract(op, a, operands, {t});
  }
  return false;
}

// transpose(contract): a bias would have to be transposed, too, unless all its elements are one.
static bool fold_result_transpose(Op& op) {
  Op* c = def_of(op.operands[0], OpKind::contract);
  if (!c || !has_one_use(c->result())) return false;
  if (Value* bias = c->operand(2); bias && bias->type.rank() > 0) return false;
  auto perm = transpose_perm(op);
  auto spec = parse_contract(c->attr<ContractAttrs>().spec);
  if (!perm.ok() || !spec.ok()) return false;
  std::string out;
  for (int p : *perm) out += spec->out[p];
  spec->out = out;
  ContractAttrs a = c->attr<ContractAttrs>();
  a.spec = spec_text(*spec);
  return replace_contract(op, a, c->operands, {c});
}

static bool is_plain_float(const Op& contract) {
  return is_float(contract.result()->type.dtype) && contract.result()->type.dtype == contract.operands[0]->type.dtype;
}

// mul or div of the contract by a number; a bias is scaled, too, where it is constant.
static bool fold_alpha(Op& op) {
  auto n = with_number(op);
  if (!n || (op.kind == OpKind::div && n->index != 1)) return false;
  Op* c = def_of(n->other, OpKind::contract);
  if (!c || !has_one_use(c->result()) || !is_plain_float(*c) || !same_type(c->result()->type, op.result()->type)) return false;
  std::vector<Value*> operands = c->operands;
  if (Value* bias = c->operand(2)) {
    if (!depends_on_constants(bias)) return false;
    Builder b = build_before(op);
    operands[2] = try_build(b, op.kind, {bias, op.operands[n->index]});
    if (!operands[2] || operands[2]->type.rank() > op.result()->type.rank()) return false;
  }
  ContractAttrs a = c->attr<ContractAttrs>();
  a.alpha = op.kind == OpKind::mul ? a.alpha * n->number : a.alpha / n->number;
  return replace_contract(op, a, operands, {c});
}

// contract(mul(x, number), …)
static bool fold_operand_scale(Op& op) {
  if (!is_plain_float(op)) return false;
  for (int i = 0; i < 2; ++i) {
    Value* v = op.operands[i];
    if (!v->def || (v->def->kind != OpKind::mul && v->def->kind != OpKind::div) || !has_one_use(v)) continue;
    auto n = with_number(*v->def);
    if (!n || (v->def->kind == OpKind::div && n->index != 1) || !same_type(n->other->type, v->type)) continue;
    ContractAttrs a = op.attr<ContractAttrs>();
    a.alpha = v->def->kind == OpKind::mul ? a.alpha * n->number : a.alpha / n->number;
    std::vector<Value*> operands = op.operands;
    operands[i] = n->other;
    return replace_contract(op, a, operands, {v->def});
  }
  return false;
}

// add(contract, constants)
static bool fold_bias(Op& op) {
  for (int i = 0; i < 2; ++i) {
    Op* c = def_of(op.operands[i], OpKind::contract);
    Value* bias = op.operands[1 - i];
    if (!c || !has_one_use(c->result()) || !is_float(op.result()->type.dtype) || !same_type(c->result()->type, op.result()->type)) continue;
    if (!depends_on_constants(bias)) continue;
    std::vector<Value*> operands = c->operands;
    if (Value* old = c->operand(2)) {
      if (!depends_on_constants(old)) continue;
      Builder b = build_before(op);
      bias = try_build(b, OpKind::add, {old, bias});
      if (!bias) continue;
    }
    operands.resize(std::max<size_t>(operands.size(), 3), nullptr);
    operands[2] = bias;
    if (replace_contract(op, c->attr<ContractAttrs>(), operands, {c})) return true;
  }
  return false;
}

Result<bool> pass_fold_contract(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) {
    switch (op.kind) {
      case OpKind::contract: return fold_operand_transpose(op) || fold_operand_scale(op);
      case OpKind::transpose: return fold_result_transpose(op);
      case OpKind::mul: case OpKind::div: return fold_alpha(op);
      case OpKind::add: return fold_bias(op);
      default: return false;
    }
  });
}

}  // namespace weft
