// fold-scale: inference batch normalisation becomes a product and a sum per channel; products and sums with constants per
// output channel behind a convolution or a matrix product go into its weights and bias. What then depends on constants
// alone is folded or moves to the prepare graph; no weight is looked at.
#include <algorithm>

#include "ir/ops/contract.h"
#include "ir/ops/conv.h"
#include "ir/ops/norm.h"
#include "ir/ops/pointwise.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static CastAttrs cast_to(DType t) {
  CastAttrs a;
  a.to = t;
  return a;
}
static bool is_wide_float(DType t) { return t == DType::f32 || t == DType::f64; }

// v[C] as [C, 1, …, 1], `rank` dims with the channels first among `rank`.
static Value* reshaped_to(Builder& b, Value* v, const std::vector<int64_t>& dims) { return b.op(OpKind::reshape, {v, b.ints(dims)}); }

static std::vector<int64_t> channel_dims(int64_t channels, int rank, int at) {
  std::vector<int64_t> dims(rank, 1);
  dims[at] = channels;
  return dims;
}

// y = x * a + (bias - mean * a), a = scale / sqrt(var + epsilon); all of it in float where x is narrower
static bool spread_batch_norm(Op& op) {
  const BatchNormAttrs& attrs = op.attr<BatchNormAttrs>();
  if (attrs.training_mode || op.num_results() != 1) return false;
  const Type& x = op.operands[0]->type;
  if (!x.is_ranked() || x.rank() < 2 || !is_float(x.dtype)) return false;
  for (int i = 1; i < 5; ++i)
    if (!is_static(op.operands[i]->type.shape) || !depends_on_constants(op.operands[i])) return false;
  const DType t = is_wide_float(x.dtype) ? x.dtype : DType::f32;
  const int64_t channels = op.operands[1]->type.shape[0].value();
  Builder b = build_before(op);
  auto wide = [&](int i) { return op.operands[i]->type.dtype == t ? op.operands[i] : b.op(OpKind::cast, {op.operands[i]}, cast_to(t)); };
  Value *scale = wide(1), *bias = wide(2), *mean = wide(3), *var = wide(4);
  Value* deviation = b.op(OpKind::sqrt, {b.op(OpKind::add, {var, b.scalar(t, attrs.epsilon)})});
  Value* a = b.op(OpKind::div, {scale, deviation});
  Value* shift = b.op(OpKind::sub, {bias, b.op(OpKind::mul, {mean, a})});
  std::vector<int64_t> dims = channel_dims(channels, x.rank() - 1, 0);
  Value* y = b.op(OpKind::mul, {wide(0), reshaped_to(b, a, dims)});
  y = b.op(OpKind::add, {y, reshaped_to(b, shift, dims)});
  if (t != x.dtype) y = b.op(OpKind::cast, {y}, cast_to(x.dtype));
  return replace_op(op, y);
}

// What of a product's result one output channel is: its dim in the result and in the weights, and how many there are.
struct Channels {
  int result_dim = 0, weight_dim = 0;
  int64_t count = 0;
};
static std::optional<Channels> channels_of(const Op& op) {
  const Type &y = op.result()->type, &w = op.operands[1]->type;
  if (!y.is_ranked() || !w.is_ranked() || !is_wide_float(y.dtype) || w.dtype != y.dtype || op.operand(3) || op.operand(4)) return std::nullopt;
  Channels c;
  if (op.kind == OpKind::conv) {
    c = {1, 0, 0};
  } else if (op.kind == OpKind::conv_transpose && op.attr<ConvTransposeAttrs>().group == 1) {
    c = {1, 1, 0};
  } else if (op.kind == OpKind::contract && y.rank() > 0) {
    auto spec = parse_contract(op.attr<ContractAttrs>().spec);
    if (!spec.ok() || spec->a.find(spec->out.back()) != std::string::npos || spec->b.find(spec->out.back()) == std::string::npos) return std::nullopt;
    c = {y.rank() - 1, static_cast<int>(spec->b.find(spec->out.back())), 0};
  } else {
    return std::nullopt;
  }
  const Dim& d = w.shape[c.weight_dim];
  if (!d.is_const() || !(y.shape[c.result_dim] == d)) return std::nullopt;
  c.count = d.value();
  return c;
}

