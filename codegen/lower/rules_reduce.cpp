// Reductions along axes, arg_max/arg_min, softmax and log_softmax: stages over row axes.
#include <algorithm>

#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/ops/common.h"
#include "ir/ops/norm.h"
#include "ir/ops/reduce.h"

namespace weft {

DType wide_float(DType t) { return is_float(t) && t != DType::f64 ? DType::f32 : t; }

// The index of op's operand 0 that belongs to the result's idx: reduced axes get 0, to be replaced by row axes.
static Index spread(const Shape& dims, const std::vector<int>& axes, bool keepdims, const Index& idx) {
  Index out;
  size_t j = 0;
  for (size_t d = 0; d < dims.size(); ++d) {
    bool reduced = std::find(axes.begin(), axes.end(), static_cast<int>(d)) != axes.end();
    if (!reduced) out.push_back(idx[j++]);
    else {
      out.push_back(Dim(0));
      if (keepdims) ++j;
    }
  }
  return out;
}

static S count_of(SpecBuilder& r, const Shape& dims, const std::vector<int>& axes, DType t) {
  Dim n(1);
  for (int a : axes) n *= dims[a];
  return r.at(r.index_value(n)).cast(t);
}

static Result<int> reduce_rule(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* v = op.operands[0];
  TRY_ASSIGN(std::vector<int> axes, reduced_axes(op));
  Reduction kind = reduction_of(op.kind);
  DType in = v->type.dtype, t = wide_float(in);
  const Shape& dims = v->type.shape;
  Index base = spread(dims, axes, op.attr<ReduceAttrs>().keepdims, idx);
  bool fl = is_float(t);
  // Integer roots and logarithms are taken in f64.
  DType work = fl || kind == Reduction::sum || kind == Reduction::max || kind == Reduction::min ||
                       kind == Reduction::prod || kind == Reduction::mean || kind == Reduction::l1 ||
                       kind == Reduction::sum_square
                   ? t
                   : DType::f64;
  auto run = [&](const char* what, const SpecBuilder::Reduction& red, const std::function<S(S)>& map) -> Result<S> {
    auto body = [&](const Index& at) -> Result<std::vector<int>> {
      TRY_ASSIGN(int x, r.emit(v, at));
      return std::vector<int>{map(r.at(x).cast(work)).id};
    };
    if (axes.empty()) {
      TRY_ASSIGN(std::vector<int> x, body(base));
      return r.at(x[0]);
    }
    TRY_ASSIGN(std::vector<int> acc, r.reduce_along(SpecBuilder::key_of(op, what, base), dims, axes, base, red, body));
    return r.at(acc[0]);
  };
  auto same = [](S x) { return x; };
  auto finish = [&](S s) { return s.cast(op.result()->type.dtype).id; };
  auto sum = SpecBuilder::sum(work);
  switch (kind) {
    case Reduction::sum: {
      TRY_ASSIGN(S s, run("sum", sum, same));
      return finish(s);
    }
    case Reduction::mean: {
      TRY_ASSIGN(S s, run("sum", sum, same));
      return finish(s / count_of(r, dims, axes, work));
    }
    case Reduction::max: {
      TRY_ASSIGN(S s, run("max", SpecBuilder::maximum(work), same));
      return finish(s);
    }
    case Reduction::min: {
      TRY_ASSIGN(S s, run("min", SpecBuilder::minimum(work), same));
      return finish(s);
    }
    case Reduction::prod: {
      TRY_ASSIGN(S s, run("prod", SpecBuilder::product(work), same));
      return finish(s);
    }
    case Reduction::l1: {
      TRY_ASSIGN(S s, run("l1", sum, [](S x) { return x.un(Prim::abs); }));
      return finish(s);
    }
    case Reduction::l2: {
      TRY_ASSIGN(S s, run("squares", sum, [](S x) { return x * x; }));
      return finish(s.un(Prim::sqrt));
    }
    case Reduction::sum_square: {
      TRY_ASSIGN(S s, run("squares", sum, [](S x) { return x * x; }));
      return finish(s);
    }
    case Reduction::log_sum: {
      TRY_ASSIGN(S s, run("sum", sum, same));
      return finish(s.un(Prim::log));
    }
    case Reduction::log_sum_exp: {
      TRY_ASSIGN(S m, run("max", SpecBuilder::maximum(work), same));
      auto shift = [](S x) { return select(x.un(Prim::is_inf), x.lit(0), x); };
      TRY_ASSIGN(S s, run("sum exp", sum, [&](S x) {
        // The maximum as the stage of the sum sees it.
        auto mm = run("max", SpecBuilder::maximum(work), same);
        return (x - shift(mm.value())).un(Prim::exp);
      }));
      return finish(s.un(Prim::log) + shift(m));
    }
  }
  return r.refuse(op, "reduction");
}

#define REDUCE(name) \
  Result<int> rule_##name(SpecBuilder& r, const Op& op, int result, const Index& idx) { return reduce_rule(r, op, result, idx); }
REDUCE(reduce_sum) REDUCE(reduce_mean) REDUCE(reduce_max) REDUCE(reduce_min) REDUCE(reduce_prod)
REDUCE(reduce_l1) REDUCE(reduce_l2) REDUCE(reduce_log_sum) REDUCE(reduce_log_sum_exp) REDUCE(reduce_sum_square)
#undef REDUCE

SpecBuilder::Reduction arg_extreme(DType t, bool is_max, bool last_of_equals) {
  SpecBuilder::Reduction red = is_max ? SpecBuilder::maximum(t) : SpecBuilder::minimum(t);
  ScalarProgram c;
  S av{&c, c.input(0, t)}, ai{&c, c.input(1, DType::i64)}, bv{&c, c.input(2, t)}, bi{&c, c.input(3, DType::i64)};
  S better = is_max ? lt(av, bv) : lt(bv, av);
  S first = last_of_equals ? lt(ai, bi) : lt(bi, ai);
  S tie = eq(av, bv);
  if (is_float(t)) {
    S an = av.un(Prim::is_nan), bn = bv.un(Prim::is_nan);
    better = better.bin(Prim::bit_or, bn.bin(Prim::bit_and, an.un(Prim::bit_not)));
    tie = tie.bin(Prim::bit_or, an.bin(Prim::bit_and, bn));
  }
  // An index of -1 marks an accumulator that has seen nothing.
  S empty = lt(ai, ai.lit(0)), seen = le(bi.lit(0), bi);
  S take = seen.bin(Prim::bit_and, empty.bin(Prim::bit_or, better.bin(Prim::bit_or, tie.bin(Prim::bit_and, first))));
  c.outputs = {select(take, bv, av).id, select(take, bi, ai).id};
  red.combine = c;
  red.init.push_back(-1);
  return red;
}
// The stage of (extreme, its index) along an axis.
static Result<std::vector<int>> arg_stage(SpecBuilder& r, const Op& op, bool is_max, bool last, int axis, const Index& idx) {
  const Value* v = op.operands[0];
  DType t = wide_float(v->type.dtype);
  Index reduced = idx;
  reduced[axis] = Dim(0);
  return r.reduce_along(SpecBuilder::key_of(op, "arg", reduced), v->type.shape, {axis}, idx,
      arg_extreme(t, is_max, last), [&](const Index& row) -> Result<std::vector<int>> {
        TRY_ASSIGN(int x, r.emit(v, row));
        return std::vector<int>{r.at(x).cast(t).id, r.index_value(row[axis])};
      });
}
static Result<int> arg_rule(SpecBuilder& r, const Op& op, bool is_max, const Index& idx) {
  const ArgReduceAttrs& at = op.attr<ArgReduceAttrs>();
  TRY_ASSIGN(std::vector<int> axes, reduced_axes(op));
  TRY_ASSIGN(std::vector<int> acc, arg_stage(r, op, is_max, at.select_last_index, axes[0],
                                       spread(op.operands[0]->type.shape, axes, at.keepdims, idx)));
  return acc[1];
}
Result<int> rule_arg_max(SpecBuilder& r, const Op& op, int, const Index& idx) { return arg_rule(r, op, true, idx); }
Result<int> rule_arg_min(SpecBuilder& r, const Op& op, int, const Index& idx) { return arg_rule(r, op, false, idx); }

// 1 at the first maximum along the axis.
Result<int> rule_hardmax(SpecBuilder& r, const Op& op, int, const Index& idx) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<SoftmaxAttrs>().axis, op.operands[0]->type.rank()));
  TRY_ASSIGN(std::vector<int> acc, arg_stage(r, op, true, false, axis, idx));
  return eq(r.at(acc[1]), r.at(r.index_value(idx[axis]))).cast(op.result()->type.dtype).id;
}

