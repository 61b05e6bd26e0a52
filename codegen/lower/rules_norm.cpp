// Normalisations: statistics as stages over the normalised axes, then one map.
#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/ops/common.h"
#include "ir/ops/norm.h"

namespace weft {

namespace {
struct Stats {
  S mean, inv_std;
};
struct Norm {
  SpecBuilder& r;
  const Op& op;
  const Shape dims;
  std::vector<int> axes;
  DType t;
  std::function<Result<S>(const Index&)> x;  // the element to normalise, in type t

  S count() {
    Dim n(1);
    for (int a : axes) n *= dims[a];
    return r.at(r.index_value(n)).cast(t);
  }
  Result<S> total(const char* what, const Index& idx, const std::function<Result<S>(const Index&)>& f) {
    TRY_ASSIGN(std::vector<int> acc, r.reduce_along(SpecBuilder::key_of(op, what, reduced(idx)), dims, axes, idx,
                                         SpecBuilder::sum(t), [&](const Index& at) -> Result<std::vector<int>> {
                                           TRY_ASSIGN(S v, f(at));
                                           return std::vector<int>{v.id};
                                         }));
    return r.at(acc[0]);
  }
  Index reduced(Index idx) const {
    for (int a : axes) idx[a] = Dim(0);
    return idx;
  }
  Result<S> mean(const Index& idx) {
    TRY_ASSIGN(S s, total("sum", idx, x));
    return s / count();
  }
  Result<Stats> stats(const Index& idx, double epsilon) {
    TRY_ASSIGN(S m, mean(idx));
    TRY_ASSIGN(S sq, total("squares", idx, [&](const Index& at) -> Result<S> {
      TRY_ASSIGN(S mm, mean(at));
      TRY_ASSIGN(S v, x(at));
      S d = v - mm;
      return d * d;
    }));
    return Stats{m, 1.0 / (sq / count() + epsilon).un(Prim::sqrt)};
  }
  Result<S> inv_rms(const Index& idx, double epsilon) {
    TRY_ASSIGN(S sq, total("squares", idx, [&](const Index& at) -> Result<S> {
      TRY_ASSIGN(S v, x(at));
      return v * v;
    }));
    return 1.0 / (sq / count() + epsilon).un(Prim::sqrt);
  }
};

std::vector<int> from_axis(int axis, int rank) {
  std::vector<int> a;
  for (int k = axis; k < rank; ++k) a.push_back(k);
  return a;
}
Result<S> param(SpecBuilder& r, const Value* v, const Shape& dims, const Index& idx, DType t) {
  TRY_ASSIGN(int id, r.emit(v, broadcast_index(v->type.shape, dims, idx)));
  return r.at(id).cast(t);
}
}  // namespace

static std::function<Result<S>(const Index&)> operand_in(SpecBuilder& r, const Value* v, DType t) {
  return [&r, v, t](const Index& at) -> Result<S> {
    TRY_ASSIGN(int id, r.emit(v, at));
    return r.at(id).cast(t);
  };
}

Result<int> rule_layer_normalization(SpecBuilder& r, const Op& op, int result, const Index& idx) {
  const Value* v = op.operands[0];
  const LayerNormAttrs& at = op.attr<LayerNormAttrs>();
  TRY_ASSIGN(int axis, normalize_axis(at.axis, v->type.rank()));
  DType t = wide_float(v->type.dtype);
  Norm n{r, op, v->type.shape, from_axis(axis, v->type.rank()), t, operand_in(r, v, t)};
  TRY_ASSIGN(Stats s, n.stats(idx, at.epsilon));
  if (result > 0) return (result == 1 ? s.mean : s.inv_std).cast(op.result(result)->type.dtype).id;
  TRY_ASSIGN(S x, n.x(idx));
  TRY_ASSIGN(S scale, param(r, op.operands[1], n.dims, idx, t));
  S y = (x - s.mean) * s.inv_std * scale;
  if (op.operand(2)) {
    TRY_ASSIGN(S bias, param(r, op.operands[2], n.dims, idx, t));
    y = y + bias;
  }
  return y.cast(op.result()->type.dtype).id;
}

Result<int> rule_rms_normalization(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* v = op.operands[0];
  const LayerNormAttrs& at = op.attr<LayerNormAttrs>();
  TRY_ASSIGN(int axis, normalize_axis(at.axis, v->type.rank()));
  DType t = wide_float(v->type.dtype);
  Norm n{r, op, v->type.shape, from_axis(axis, v->type.rank()), t, operand_in(r, v, t)};
  TRY_ASSIGN(S inv, n.inv_rms(idx, at.epsilon));
  TRY_ASSIGN(S x, n.x(idx));
  TRY_ASSIGN(S scale, param(r, op.operands[1], n.dims, idx, t));
  return (x * inv * scale).cast(op.result()->type.dtype).id;
}

Result<int> rule_skip_layer_normalization(SpecBuilder& r, const Op& op, int result, const Index& idx) {
  const Value* v = op.operands[0];
  const SkipLayerNormAttrs& at = op.attr<SkipLayerNormAttrs>();
  DType t = wide_float(v->type.dtype);
  int rank = v->type.rank();
  auto sum = [&](const Index& i) -> Result<S> {
    TRY_ASSIGN(S x, param(r, v, v->type.shape, i, t));
    TRY_ASSIGN(S y, param(r, op.operands[1], v->type.shape, i, t));
    S s = x + y;
    if (op.operand(4)) {
      TRY_ASSIGN(S b, param(r, op.operands[4], v->type.shape, i, t));
      s = s + b;
    }
    return s;
  };
  if (result == 3) {
    TRY_ASSIGN(S s, sum(idx));
    return s.cast(op.result(3)->type.dtype).id;
  }
  Norm n{r, op, v->type.shape, {rank - 1}, t, sum};
  S centred{nullptr, -1}, inv{nullptr, -1};
  if (at.simplified) {
    TRY_ASSIGN(inv, n.inv_rms(idx, at.epsilon));
    if (result == 2) return inv.cast(op.result(2)->type.dtype).id;
    if (result == 1) return r.refuse(op, "a mean of the simplified form");
    TRY_ASSIGN(centred, n.x(idx));
  } else {
    TRY_ASSIGN(Stats s, n.stats(idx, at.epsilon));
    inv = s.inv_std;
    if (result > 0) return (result == 1 ? s.mean : inv).cast(op.result(result)->type.dtype).id;
    TRY_ASSIGN(S x, n.x(idx));
    centred = x - s.mean;
  }
  TRY_ASSIGN(S gamma, param(r, op.operands[2], n.dims, idx, t));
  S y = centred * inv * gamma;
  if (op.operand(3)) {
    TRY_ASSIGN(S beta, param(r, op.operands[3], n.dims, idx, t));
    y = y + beta;
  }
  return y.cast(op.result()->type.dtype).id;
}

// Per channel (axis 1): parameter vectors are indexed by it.
Result<int> rule_batch_normalization(SpecBuilder& r, const Op& op, int result, const Index& idx) {
  const BatchNormAttrs& at = op.attr<BatchNormAttrs>();
  const Value* v = op.operands[0];
  if (at.training_mode || result > 0) return r.refuse(op, "batch_normalization in training mode");
  DType t = wide_float(v->type.dtype);
  S p[5] = {{nullptr, -1}, {nullptr, -1}, {nullptr, -1}, {nullptr, -1}, {nullptr, -1}};
  Index channel = {idx.size() > 1 ? idx[1] : Dim(0)};
  for (int k = 0; k < 5; ++k) {
    TRY_ASSIGN(int id, r.emit(op.operands[k], k == 0 ? idx : channel));
    p[k] = r.at(id).cast(t);
  }
  S inv = 1.0 / (p[4] + at.epsilon).un(Prim::sqrt);
  return ((p[0] - p[3]) * (inv * p[1]) + p[2]).cast(op.result()->type.dtype).id;
}

Result<int> rule_instance_normalization(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* v = op.operands[0];
  DType t = wide_float(v->type.dtype);
  Norm n{r, op, v->type.shape, from_axis(2, v->type.rank()), t, operand_in(r, v, t)};
  TRY_ASSIGN(Stats s, n.stats(idx, op.attr<InstanceNormAttrs>().epsilon));
  TRY_ASSIGN(S x, n.x(idx));
  TRY_ASSIGN(int scale, r.emit(op.operands[1], {idx[1]}));
  TRY_ASSIGN(int bias, r.emit(op.operands[2], {idx[1]}));
  return ((x - s.mean) * s.inv_std * r.at(scale).cast(t) + r.at(bias).cast(t)).cast(op.result()->type.dtype).id;
}

// sum of squares over neighbouring channels, then a power.
Result<int> rule_lrn(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const LrnAttrs& at = op.attr<LrnAttrs>();
  const Value* v = op.operands[0];
  DType t = wide_float(v->type.dtype);
  TRY_ASSIGN(std::vector<int> acc, r.reduce(SpecBuilder::key_of(op, "squares", idx), {Dim(at.size)},
                                       SpecBuilder::sum(t), [&](const Index& row) -> Result<std::vector<int>> {
                                         Index at_c = idx;
                                         at_c[1] = idx[1] + row[0] - Dim((at.size - 1) / 2);
                                         SpecGuard g{at_c[1], Dim(0), v->type.shape[1]};
                                         TRY_ASSIGN(
                                             int x, r.guarded({g}, 0, v->type.dtype, [&] { return r.emit(v, at_c); }));
                                         S s = r.at(x).cast(t);
                                         return std::vector<int>{(s * s).id};
                                       }));
  TRY_ASSIGN(int x, r.emit(v, idx));
  S base = r.at(acc[0]) * (at.alpha / static_cast<double>(at.size)) + at.bias;
  return (r.at(x).cast(t) / base.bin(Prim::pow, base.lit(at.beta))).cast(op.result()->type.dtype).id;
}

Result<int> rule_lp_normalization(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const LpNormAttrs& at = op.attr<LpNormAttrs>();
  const Value* v = op.operands[0];
  TRY_ASSIGN(int axis, normalize_axis(at.axis, v->type.rank()));
  DType t = wide_float(v->type.dtype);
  Norm n{r, op, v->type.shape, {axis}, t, operand_in(r, v, t)};
  TRY_ASSIGN(S total, n.total("norm", idx, [&](const Index& i) -> Result<S> {
    TRY_ASSIGN(S x, n.x(i));
    return at.p == 1 ? x.un(Prim::abs) : x * x;
  }));
  TRY_ASSIGN(S x, n.x(idx));
  S norm = at.p == 1 ? total : total.un(Prim::sqrt);
  return select(eq(norm, norm.lit(0)), x.lit(0), x / norm).cast(op.result()->type.dtype).id;
}

}  // namespace weft