// v broadcasts to the result with at most the channel's dim other than 1. Gives v as [C], or as [] where it is one number.
static Value* per_channel(Builder& b, Value* v, int result_rank, const Channels& c) {
  const Type& t = v->type;
  if (!t.is_ranked() || !is_static(t.shape) || t.rank() > result_rank) return nullptr;
  int at = c.result_dim - (result_rank - t.rank());
  for (int d = 0; d < t.rank(); ++d)
    if (d != at && !t.shape[d].is(1)) return nullptr;
  int64_t n = numel(t.shape).value();
  if (n != 1 && n != c.count) return nullptr;
  if (n == 1 && c.count != 1) return reshaped_to(b, v, {});
  return reshaped_to(b, v, {c.count});
}

// The product behind operand i of a mul or add, where it may change: nothing else reads it and its weights are constants.
static Op* product_behind(const Op& op, int i) {
  Value* v = op.operands[i];
  if (!v->def || !has_one_use(v) || !same_type(v->type, op.result()->type)) return nullptr;
  Op* p = v->def;
  return (p->kind == OpKind::conv || p->kind == OpKind::conv_transpose || p->kind == OpKind::contract) && channels_of(*p) ? p : nullptr;
}

static bool rebuild(Op& op, Op& product, std::vector<Value*> operands) {
  Builder b = build_before(op, {&product});
  while (!operands.back()) operands.pop_back();
  Value* y = try_build(b, product.kind, std::move(operands), product.attrs->clone());
  return y && replace_op(op, y);
}

static bool scale_weights(Op& op) {
  for (int i = 0; i < 2; ++i) {
    Op* p = product_behind(op, i);
    if (!p || !depends_on_constants(op.operands[1 - i]) || !depends_on_constants(p->operands[1])) continue;
    if (p->operand(2) && !depends_on_constants(p->operand(2))) continue;
    Channels c = *channels_of(*p);
    Builder b = build_before(op, {p});
    Value* s = per_channel(b, op.operands[1 - i], op.result()->type.rank(), c);
    if (!s) continue;
    std::vector<Value*> operands = p->operands;
    const Type& w = operands[1]->type;
    Value* along = s->type.rank() == 0 ? s : reshaped_to(b, s, channel_dims(c.count, w.rank(), c.weight_dim));
    operands[1] = b.op(OpKind::mul, {operands[1], along});
    if (p->operand(2)) operands[2] = b.op(OpKind::mul, {operands[2], s});
    if (rebuild(op, *p, operands)) return true;
  }
  return false;
}

static bool add_to_bias(Op& op) {
  for (int i = 0; i < 2; ++i) {
    Op* p = product_behind(op, i);
    if (!p || p->kind == OpKind::contract || !depends_on_constants(op.operands[1 - i])) continue;
    Channels c = *channels_of(*p);
    Builder b = build_before(op, {p});
    Value* t = per_channel(b, op.operands[1 - i], op.result()->type.rank(), c);
    if (!t) continue;
    if (t->type.rank() == 0) t = b.op(OpKind::expand, {t, b.ints({c.count})});
    std::vector<Value*> operands = p->operands;
    operands.resize(3, nullptr);
    operands[2] = operands[2] ? b.op(OpKind::add, {operands[2], t}) : t;
    if (rebuild(op, *p, operands)) return true;
  }
  return false;
}

Result<bool> pass_fold_scale(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) {
    switch (op.kind) {
      case OpKind::batch_normalization: return spread_batch_norm(op);
      case OpKind::mul: return scale_weights(op);
      case OpKind::add: return add_to_bias(op);
      default: return false;
    }
  });
}

}  // namespace weft