// x - max and the sum of its exponentials along the axis.
static Result<int> softmax_rule(SpecBuilder& r, const Op& op, bool logarithm, const Index& idx) {
  const Value* v = op.operands[0];
  TRY_ASSIGN(int axis, normalize_axis(op.attr<SoftmaxAttrs>().axis, v->type.rank()));
  DType t = wide_float(v->type.dtype);
  Index base = idx;
  auto max_at = [&](const Index& at) -> Result<S> {
    TRY_ASSIGN(std::vector<int> m, r.reduce_along(SpecBuilder::key_of(op, "max", base), v->type.shape, {axis}, at,
                                       SpecBuilder::maximum(t), [&](const Index& row) -> Result<std::vector<int>> {
                                         TRY_ASSIGN(int x, r.emit(v, row));
                                         return std::vector<int>{r.at(x).cast(t).id};
                                       }));
    return r.at(m[0]);
  };
  auto shifted = [&](const Index& at) -> Result<S> {
    TRY_ASSIGN(S m, max_at(at));
    TRY_ASSIGN(int x, r.emit(v, at));
    return r.at(x).cast(t) - m;
  };
  TRY(max_at(idx));
  TRY_ASSIGN(std::vector<int> sum, r.reduce_along(SpecBuilder::key_of(op, "sum", base), v->type.shape, {axis}, idx,
                                       SpecBuilder::sum(t), [&](const Index& row) -> Result<std::vector<int>> {
                                         TRY_ASSIGN(S d, shifted(row));
                                         return std::vector<int>{d.un(Prim::exp).id};
                                       }));
  TRY_ASSIGN(S d, shifted(idx));
  S s = r.at(sum[0]);
  S y = logarithm ? d - s.un(Prim::log) : d.un(Prim::exp) * (1.0 / s);
  return y.cast(op.result()->type.dtype).id;
}
Result<int> rule_softmax(SpecBuilder& r, const Op& op, int, const Index& idx) { return softmax_rule(r, op, false, idx); }
Result<int> rule_log_softmax(SpecBuilder& r, const Op& op, int, const Index& idx) { return softmax_rule(r, op, true, idx); }

}  // namespace weft
