// Reductions. Floats accumulate in f64 and round once; integers wrap. An empty set gives the identity (max: -inf or the
// type's minimum; mean: NaN, 0 for integers). Means and roots of integers truncate. max and min propagate NaN.
#include "ir/ops/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/ops/common.h"
#include "ir/ops/move.h"
#include "ir/ops/sharding.h"

namespace weft {

Reduction reduction_of(OpKind k) {
  switch (k) {
    case OpKind::reduce_sum: return Reduction::sum;
    case OpKind::reduce_mean: return Reduction::mean;
    case OpKind::reduce_max: return Reduction::max;
    case OpKind::reduce_min: return Reduction::min;
    case OpKind::reduce_prod: return Reduction::prod;
    case OpKind::reduce_l1: return Reduction::l1;
    case OpKind::reduce_l2: return Reduction::l2;
    case OpKind::reduce_log_sum: return Reduction::log_sum;
    case OpKind::reduce_log_sum_exp: return Reduction::log_sum_exp;
    case OpKind::reduce_sum_square: return Reduction::sum_square;
    default: UNREACHABLE();
  }
}

static Result<std::vector<int>> axes_from(const ReduceAttrs& a, std::vector<int64_t> axes, int rank) {
  return normalize_axes(std::move(axes), rank, !a.noop_with_empty_axes);
}

Result<std::vector<int>> reduced_axes(const Op& op) {
  int rank = type_of(op, 0).rank();
  if (op.kind == OpKind::arg_max || op.kind == OpKind::arg_min) {
    TRY_ASSIGN(int axis, normalize_axis(op.attr<ArgReduceAttrs>().axis, rank));
    return std::vector<int>{axis};
  }
  const ReduceAttrs& a = op.attr<ReduceAttrs>();
  if (!has_operand(op, 1)) return axes_from(a, {}, rank);
  auto axes = const_ints(op.operands[1]);
  if (!axes) return unsupported("a reduction whose axes are not constant");
  return axes_from(a, *axes, rank);
}

// --- infer ------------------------------------------------------------------------------------------------------

static Shape reduced_shape(const Shape& x, const std::vector<int>& axes, bool keepdims) {
  Shape out;
  for (size_t d = 0; d < x.size(); ++d) {
    bool reduced = std::find(axes.begin(), axes.end(), static_cast<int>(d)) != axes.end();
    if (!reduced) out.push_back(x[d]);
    else if (keepdims) out.push_back(1);
  }
  return out;
}

// A reduction of a known vector of integers to one number.
static std::optional<Dim> known_reduction(Reduction r, const std::vector<Dim>& v) {
  if (v.empty() && r != Reduction::sum && r != Reduction::prod) return std::nullopt;
  Dim acc = r == Reduction::prod ? Dim(1) : r == Reduction::sum ? Dim(0) : v[0];
  for (const Dim& d : v) {
    switch (r) {
      case Reduction::sum: acc += d; break;
      case Reduction::prod: acc *= d; break;
      case Reduction::max: acc = max(acc, d); break;
      case Reduction::min: acc = min(acc, d); break;
      default: return std::nullopt;
    }
  }
  if (acc.is_overflow()) return std::nullopt;
  return acc;
}

// Axes that only the data know: with keepdims each dim is itself or 1, without them the rank drops by their number.
static Status infer_unknown_axes(Op& op, InferContext& cx) {
  const Type &x = type_of(op, 0), &axes = type_of(op, 1);
  const ReduceAttrs& a = op.attr<ReduceAttrs>();
  int rank = x.rank();
  // None at all means every axis, or nothing to do.
  if (axes.is_ranked() && numel(axes.shape).is(0)) {
    set_type(op, 0, Type::tensor(x.dtype, a.noop_with_empty_axes ? x.shape : Shape(static_cast<size_t>(a.keepdims ? rank : 0), Dim(1))));
    return {};
  }
  if (!a.keepdims) {
    bool counted = axes.is_ranked() && axes.rank() == 1 && axes.shape[0].is_const();
    if (!counted) {
      set_type(op, 0, Type::unranked(x.dtype));
      return {};
    }
    rank -= static_cast<int>(std::min<int64_t>(axes.shape[0].value(), rank));
  }
  Shape shape;
  for (int d = 0; d < rank; ++d) shape.push_back(cx.fresh());
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  return {};
}

static Status infer_reduce(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  Reduction r = reduction_of(op.kind);
  bool extreme = r == Reduction::max || r == Reduction::min;
  if (!is_float(x.dtype) && !is_int(x.dtype) && !(extreme && x.dtype == DType::b1))
    return invalid(std::string(op_name(op.kind)) + " does not take " + dtype_name(x.dtype));
  if (has_operand(op, 1) && (!type_of(op, 1).is_tensor() || !is_int(type_of(op, 1).dtype))) return invalid("axes must be integers");
  if (has_operand(op, 1) && !const_ints(op.operands[1])) return infer_unknown_axes(op, cx);
  TRY_ASSIGN(std::vector<int> axes, reduced_axes(op));
  set_type(op, 0, Type::tensor(x.dtype, reduced_shape(x.shape, axes, op.attr<ReduceAttrs>().keepdims)));
  const std::vector<Dim>* known = known_of(op.operands[0]);
  if (!known || x.rank() > 1) return {};
  if (axes.empty()) {
    if (r == Reduction::sum || r == Reduction::prod || extreme || r == Reduction::mean) set_known(op, 0, *known);
  } else if (auto k = known_reduction(r, *known)) {
    set_known(op, 0, {*k});
  }
  return {};
}

// --- eval -------------------------------------------------------------------------------------------------------

// f(accumulator offset, step, row of n elements): every innermost row of x with the offset of its first element in the
// reduced tensor; step is 0 when the row falls into one accumulator, else 1.
template <class T, class F>
static void for_each_row(const Tensor& x, const std::vector<int>& axes, F f) {
  std::vector<int64_t> dims = x.dims.empty() ? std::vector<int64_t>{1} : x.dims;
  std::vector<int64_t> kept = dims;
  for (int a : axes) kept[a] = 1;
  std::vector<int64_t> strides = broadcast_strides(kept, dims);
  int64_t n = dims.back(), rows = 1;
  for (size_t d = 0; d + 1 < dims.size(); ++d) rows *= dims[d];
  std::vector<int64_t> outer(dims.begin(), dims.end() - 1), index(outer.size());
  std::vector<T> row(n);
  for (int64_t r = 0; r < rows && n > 0; ++r, next_index(index, outer)) {
    int64_t offset = 0;
    for (size_t d = 0; d < outer.size(); ++d) offset += index[d] * strides[d];
    load_row(x, r * n, row.data(), n);
    f(offset, strides.back(), row);
  }
}

// Integer sums and products wrap: computed as unsigned.
template <class T>
static T wrapping_add(T a, T b) {
  if constexpr (std::is_same_v<T, double>) return a + b;
  else return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
template <class T>
static T wrapping_mul(T a, T b) {
  if constexpr (std::is_same_v<T, double>) return a * b;
  else return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
template <class T>
static T magnitude(T a) {
  if constexpr (std::is_same_v<T, uint64_t>) return a;
  else if constexpr (std::is_same_v<T, double>) return std::fabs(a);
  else return a < 0 ? static_cast<T>(0 - static_cast<uint64_t>(a)) : a;
}
template <class T>
static T extreme_of(T a, T b, bool largest) {
  if constexpr (std::is_same_v<T, double>)
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<double>::quiet_NaN();
  return largest ? std::max(a, b) : std::min(a, b);
}

template <class T>
static T accumulate(Reduction r, T acc, T x) {
  switch (r) {
    case Reduction::sum: case Reduction::mean: case Reduction::log_sum: return wrapping_add(acc, x);
    case Reduction::max: return extreme_of(acc, x, true);
    case Reduction::min: return extreme_of(acc, x, false);
    case Reduction::prod: return wrapping_mul(acc, x);
    case Reduction::l1: return wrapping_add(acc, magnitude(x));
    case Reduction::l2: case Reduction::sum_square: return wrapping_add(acc, wrapping_mul(x, x));
    case Reduction::log_sum_exp: UNREACHABLE();
  }
  UNREACHABLE();
}
template <class T>
static T initial(Reduction r, DType t) {
  if (r == Reduction::prod) return 1;
  if (r != Reduction::max && r != Reduction::min) return 0;
  bool largest = r == Reduction::max;
  if constexpr (std::is_same_v<T, double>) return largest ? -INFINITY : INFINITY;
  if (std::is_same_v<T, uint64_t> && t == DType::u64) return largest ? 0 : static_cast<T>(UINT64_MAX);
  return static_cast<T>(largest ? int_min(t) : int_max(t));
}
template <class T>
static T finish(Reduction r, T acc, int64_t count) {
  switch (r) {
    case Reduction::mean:
      if constexpr (std::is_same_v<T, double>) return acc / static_cast<double>(count);
      else return count ? acc / static_cast<T>(count) : 0;
    case Reduction::l2:
      if constexpr (std::is_same_v<T, double>) return std::sqrt(acc);
      else return acc > 0 ? static_cast<T>(std::sqrt(static_cast<double>(acc))) : 0;  // a wrapped sum may be negative
    case Reduction::log_sum:
      if constexpr (std::is_same_v<T, double>) return std::log(acc);
      else return acc > 0 ? static_cast<T>(std::log(static_cast<double>(acc))) : 0;
    default: return acc;
  }
}

template <class T>
static std::vector<T> reduce_all(Reduction r, const Tensor& x, const std::vector<int>& axes, int64_t size) {
  std::vector<T> acc(size, initial<T>(r, x.dtype));
  for_each_row<T>(x, axes, [&](int64_t offset, int64_t step, const std::vector<T>& row) {
    for (size_t k = 0; k < row.size(); ++k) {
      T& a = acc[offset + static_cast<int64_t>(k) * step];
      a = accumulate(r, a, row[k]);
    }
  });
  int64_t count = 1;
  for (int a : axes) count *= x.dims[a];
  for (T& a : acc) a = finish(r, a, count);
  return acc;
}

// log(sum(exp(x))) without overflow: relative to the maximum, which itself is the result when infinite.
static std::vector<double> log_sum_exp(const Tensor& x, const std::vector<int>& axes, int64_t size) {
  std::vector<double> top(size, -INFINITY), sum(size, 0.0);
  auto each = [&](auto f) {
    for_each_row<double>(x, axes, [&](int64_t offset, int64_t step, const std::vector<double>& row) {
      for (size_t k = 0; k < row.size(); ++k) f(offset + static_cast<int64_t>(k) * step, row[k]);
    });
  };
  each([&](int64_t o, double v) { top[o] = extreme_of(top[o], v, true); });
  each([&](int64_t o, double v) { sum[o] += std::exp(v - top[o]); });
  for (int64_t o = 0; o < size; ++o)
    if (!std::isinf(top[o])) top[o] += std::log(sum[o]);
  return top;
}

static Result<std::vector<HostValue>> eval_reduce(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const ReduceAttrs& a = call.attr<ReduceAttrs>();
  TRY_ASSIGN(std::vector<int> axes, axes_from(a, call.has(1) ? load_all<int64_t>(call.tensor(1)) : std::vector<int64_t>{}, x.rank()));
  std::vector<int64_t> dims = static_dims(reduced_shape(to_shape(x.dims), axes, a.keepdims));
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, dims));
  Reduction r = reduction_of(call.op.kind);
  if (r == Reduction::log_sum_exp) {
    std::vector<double> v = log_sum_exp(x, axes, y.numel());
    if (is_float(x.dtype)) {
      store_row(y, 0, v.data(), y.numel());
    } else {
      std::vector<int64_t> i;
      for (double d : v) i.push_back(std::isfinite(d) ? static_cast<int64_t>(d) : int_min(x.dtype));
      store_row(y, 0, i.data(), y.numel());
    }
    return one(std::move(y));
  }
  with_carrier(x.dtype, [&](auto t) {
    using T = decltype(t);
    if constexpr (!std::is_same_v<T, std::complex<double>>) {
      std::vector<T> v = reduce_all<T>(r, x, axes, y.numel());
      store_row(y, 0, v.data(), y.numel());
    }
  });
  return one(std::move(y));
}

// --- arg_max, arg_min -------------------------------------------------------------------------------------------

static Status infer_arg(Op& op, InferContext&) {
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  if (!is_float(x.dtype) && !is_int(x.dtype)) return invalid(std::string(op_name(op.kind)) + " does not take " + dtype_name(x.dtype));
  TRY_ASSIGN(std::vector<int> axes, reduced_axes(op));
  set_type(op, 0, Type::tensor(DType::i64, reduced_shape(x.shape, axes, op.attr<ArgReduceAttrs>().keepdims)));
  return {};
}

// Whether x takes the place of `best`.
template <class T>
static bool is_better(T x, T best, bool largest, bool last) {
  if constexpr (std::is_same_v<T, double>) {
    if (std::isnan(best)) return last && std::isnan(x);
    if (std::isnan(x)) return true;
  }
  return (largest ? x > best : x < best) || (last && x == best);
}

static Result<std::vector<HostValue>> eval_arg(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const ArgReduceAttrs& a = call.attr<ArgReduceAttrs>();
  TRY_ASSIGN(int axis, normalize_axis(a.axis, x.rank()));
  TRY_ASSIGN(Tensor y, Tensor::make(DType::i64, static_dims(reduced_shape(to_shape(x.dims), {axis}, a.keepdims))));
  int64_t inner = 1, n = x.dims[axis];
  for (int d = axis + 1; d < x.rank(); ++d) inner *= x.dims[d];
  if (n == 0 && y.numel() > 0) return invalid(std::string(op_name(call.op.kind)) + " of an empty axis");
  bool largest = call.op.kind == OpKind::arg_max;
  std::vector<int64_t> index(y.numel());
  with_carrier(x.dtype, [&](auto t) {
    using T = decltype(t);
    if constexpr (!std::is_same_v<T, std::complex<double>>) {
      std::vector<T> best(inner), row(inner);
      for (int64_t o = 0; o < y.numel() / std::max<int64_t>(inner, 1); ++o) {
        load_row(x, o * n * inner, best.data(), inner);
        for (int64_t k = 1; k < n; ++k) {
          load_row(x, (o * n + k) * inner, row.data(), inner);
          for (int64_t j = 0; j < inner; ++j) {
            if (!is_better(row[j], best[j], largest, a.select_last_index)) continue;
            best[j] = row[j];
            index[o * inner + j] = k;
          }
        }
      }
    }
  });
  store_row(y, 0, index.data(), y.numel());
  return one(std::move(y));
}

// --- definitions ------------------------------------------------------------------------------------------------

// One operation per input element, two where each is squared, ten where each goes through exp.
static Cost cost_reduce(const Op& op) {
  Cost c;
  const Type &x = type_of(op, 0), &y = op.result()->type;
  if (!x.is_ranked() || !y.is_ranked()) return c;
  int64_t each = op.kind == OpKind::reduce_log_sum_exp ? 10 : op.kind == OpKind::reduce_l2 || op.kind == OpKind::reduce_sum_square ? 2 : 1;
  c.flops = numel(x.shape) * Dim(each);
  c.bytes = numel(x.shape) * Dim(byte_size(x.dtype)) + numel(y.shape) * Dim(byte_size(y.dtype));
  return c;
}
// --- sharing out ------------------------------------------------------------------------------------------------

// How ranks' reductions of parts become that of all; nullopt: not at all.
static std::optional<ShardingRule::Role> joining(Reduction r, DType t) {
  using Role = ShardingRule::Role;
  switch (r) {
    case Reduction::sum: case Reduction::l1: case Reduction::sum_square: return Role::sum;
    case Reduction::max: return t == DType::b1 ? std::nullopt : std::optional(Role::max);
    case Reduction::min: return t == DType::b1 ? std::nullopt : std::optional(Role::min);
    case Reduction::prod: return Role::prod;
    case Reduction::mean: return is_float(t) ? std::optional(Role::sum) : std::nullopt;
    case Reduction::l2: case Reduction::log_sum: case Reduction::log_sum_exp: return is_float(t) ? std::optional(Role::joined) : std::nullopt;
  }
  UNREACHABLE();
}
// Dims that stay, and those that are reduced.
static Result<ShardingRule> shard_reduction(const Op& op) {
  TRY_ASSIGN(std::vector<int> axes, reduced_axes(op));
  bool arg = op.kind == OpKind::arg_max || op.kind == OpKind::arg_min;
  bool keep = arg ? op.attr<ArgReduceAttrs>().keepdims : op.attr<ReduceAttrs>().keepdims;
  auto role = arg ? ShardingRule::Role::joined : joining(reduction_of(op.kind), type_of(op, 0).dtype);
  Dim exchanged = role == ShardingRule::Role::joined ? numel(op.result()->type.shape) * Dim(2) : Dim(0);
  ShardingRule rule(op);
  int out = 0;
  for (int d = 0; d < type_of(op, 0).rank(); ++d) {
    if (std::find(axes.begin(), axes.end(), d) == axes.end()) {
      rule.share(op, {{0, d}, {ShardingRule::kResult, out++}});
      continue;
    }
    if (role) rule.share(op, {{0, d}}, *role, exchanged);
    out += keep;
  }
  return rule;
}
// The axes of the mesh that cut what is reduced.
static std::vector<std::string> joining_axes(const LocalOp& op) {
  std::vector<std::string> out;
  for (const FactorPart& p : op.parts)
    if (p.role == ShardingRule::Role::joined) out.insert(out.end(), p.axes.begin(), p.axes.end());
  return out;
}
static Result<std::vector<Value*>> localize_reduction(LocalOp& op) {
  std::vector<std::string> ranks = joining_axes(op);
  if (ranks.empty()) {
    TRY_ASSIGN(std::vector<Value*> out, op.build());
    if (op.whole.kind == OpKind::reduce_mean) out[0] = op.part_of_mean(out[0]);
    return out;
  }
  TRY_ASSIGN(std::vector<int> axes, reduced_axes(op.whole));
  const std::vector<int64_t> along(axes.begin(), axes.end());
  Value *x = op.wide(op.operands[0]), *y = nullptr;
  if (op.whole.kind == OpKind::reduce_l2) {
    y = op.b.op(OpKind::sqrt, {op.reduce(OpKind::reduce_sum_square, x, along, ranks, "sum")});
  } else if (op.whole.kind == OpKind::reduce_log_sum) {
    y = op.b.op(OpKind::log, {op.reduce(OpKind::reduce_sum, x, along, ranks, "sum")});
  } else {
    // Relative to the maximum, unless it is infinite.
    Value* top = op.reduce(OpKind::reduce_max, x, along, ranks, "max");
    top = op.b.op(OpKind::where, {op.b.op(OpKind::is_inf, {top}), op.b.scalar(x->type.dtype, 0), top});
    Value* sum = op.reduce(OpKind::reduce_sum, op.b.op(OpKind::exp, {op.b.op(OpKind::sub, {x, top})}), along, ranks, "sum");
    y = op.b.op(OpKind::add, {op.b.op(OpKind::log, {sum}), top});
  }
  return std::vector<Value*>{op.cast(y, op.whole.result()->type.dtype)};
}
// Each rank's best element and its index; of these the best one.
static Result<std::vector<Value*>> localize_arg(LocalOp& op) {
  TRY_ASSIGN(std::vector<int> axes, reduced_axes(op.whole));
  const int axis = axes[0];
  const FactorPart& part = op.parts[axis];
  if (part.count == 1) return op.build();
  ArgReduceAttrs arg = op.whole.attr<ArgReduceAttrs>();
  arg.keepdims = true;
  GatherAttrs pick;
  pick.axis = axis;
  const bool largest = op.whole.kind == OpKind::arg_max;
  Value* best = op.reduce(largest ? OpKind::reduce_max : OpKind::reduce_min, op.operands[0], {axis}, {}, "");
  Value* index = op.b.op(op.whole.kind, {op.operands[0]}, arg);
  index = op.b.op(OpKind::add, {index, op.number(part.first, DType::i64)});
  Value* rank = op.b.op(op.whole.kind, {op.all_gather(best, part.axes, axis)}, arg);
  return std::vector<Value*>{op.b.op(OpKind::gather_elements, {op.all_gather(index, part.axes, axis), rank}, pick)};
}
static OpDef reduction(const char* onnx) {
  return {.onnx = onnx, .family = Family::reduce, .min_operands = 1, .max_operands = 2, .attrs = make_attrs<ReduceAttrs>,
          .infer = infer_reduce, .eval = eval_reduce, .cost = cost_reduce, .shard = shard_reduction, .localize = localize_reduction};
}
OpDef def_reduce_sum() { return reduction("ReduceSum"); }
OpDef def_reduce_mean() { return reduction("ReduceMean"); }
OpDef def_reduce_max() { return reduction("ReduceMax"); }
OpDef def_reduce_min() { return reduction("ReduceMin"); }
OpDef def_reduce_prod() { return reduction("ReduceProd"); }
OpDef def_reduce_l1() { return reduction("ReduceL1"); }
OpDef def_reduce_l2() { return reduction("ReduceL2"); }
OpDef def_reduce_log_sum() { return reduction("ReduceLogSum"); }
OpDef def_reduce_log_sum_exp() { return reduction("ReduceLogSumExp"); }
OpDef def_reduce_sum_square() { return reduction("ReduceSumSquare"); }

static OpDef arg_reduction(const char* onnx) {
  return {.onnx = onnx, .family = Family::reduce, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<ArgReduceAttrs>,
          .infer = infer_arg, .eval = eval_arg, .cost = cost_reduce, .shard = shard_reduction, .localize = localize_arg};
}
OpDef def_arg_max() { return arg_reduction("ArgMax"); }
OpDef def_arg_min() { return arg_reduction("ArgMin"); }

}  // namespace weft
