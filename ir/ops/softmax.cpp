// Ops along one axis of their input: softmax, log_softmax, hardmax, lp_normalization. A row of only -inf gives NaN, as
// the formula does. An empty axis gives an empty result.
#include <algorithm>
#include <cmath>

#include "ir/ops/common.h"
#include "ir/ops/norm.h"
#include "ir/ops/sharding.h"

namespace weft {

Cost norm_cost(const Op& op, int64_t per_element) {
  Cost c;
  auto bytes = [](const Value* v) { return v && v->type.is_ranked() ? numel(v->type.shape) * Dim(byte_size(v->type.dtype)) : Dim(0); };
  for (const Value* v : op.operands) c.bytes += bytes(v);
  for (const auto& r : op.results) c.bytes += bytes(r.get());
  if (type_of(op, 0).is_ranked()) c.flops = numel(type_of(op, 0).shape) * Dim(per_element);
  return c;
}

Status need_float_input(const Op& op, int min_rank) {
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  if (!is_float(x.dtype)) return invalid(std::string(op_name(op.kind)) + " does not take " + dtype_name(x.dtype));
  if (x.rank() < min_rank)
    return invalid(
        std::string(op_name(op.kind)) + " takes at least " + std::to_string(min_rank) + " dims, got " + x.to_string());
  return {};
}

// Applies f to every line of x along `axis`: f(line) rewrites it in place.
template <class F>
static Result<std::vector<HostValue>> along_axis(EvalCall& call, int64_t axis_attr, F f) {
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(int axis, normalize_axis(axis_attr, x.rank()));
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, x.dims));
  int64_t n = x.dims[axis], inner = 1;
  for (int d = axis + 1; d < x.rank(); ++d) inner *= x.dims[d];
  if (x.numel() == 0) return one(std::move(y));
  std::vector<double> block(n * inner), line(n);
  for (int64_t o = 0; o < x.numel() / (n * inner); ++o) {
    load_row(x, o * n * inner, block.data(), n * inner);
    for (int64_t j = 0; j < inner; ++j) {
      for (int64_t k = 0; k < n; ++k) line[k] = block[k * inner + j];
      f(line);
      for (int64_t k = 0; k < n; ++k) block[k * inner + j] = line[k];
    }
    store_row(y, o * n * inner, block.data(), n * inner);
  }
  return one(std::move(y));
}

static double max_of(const std::vector<double>& v) {
  double m = v[0];
  for (double x : v) {
    if (std::isnan(x)) return x;
    m = std::max(m, x);
  }
  return m;
}

static Result<std::vector<HostValue>> eval_softmax(EvalCall& call) {
  return along_axis(call, call.attr<SoftmaxAttrs>().axis, [](std::vector<double>& v) {
    double top = max_of(v), sum = 0;
    for (double& x : v) sum += x = std::exp(x - top);
    for (double& x : v) x /= sum;
  });
}
static Result<std::vector<HostValue>> eval_log_softmax(EvalCall& call) {
  return along_axis(call, call.attr<SoftmaxAttrs>().axis, [](std::vector<double>& v) {
    double top = max_of(v), sum = 0;
    for (double x : v) sum += std::exp(x - top);
    for (double& x : v) x = x - top - std::log(sum);
  });
}
// One at the first maximum, where a NaN counts as the maximum.
static Result<std::vector<HostValue>> eval_hardmax(EvalCall& call) {
  return along_axis(call, call.attr<SoftmaxAttrs>().axis, [](std::vector<double>& v) {
    double top = max_of(v);
    size_t at = 0;
    while (!(v[at] == top || std::isnan(v[at]))) ++at;
    std::fill(v.begin(), v.end(), 0.0);
    v[at] = 1;
  });
}
static Result<std::vector<HostValue>> eval_lp(EvalCall& call) {
  bool l1 = call.attr<LpNormAttrs>().p == 1;
  return along_axis(call, call.attr<LpNormAttrs>().axis, [l1](std::vector<double>& v) {
    double norm = 0;
    for (double x : v) norm += l1 ? std::fabs(x) : x * x;
    if (!l1) norm = std::sqrt(norm);
    for (double& x : v) x = norm == 0 ? 0 : x / norm;
  });
}

