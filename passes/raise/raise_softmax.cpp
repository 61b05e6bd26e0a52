// raise-softmax: exp(x - max(x)) / sum(exp(x - max(x))) along one dim, with or without the maximum, is a softmax; log of one,
// and (x - max(x)) - log(sum(exp(x - max(x)))), is a log_softmax.
#include "ir/ops/norm.h"
#include "ir/ops/reduce.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

// v reduces `of` along one dim, kept: the dim; -1 where it does not.
int kept_axis(Value* v, OpKind kind, const Value* of) {
  Op* op = def_of(v, kind);
  if (!op || op->operands[0] != of || !op->attr<ReduceAttrs>().keepdims || !of->type.is_ranked()) return -1;
  auto axes = reduced_axes(*op);
  return axes.ok() && axes->size() == 1 ? (*axes)[0] : -1;
}

// x of x - max(x) along the axis; v itself where it is no such difference.
Value* without_max(Value* v, int axis, std::vector<Op*>& from) {
  Op* sub = def_of(v, OpKind::sub);
  if (!sub || kept_axis(sub->operands[1], OpKind::reduce_max, sub->operands[0]) != axis) return v;
  from.insert(from.end(), {sub->operands[1]->def, sub});
  return sub->operands[0];
}

bool become_softmax(Op& op, OpKind kind, Value* x, int axis, const std::vector<Op*>& from) {
  Builder b = build_before(op, from);
  SoftmaxAttrs a;
  a.axis = axis == x->type.rank() - 1 ? -1 : axis;
  Value* y = try_build(b, kind, {x}, attrs_of(a));
  return y && replace_op(op, y);
}

bool raise_div(Op& op) {
  Op* exp = def_of(op.operands[0], OpKind::exp);
  int axis = exp ? kept_axis(op.operands[1], OpKind::reduce_sum, exp->result()) : -1;
  if (axis < 0) return false;
  std::vector<Op*> from;
  Value* x = without_max(exp->operands[0], axis, from);
  from.insert(from.end(), {exp, op.operands[1]->def});
  return become_softmax(op, OpKind::softmax, x, axis, from);
}

bool raise_log(Op& op) {
  Op* softmax = def_of(op.operands[0], OpKind::softmax);
  if (!softmax || !has_one_use(softmax->result())) return false;
  Builder b = build_before(op, {softmax});
  Value* y = try_build(b, OpKind::log_softmax, {softmax->operands[0]}, softmax->attrs->clone());
  return y && replace_op(op, y);
}

bool raise_sub(Op& op) {
  Op* log = def_of(op.operands[1], OpKind::log);
  Op* sum = log ? def_of(log->operands[0], OpKind::reduce_sum) : nullptr;
  Op* exp = sum ? def_of(sum->operands[0], OpKind::exp) : nullptr;
  if (!exp || exp->operands[0] != op.operands[0]) return false;
  int axis = kept_axis(sum->result(), OpKind::reduce_sum, exp->result());
  if (axis < 0) return false;
  std::vector<Op*> from;
  Value* x = without_max(op.operands[0], axis, from);
  from.insert(from.end(), {exp, sum, log});
  return become_softmax(op, OpKind::log_softmax, x, axis, from);
}

}  // namespace

Result<bool> pass_raise_softmax(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) {
    switch (op.kind) {
      case OpKind::div: return raise_div(op);
      case OpKind::log: return raise_log(op);
      case OpKind::sub: return raise_sub(op);
      default: return false;
    }
  });
}

}  // namespace weft
