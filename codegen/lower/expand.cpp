#include "codegen/lower/expand.h"

#include "ir/core/builder.h"
#include "ir/ops/common.h"
#include "ir/ops/loss.h"
#include "ir/ops/move.h"
#include "ir/ops/norm.h"
#include "ir/ops/pointwise.h"

namespace weft {

static Value* cast_to(Builder& b, Value* v, DType t) {
  if (v->type.dtype == t) return v;
  CastAttrs a;
  a.to = t;
  return b.op(OpKind::cast, {v}, a);
}
static Result<Value*> reshape_to(Builder& b, Value* v, const std::vector<int64_t>& dims) {
  TRY_ASSIGN(Op * op, b.create(OpKind::reshape, {v, b.ints(dims)}));
  return op->result();
}

// Groups as rows of a layer normalisation, then scale and bias by channel.
static Result<Value*> expand_group_norm(Builder& b, Op& op) {
  const GroupNormAttrs& a = op.attr<GroupNormAttrs>();
  Value* x = op.operands[0];
  DType out = op.result()->type.dtype, t = out == DType::f64 ? out : DType::f32;
  TRY_ASSIGN(Value * rows, reshape_to(b, cast_to(b, x, t), {0, a.num_groups, -1}));
  LayerNormAttrs norm;
  norm.axis = 2;
  norm.epsilon = a.epsilon;
  Value* y = b.op(OpKind::layer_normalization, {rows, b.scalar(t, 1)}, norm);
  // The result's dims are x's, wherever they are known.
  TRY_ASSIGN(Op * like, b.create(OpKind::shape, {x}));
  TRY_ASSIGN(Op * back, b.create(OpKind::reshape, {y, like->result()}));
  std::vector<int64_t> channel(x->type.shape.size() - 1, 1);
  channel[0] = -1;
  TRY_ASSIGN(Value * scale, reshape_to(b, cast_to(b, op.operands[1], t), channel));
  TRY_ASSIGN(Value * bias, reshape_to(b, cast_to(b, op.operands[2], t), channel));
  y = b.op(OpKind::add, {b.op(OpKind::mul, {back->result(), scale}), bias});
  return cast_to(b, y, out);
}

// Statistics of the batch; the running ones move towards them. All in one precision.
static Result<std::vector<Value*>> expand_batch_norm(Builder& b, Op& op) {
  const BatchNormAttrs& a = op.attr<BatchNormAttrs>();
  DType out = op.result()->type.dtype, t = out == DType::f64 ? out : DType::f32;
  Value* x = cast_to(b, op.operands[0], t);
  std::vector<int64_t> axes, channel(x->type.shape.size() - 1, 1);
  for (int k = 0; k < x->type.rank(); ++k)
    if (k != 1) axes.push_back(k);
  channel[0] = -1;
  auto mean_of = [&](Value* v) { return b.op(OpKind::reduce_mean, {v, b.ints(axes)}); };
  Value* mean = mean_of(x);
  Value* centred = b.op(OpKind::sub, {x, mean});
  Value* variance = mean_of(b.op(OpKind::mul, {centred, centred}));
  Value* deviation = b.op(OpKind::sqrt, {b.op(OpKind::add, {variance, b.scalar(t, a.epsilon)})});
  TRY_ASSIGN(Value * scale, reshape_to(b, cast_to(b, op.operands[1], t), channel));
  TRY_ASSIGN(Value * bias, reshape_to(b, cast_to(b, op.operands[2], t), channel));
  Value* y = b.op(OpKind::add, {b.op(OpKind::mul, {b.op(OpKind::div, {centred, deviation}), scale}), bias});
  std::vector<Value*> results{cast_to(b, y, out)};
  for (int k : {1, 2}) {
    if (k >= op.num_results()) continue;
    TRY_ASSIGN(Value * now, reshape_to(b, k == 1 ? mean : variance, {-1}));
    Value* before = b.op(OpKind::mul, {cast_to(b, op.operands[2 + k], t), b.scalar(t, a.momentum)});
    Value* moved = b.op(OpKind::add, {before, b.op(OpKind::mul, {now, b.scalar(t, 1 - a.momentum)})});
    results.push_back(cast_to(b, moved, op.result(k)->type.dtype));
  }
  return results;
}

static bool is_expanded(const Op& op) {
  return op.kind == OpKind::group_normalization || op.kind == OpKind::softmax_cross_entropy_loss ||
         (op.kind == OpKind::batch_normalization && op.attr<BatchNormAttrs>().training_mode);
}

static Result<std::vector<Value*>> expanded(Op& op) {
  Builder b(op.graph, &op);
  b.provenance = op.provenance;
  if (op.kind == OpKind::batch_normalization) return expand_batch_norm(b, op);
  if (op.kind == OpKind::group_normalization) {
    TRY_ASSIGN(Value * y, expand_group_norm(b, op));
    return std::vector<Value*>{y};
  }
  SoftmaxAttrs softmax;
  softmax.axis = 1;
  Value* log_p = b.op(OpKind::log_softmax, {op.operands[0]}, softmax);
  std::vector<Value*> operands = op.operands;
  operands[0] = log_p;
  TRY_ASSIGN(Op * loss, b.create(OpKind::negative_log_likelihood_loss, std::move(operands), std::make_unique<LossAttrs>(op.attr<LossAttrs>())));
  return std::vector<Value*>{loss->result(), log_p};
}

Status expand_ops(Graph& g) {
  for (auto it = g.ops.begin(); it != g.ops.end();) {
    Op& op = **it++;
    for (auto& sub : op.graphs) TRY(expand_ops(*sub));
    if (!is_expanded(op)) continue;
    bool ranked = true;
    for (const Value* v : op.operands) ranked = ranked && (!v || v->type.is_ranked());
    if (!ranked) continue;
    TRY_ASSIGN(std::vector<Value*> values, expanded(op));
    for (size_t k = 0; k < op.results.size() && k < values.size(); ++k) {
      values[k]->name = op.result(static_cast<int>(k))->name;
      g.replace_uses(op.result(static_cast<int>(k)), values[k]);
    }
    g.erase(&op);
  }
  return {};
}

}  // namespace weft
