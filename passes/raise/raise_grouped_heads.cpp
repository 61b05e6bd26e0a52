// raise-grouped-heads: keys and values that are repeated for groups of query heads, by unsqueeze, expand and reshape, reach
// attention without the repeats, which it makes itself.
#include "ir/ops/attention.h"
#include "ir/ops/move.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

// reshape(expand(view of x[B, H, S, D] as [B, H, 1, S, D]) to [B, H, G, S, D]) to [B, H*G, S, D]: x. By types: the middle of
// such a chain has rank 5 and x's dims but for the third.
static Value* without_repeats(Value* v, std::vector<Op*>& ops) {
  Op* merge = def_of(v, OpKind::reshape);
  Op* expand = merge ? def_of(merge->operands[0], OpKind::expand) : nullptr;
  Value* split = expand ? expand->operands[0] : nullptr;
  if (!split || !split->def || (split->def->kind != OpKind::reshape && split->def->kind != OpKind::unsqueeze)) return nullptr;
  Value* x = split->def->operands[0];
  const Type &narrow = split->type, &wide = expand->result()->type, &out = v->type;
  if (!x->type.is_ranked() || x->type.rank() != 4 || narrow.rank() != 5 || wide.rank() != 5 || out.rank() != 4 ||
      !narrow.dim(2).is(1))
    return nullptr;
  for (int d = 0; d < 4; ++d) {
    const Dim& own = x->type.dim(d);
    int at = d < 2 ? d : d + 1;
    if (!(narrow.dim(at) == own) || !(wide.dim(at) == own) || (d != 1 && !(out.dim(d) == own))) return nullptr;
  }
  ops.insert(ops.end(), {split->def, expand, merge});
  return x;
}

static bool drop_repeats(Op& op) {
  if (op.kind != OpKind::attention || op.operand(4)) return false;
  for (int i = 1; i < op.num_results(); ++i)
    if (!op.result(i)->unused()) return false;
  std::vector<Op*> ops;
  Value *k = without_repeats(op.operands[1], ops), *v = without_repeats(op.operands[2], ops);
  if (!k || !v || !(k->type.dim(1) == v->type.dim(1))) return false;
  std::vector<Value*> operands = op.operands;
  operands[1] = k;
  operands[2] = v;
  Builder b = build_before(op, ops);
  Value* y = try_build(b, OpKind::attention, operands, op.attrs->clone());
  return y && replace_op(op, y);
}

Result<bool> pass_raise_grouped_heads(Module& m, PassContext&) { return rewrite_ops(m, drop_repeats); }

}  // namespace weft