static Status infer_softmax(Op& op, InferContext& cx) {
  TRY(need_float_input(op, 1));
  TRY(normalize_axis(op.attr<SoftmaxAttrs>().axis, type_of(op, 0).rank()));
  return infer_same(op, cx);
}
static Status infer_lp(Op& op, InferContext& cx) {
  TRY(need_float_input(op, 1));
  const LpNormAttrs& a = op.attr<LpNormAttrs>();
  if (a.p != 1 && a.p != 2) return invalid("lp_normalization's p must be 1 or 2, is " + std::to_string(a.p));
  TRY(normalize_axis(a.axis, type_of(op, 0).rank()));
  return infer_same(op, cx);
}

// --- sharing out ----------------------------------------------------------------------------------------------------

static Result<int> softmax_axis(const Op& op) {
  int64_t given = op.kind == OpKind::lp_normalization ? op.attr<LpNormAttrs>().axis : op.attr<SoftmaxAttrs>().axis;
  return normalize_axis(given, type_of(op, 0).rank());
}
// All dims; ranks that cut the axis exchange what is summed along it.
static Result<ShardingRule> shard_softmax(const Op& op) {
  TRY_ASSIGN(int axis, softmax_axis(op));
  if (op.kind == OpKind::hardmax) return shard_alike(op, {axis});
  ShardingRule rule = shard_alike(op, {});
  const Shape& x = type_of(op, 0).shape;
  Shape rows = x;
  rows[axis] = 2;
  rule.factors[axis].exchanged = numel(rows);
  return rule;
}
static Result<std::vector<Value*>> localize_softmax(LocalOp& op) {
  TRY_ASSIGN(int axis, softmax_axis(op.whole));
  if (!op.cuts(axis)) return op.build();
  const std::vector<std::string>& ranks = op.parts[axis].axes;
  Builder& b = op.b;
  Value *x = op.wide(op.operands[0]), *y = nullptr;
  if (op.whole.kind == OpKind::lp_normalization) {
    const bool l1 = op.whole.attr<LpNormAttrs>().p == 1;
    Value* norm = op.reduce(l1 ? OpKind::reduce_l1 : OpKind::reduce_sum_square, x, {axis}, ranks, "sum");
    if (!l1) norm = b.op(OpKind::sqrt, {norm});
    Value* zero = b.scalar(x->type.dtype, 0);
    y = b.op(OpKind::where, {b.op(OpKind::equal, {norm, zero}), zero, b.op(OpKind::div, {x, norm})});
  } else {
    Value* shifted = b.op(OpKind::sub, {x, op.reduce(OpKind::reduce_max, x, {axis}, ranks, "max")});
    Value* power = b.op(OpKind::exp, {shifted});
    Value* sum = op.reduce(OpKind::reduce_sum, power, {axis}, ranks, "sum");
    y = op.whole.kind == OpKind::softmax ? b.op(OpKind::div, {power, sum}) : b.op(OpKind::sub, {shifted, b.op(OpKind::log, {sum})});
  }
  return std::vector<Value*>{op.cast(y, op.whole.result()->type.dtype)};
}
static OpDef softmax_like(const char* onnx, Result<std::vector<HostValue>> (*eval)(EvalCall&), Cost (*cost)(const Op&)) {
  return {.onnx = onnx, .family = Family::norm, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<SoftmaxAttrs>,
          .infer = infer_softmax, .eval = eval, .cost = cost, .shard = shard_softmax, .localize = localize_softmax};
}
OpDef def_softmax() {
  return softmax_like("Softmax", eval_softmax, [](const Op& op) { return norm_cost(op, 12); });
}
OpDef def_log_softmax() {
  return softmax_like("LogSoftmax", eval_log_softmax, [](const Op& op) { return norm_cost(op, 12); });
}
OpDef def_hardmax() {
  return softmax_like("Hardmax", eval_hardmax, [](const Op& op) { return norm_cost(op, 1); });
}
OpDef def_lp_normalization() {
  OpDef d = softmax_like("LpNormalization", eval_lp, [](const Op& op) { return norm_cost(op, 3); });
  d.attrs = make_attrs<LpNormAttrs>;
  d.infer = infer_lp;
  return d;
}

}  // namespace weft
