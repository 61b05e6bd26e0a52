// Normalisations over trailing dims: layer, RMS, and the residual form skip_layer_normalization.
#include <cmath>

#include "ir/ops/common.h"
#include "ir/ops/norm.h"
#include "ir/ops/sharding.h"

namespace weft {

// Dims of the saved statistics: those before `axis`, then ones.
static Shape statistics_shape(const Shape& x, int axis) {
  Shape s(x.begin(), x.begin() + axis);
  s.resize(x.size(), Dim(1));
  return s;
}

// Operand i broadcasts to x without widening it.
static Status need_parameter(const Op& op, int i, Facts& facts) {
  if (!has_operand(op, i)) return {};
  TRY(need_tensor(op, i));
  const Type &x = type_of(op, 0), &t = type_of(op, i);
  if (!is_float(t.dtype) || t.rank() > x.rank())
    return invalid("operand " + std::to_string(i) + " of type " + t.to_string() + " does not broadcast to " + x.to_string());
  for (int d = 1; d <= t.rank(); ++d) TRY(facts.broadcasts(t.dim(-d), x.dim(-d), std::string(op_name(op.kind)) + "'s parameters"));
  return {};
}

// A parameter expanded to the trailing `dims`, or to all of x's when it varies over the leading ones; empty when absent.
static Result<std::vector<double>> expand_parameter(EvalCall& call, int i, const std::vector<int64_t>& x, int axis) {
  std::vector<double> out;
  if (!call.has(i)) return out;
  const Tensor& t = call.tensor(i);
  std::vector<int64_t> dims(x.begin() + (t.rank() > static_cast<int>(x.size()) - axis ? 0 : axis), x.end());
  TRY_ASSIGN(std::vector<int64_t> joint, broadcast_dims({&t.dims, &dims}));
  if (joint != dims) return invalid("operand " + std::to_string(i) + " does not broadcast to the input");
  std::vector<double> v = load_all<double>(t);
  std::vector<int64_t> strides = broadcast_strides(t.dims, dims), index(dims.size());
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  out.resize(n);
  for (int64_t k = 0; k < n; ++k, next_index(index, dims)) {
    int64_t at = 0;
    for (size_t d = 0; d < dims.size(); ++d) at += index[d] * strides[d];
    out[k] = v[at];
  }
  return out;
}

struct RowNorm {
  int64_t row = 1;          // elements normalised together
  double epsilon = 0;
  bool rms = false;         // no mean is subtracted
  std::vector<double> scale, bias;
  std::vector<double> mean, inv_std;  // results, one per row
};
// Normalises x in place.
static void normalize_rows(std::vector<double>& x, RowNorm& norm) {
  int64_t n = norm.row, rows = n ? static_cast<int64_t>(x.size()) / n : 0;
  for (int64_t r = 0; r < rows; ++r) {
    double* v = x.data() + r * n;
    double mean = 0, square = 0;
    if (!norm.rms)
      for (int64_t k = 0; k < n; ++k) mean += v[k];
    mean /= static_cast<double>(n);
    for (int64_t k = 0; k < n; ++k) square += (v[k] - mean) * (v[k] - mean);
    double inv = 1 / std::sqrt(square / static_cast<double>(n) + norm.epsilon);
    norm.mean.push_back(mean);
    norm.inv_std.push_back(inv);
    for (int64_t k = 0; k < n; ++k) {
      v[k] = (v[k] - mean) * inv;
      if (!norm.scale.empty()) v[k] *= norm.scale[(r * n + k) % static_cast<int64_t>(norm.scale.size())];
      if (!norm.bias.empty()) v[k] += norm.bias[(r * n + k) % static_cast<int64_t>(norm.bias.size())];
    }
  }
}

static int64_t row_size(const std::vector<int64_t>& dims, int axis) {
  int64_t n = 1;
  for (size_t d = axis; d < dims.size(); ++d) n *= dims[d];
  return n;
}

// --- layer, RMS -------------------------------------------------------------------------------------------------

static Status infer_layer_norm(Op& op, InferContext& cx) {
  TRY(need_float_input(op, 1));
  TRY(need_parameter(op, 1, cx));
  TRY(need_parameter(op, 2, cx));
  const Type& x = type_of(op, 0);
  const LayerNormAttrs& a = op.attr<LayerNormAttrs>();
  if (!is_float(a.stash_type)) return invalid("stash_type must be a float type");
  TRY_ASSIGN(int axis, normalize_axis(a.axis, x.rank()));
  bool rms = op.kind == OpKind::rms_normalization;
  set_type(op, 0, Type::tensor(rms ? type_of(op, 1).dtype : x.dtype, x.shape));
  set_type(op, 1, Type::tensor(a.stash_type, statistics_shape(x.shape, axis)));
  set_type(op, 2, Type::tensor(a.stash_type, statistics_shape(x.shape, axis)));
  return {};
}

static Result<std::vector<HostValue>> eval_layer_norm(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const LayerNormAttrs& a = call.attr<LayerNormAttrs>();
  TRY_ASSIGN(int axis, normalize_axis(a.axis, x.rank()));
  RowNorm norm;
  norm.row = row_size(x.dims, axis);
  norm.epsilon = a.epsilon;
  norm.rms = call.op.kind == OpKind::rms_normalization;
  TRY_ASSIGN(norm.scale, expand_parameter(call, 1, x.dims, axis));
  TRY_ASSIGN(norm.bias, expand_parameter(call, 2, x.dims, axis));
  std::vector<double> y = load_all<double>(x);
  normalize_rows(y, norm);
  std::vector<HostValue> out;
  TRY_ASSIGN(Tensor t, store_all(norm.rms ? call.tensor(1).dtype : x.dtype, x.dims, y));
  out.emplace_back(std::move(t));
  std::vector<int64_t> dims = static_dims(statistics_shape(to_shape(x.dims), axis));
  for (std::vector<double>* s : {&norm.mean, &norm.inv_std}) {
    if (norm.rms) break;
    TRY_ASSIGN(Tensor saved, Tensor::make(a.stash_type, dims));
    s->resize(saved.numel());  // rows of no elements have no statistics
    store_row(saved, 0, s->data(), saved.numel());
    out.emplace_back(std::move(saved));
  }
  return out;
}

// --- sharing out ------------------------------------------------------------------------------------------------

// All dims; ranks that cut those that are normalised exchange their sums.
static Result<ShardingRule> shard_layer_norm(const Op& op) {
  const Shape& x = type_of(op, 0).shape;
  const int rank = static_cast<int>(x.size());
  TRY_ASSIGN(int axis, normalize_axis(op.attr<LayerNormAttrs>().axis, rank));
  ShardingRule rule = shard_leading(op, axis);
  for (int d = axis; d < rank; ++d) {
    std::vector<ShardingRule::Place> places{{0, d}, {ShardingRule::kResult, d}};
    for (int i = 1; i < op.num_operands(); ++i)
      if (int at = has_operand(op, i) ? d - (rank - type_of(op, i).rank()) : -1; at >= 0) places.push_back({i, at});
    rule.share(op, places, ShardingRule::Role::parallel, numel(statistics_shape(x, axis)) * Dim(2));
  }
  return rule;
}
static Result<std::vector<Value*>> localize_layer_norm(LocalOp& op) {
  const LayerNormAttrs& a = op.whole.attr<LayerNormAttrs>();
  const Shape& whole = type_of(op.whole, 0).shape;
  TRY_ASSIGN(int axis, normalize_axis(a.axis, static_cast<int>(whole.size())));
  std::vector<int64_t> dims;
  std::vector<std::string> ranks;
  Dim count = 1;
  for (size_t d = static_cast<size_t>(axis); d < whole.size(); ++d) {
    dims.push_back(static_cast<int64_t>(d));
    ranks.insert(ranks.end(), op.parts[d].axes.begin(), op.parts[d].axes.end());
    count *= whole[d];
  }
  if (ranks.empty()) return op.build();
  Builder& b = op.b;
  const bool rms = op.whole.kind == OpKind::rms_normalization;
  Value *x = op.wide(op.operands[0]), *n = op.number(count, x->type.dtype), *mean = nullptr;
  if (!rms) {
    mean = b.op(OpKind::div, {op.reduce(OpKind::reduce_sum, x, dims, ranks, "sum"), n});
    x = b.op(OpKind::sub, {x, mean});
  }
  Value* variance = b.op(OpKind::div, {op.reduce(OpKind::reduce_sum_square, x, dims, ranks, "sum"), n});
  Value* deviation = b.op(OpKind::sqrt, {b.op(OpKind::add, {variance, b.scalar(x->type.dtype, a.epsilon)})});
  Value* y = b.op(OpKind::mul, {b.op(OpKind::div, {x, deviation}), op.cast(op.operands[1], x->type.dtype)});
  if (op.operands.size() > 2 && op.operands[2]) y = b.op(OpKind::add, {y, op.cast(op.operands[2], x->type.dtype)});
  std::vector<Value*> out{op.cast(y, op.whole.result()->type.dtype)};
  if (op.whole.num_results() > 1) out.push_back(op.cast(mean, a.stash_type));
  if (op.whole.num_results() > 2) out.push_back(op.cast(b.op(OpKind::reciprocal, {deviation}), a.stash_type));
  return out;
}
OpDef def_layer_normalization() {
  return {.onnx = "LayerNormalization", .family = Family::norm, .min_operands = 2, .max_operands = 3, .attrs = make_attrs<LayerNormAttrs>,
          .infer = infer_layer_norm, .eval = eval_layer_norm, .cost = [](const Op& op) { return norm_cost(op, 7); }, .shard = shard_layer_norm,
          .localize = localize_layer_norm};
}
OpDef def_rms_normalization() {
  return {.onnx = "RMSNormalization", .family = Family::norm, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<LayerNormAttrs>,
          .infer = infer_layer_norm, .eval = eval_layer_norm, .cost = [](const Op& op) { return norm_cost(op, 4); }, .shard = shard_layer_norm,
          .localize = localize_layer_norm};
}

// --- skip -------------------------------------------------------------------------------------------------------

static Status infer_skip_layer_norm(Op& op, InferContext& cx) {
  TRY(need_float_input(op, 1));
  for (int i = 1; i < op.num_operands(); ++i) TRY(need_parameter(op, i, cx));
  const Type& x = type_of(op, 0);
  Type saved = Type::tensor(DType::f32, statistics_shape(x.shape, x.rank() - 1));
  set_type(op, 0, x);
  set_type(op, 1, saved);
  set_type(op, 2, saved);
  set_type(op, 3, x);
  return {};
}

static Result<std::vector<HostValue>> eval_skip_layer_norm(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const SkipLayerNormAttrs& a = call.attr<SkipLayerNormAttrs>();
  int axis = x.rank() - 1;
  RowNorm norm;
  norm.row = x.dims[axis];
  norm.epsilon = a.epsilon;
  norm.rms = a.simplified;
  std::vector<double> y = load_all<double>(x);
  for (int i : {1, 4}) {
    TRY_ASSIGN(std::vector<double> added, expand_parameter(call, i, x.dims, axis));
    for (size_t k = 0; k < y.size() && !added.empty(); ++k) y[k] += added[k % added.size()];
  }
  TRY_ASSIGN(Tensor sum, store_all(x.dtype, x.dims, y));
  TRY_ASSIGN(norm.scale, expand_parameter(call, 2, x.dims, axis));
  TRY_ASSIGN(norm.bias, expand_parameter(call, 3, x.dims, axis));
  normalize_rows(y, norm);
  TRY_ASSIGN(Tensor out, store_all(x.dtype, x.dims, y));
  std::vector<int64_t> dims = static_dims(statistics_shape(to_shape(x.dims), axis));
  norm.mean.resize(x.numel() ? x.numel() / norm.row : row_size(dims, 0));
  norm.inv_std.resize(norm.mean.size());
  TRY_ASSIGN(Tensor mean, store_all(DType::f32, dims, norm.mean));
  TRY_ASSIGN(Tensor inv_std, store_all(DType::f32, dims, norm.inv_std));
  return std::vector<HostValue>{std::move(out), std::move(mean), std::move(inv_std), std::move(sum)};
}

OpDef def_skip_layer_normalization() {
  return {.family = Family::norm, .min_operands = 3, .max_operands = 5, .attrs = make_attrs<SkipLayerNormAttrs>,
          .infer = infer_skip_layer_norm, .eval = eval_skip_layer_norm, .cost = [](const Op& op) { return norm_cost(op, 9); },
          .shard = [](const Op& op) -> Result<ShardingRule> { return shard_leading(op, type_of(op, 0).rank() - 1); }};
}

}  // namespace weft
