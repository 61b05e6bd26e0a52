// raise-norm: (x - mean(x)) / sqrt(variance + epsilon) over the last dims is a layer_normalization, x / sqrt(mean(x²) +
// epsilon) an rms_normalization; a product and a sum with values of the normalised dims behind one are its scale and bias.
#include <algorithm>

#include "ir/ops/norm.h"
#include "ir/ops/reduce.h"
#include "passes/raise/product.h"

namespace weft {

namespace {

// v is mean(of) over the last dims, kept: `of`, and the first of those dims.
struct Mean {
  Op* op = nullptr;
  Value* of = nullptr;
  int axis = 0;
};
std::optional<Mean> mean_of(Value* v) {
  Op* op = def_of(v, OpKind::reduce_mean);
  if (!op || !op->attr<ReduceAttrs>().keepdims || !op->operands[0]->type.is_ranked()) return std::nullopt;
  auto axes = reduced_axes(*op);
  int rank = op->operands[0]->type.rank();
  if (!axes.ok() || axes->empty()) return std::nullopt;
  for (size_t i = 0; i < axes->size(); ++i)
    if ((*axes)[i] != rank - static_cast<int>(axes->size() - i)) return std::nullopt;
  return Mean{op, op->operands[0], (*axes)[0]};
}

// x and 1 / sqrt(square + epsilon), multiplied: root is div(x, sqrt(…)), or mul(x, reciprocal(sqrt(…))).
struct Scaled {
  Value *x = nullptr, *square = nullptr;
  double epsilon = 0;
  std::vector<Op*> ops;
};
std::optional<Scaled> scaled_by_root(Op& op, Value* x, Value* root) {
  Scaled s;
  s.x = x;
  if (op.kind == OpKind::mul) {
    Op* r = def_of(root, OpKind::reciprocal);
    if (!r) return std::nullopt;
    s.ops.push_back(r);
    root = r->operands[0];
  }
  Op* sqrt = def_of(root, OpKind::sqrt);
  Op* add = sqrt ? def_of(sqrt->operands[0], OpKind::add) : nullptr;
  auto n = add ? with_number(*add) : std::nullopt;
  if (!n || n->number < 0) return std::nullopt;
  s.ops.insert(s.ops.end(), {add, sqrt});
  s.square = n->other;
  s.epsilon = n->number;
  return s;
}

// mean(d²) over the last dims: d.
std::optional<Mean> mean_square_of(Value* v) {
  auto mean = mean_of(v);
  if (!mean || !mean->of->def) return std::nullopt;
  Op* square = mean->of->def;
  bool twice = (square->kind == OpKind::mul && square->operands[0] == square->operands[1]) ||
               (square->kind == OpKind::pow && is_uniform(square->operands[1], 2));
  if (!twice) return std::nullopt;
  return Mean{mean->op, square->operands[0], mean->axis};
}

// A scale of ones for the dims from `axis` on; null where they are not known.
Value* ones(Builder& b, const Type& x, int axis) {
  Shape dims(x.shape.begin() + axis, x.shape.end());
  if (!is_static(dims)) return nullptr;
  return b.splat(x.dtype, static_dims(dims), 1);
}

bool replace_by_norm(Op& op, Value* x, const Scaled& s, const Mean& square, OpKind kind, std::vector<Op*> from) {
  from.insert(from.end(), {square.op->operands[0]->def, square.op});
  from.insert(from.end(), s.ops.begin(), s.ops.end());
  Builder b = build_before(op, from);
  Value* scale = ones(b, x->type, square.axis);
  if (!scale) return false;
  LayerNormAttrs a;
  a.axis = square.axis - x->type.rank();
  a.epsilon = s.epsilon;
  Value* y = try_build(b, kind, {x, scale}, attrs_of(a));
  return y && replace_op(op, y);
}

bool raise_core(Op& op, int which) {
  auto s = scaled_by_root(op, op.operands[which], op.operands[1 - which]);
  auto square = s ? mean_square_of(s->square) : std::nullopt;
  if (!square || square->of != s->x) return false;
  if (Op* centred = def_of(s->x, OpKind::sub)) {
    auto mean = mean_of(centred->operands[1]);
    if (mean && mean->of == centred->operands[0] && mean->axis == square->axis)
      return replace_by_norm(op, mean->of, *s, *square, OpKind::layer_normalization, {mean->op, centred});
  }
  return replace_by_norm(op, s->x, *s, *square, OpKind::rms_normalization, {});
}

// v lies on the normalised dims alone, so that it can be a scale or a bias.
bool lies_on_normalised(const Value* v, const Op& norm) {
  const Type &x = norm.operands[0]->type, &scale = norm.operands[1]->type;
  int dims = -static_cast<int>(norm.attr<LayerNormAttrs>().axis);
  if (norm.attr<LayerNormAttrs>().axis >= 0) dims = x.rank() - static_cast<int>(norm.attr<LayerNormAttrs>().axis);
  return v->type.is_ranked() && v->type.dtype == scale.dtype && v->type.rank() == dims && v->type.shape == scale.shape;
}

bool absorb(Op& op, int which) {
  Value* v = op.operands[which];
  Op* norm = v->def && (v->def->kind == OpKind::layer_normalization || v->def->kind == OpKind::rms_normalization) ? v->def : nullptr;
  Value* other = op.operands[1 - which];
  if (!norm || norm->num_results() != 1 || norm->operand(2) || !has_one_use(v) || !lies_on_normalised(other, *norm)) return false;
  std::vector<Value*> operands = norm->operands;
  operands.resize(2);
  if (op.kind == OpKind::mul) {
    if (!is_uniform(operands[1], 1)) return false;
    operands[1] = other;
  } else {
    if (norm->kind != OpKind::layer_normalization) return false;
    operands.push_back(other);
  }
  Builder b = build_before(op, {norm});
  Value* y = try_build(b, norm->kind, operands, norm->attrs->clone());
  return y && replace_op(op, y);
}

bool raise_norm(Op& op) {
  if (op.results.size() != 1 || !is_float(op.result()->type.dtype) || !op.result()->type.is_ranked()) return false;
  if (op.kind == OpKind::div) return raise_core(op, 0);
  if (op.kind == OpKind::mul) return raise_core(op, 0) || raise_core(op, 1) || absorb(op, 0) || absorb(op, 1);
  return op.kind == OpKind::add && (absorb(op, 0) || absorb(op, 1));
}

}  // namespace

Result<bool> pass_raise_norm(Module& m, PassContext&) { return rewrite_ops(m, raise_norm); }

}  // namespace weft
