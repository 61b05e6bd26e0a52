// canonicalize-transposes: a transpose of a transpose is one transpose; one that moves only dims of 1 is a reshape; an
// elementwise op on a transposed value (the other operands uniform) comes before the transpose, where that lets two of
// them meet.
#include <algorithm>

#include "ir/ops/move.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static std::vector<int64_t> composed(const std::vector<int>& first, const std::vector<int>& second) {
  std::vector<int64_t> out;
  for (int p : second) out.push_back(first[p]);
  return out;
}

static bool merge_transposes(Op& op) {
  Op* inner = def_of(op.operands[0], OpKind::transpose);
  if (!inner) return false;
  auto second = transpose_perm(op), first = transpose_perm(*inner);
  if (!first.ok() || !second.ok()) return false;
  Builder b = build_before(op, {inner});
  TransposeAttrs a;
  a.perm = composed(*first, *second);
  return replace_op(op, b.op(OpKind::transpose, {inner->operands[0]}, a));
}

// The dims that are not 1 keep their order.
static bool transpose_as_reshape(Op& op) {
  auto perm = transpose_perm(op);
  const Type& x = op.operands[0]->type;
  if (!perm.ok() || std::is_sorted(perm->begin(), perm->end())) return false;
  int last = -1, symbolic = 0;
  std::vector<int64_t> shape;
  for (int p : *perm) {
    const Dim& d = x.shape[p];
    shape.push_back(d.is_const() ? d.value() : -1);
    symbolic += !d.is_const();
    if (d.is(0)) return false;
    if (d.is(1)) continue;
    if (p < last) return false;
    last = p;
  }
  if (symbolic > 1) return false;
  Builder b = build_before(op);
  Value* y = try_build(b, OpKind::reshape, {op.operands[0], b.ints(shape)});
  return y && replace_op(op, y);
}

// op(transpose(x), uniform…) with a single user that is a transpose again.
static bool lift_transpose(Op& op) {
  Op* inner = nullptr;
  if (op_def(op).family != Family::pointwise || op.num_results() != 1 || !has_one_use(op.result()) ||
      op.result()->uses[0].op->kind != OpKind::transpose)
    return false;
  int at = -1;
  for (int i = 0; i < op.num_operands(); ++i) {
    Value* v = op.operands[i];
    if (!v || (v->type.is_ranked() && is_static(v->type.shape) && numel(v->type.shape).is(1) && v->type.rank() <= 1)) continue;
    if (inner) return false;
    inner = def_of(v, OpKind::transpose);
    at = i;
    if (!inner) return false;
  }
  if (!inner || !has_one_use(inner->result())) return false;
  auto perm = transpose_perm(*inner);
  if (!perm.ok()) return false;
  Builder b = build_before(op, {inner});
  std::vector<Value*> operands = op.operands;
  operands[at] = inner->operands[0];
  Value* y = try_build(b, op.kind, operands, op.attrs->clone());
  if (!y) return false;
  TransposeAttrs a;
  a.perm.assign(perm->begin(), perm->end());
  return replace_op(op, b.op(OpKind::transpose, {y}, a));
}

Result<bool> pass_canonicalize_transposes(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) {
    if (op.kind != OpKind::transpose) return lift_transpose(op);
    if (!op.operands[0]->type.is_ranked()) return false;
    return merge_transposes(op) || transpose_as_reshape(op);
  });
}

}  // namespace weft
