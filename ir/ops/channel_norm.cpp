// Normalisations of [N, C, ...] inputs whose parameters are per channel: batch, instance and group normalisation, LRN.
// Statistics are those of the population (divided by n).
#include <algorithm>
#include <cmath>

#include "ir/ops/common.h"
#include "ir/ops/norm.h"
#include "ir/ops/sharding.h"

namespace weft {

// x as [n, c, inner]; a vector is n samples of one channel.
struct ChannelView {
  int64_t n = 1, c = 1, inner = 1;
};
static ChannelView channel_view(const std::vector<int64_t>& dims) {
  ChannelView v;
  v.n = dims[0];
  if (dims.size() > 1) v.c = dims[1];
  for (size_t d = 2; d < dims.size(); ++d) v.inner *= dims[d];
  return v;
}

// Operands from..to are float vectors of x's channel count.
static Status need_channel_vectors(const Op& op, int from, int to, Facts& facts) {
  const Type& x = type_of(op, 0);
  Dim c = x.rank() > 1 ? x.shape[1] : Dim(1);
  for (int i = from; i <= to; ++i) {
    TRY(need_tensor(op, i));
    const Type& t = type_of(op, i);
    if (!is_float(t.dtype) || t.rank() != 1) return invalid("operand " + std::to_string(i) + " must be a float vector, is " + t.to_string());
    TRY(facts.equal(t.shape[0], c, std::string(op_name(op.kind)) + "'s channels and elements of operand " + std::to_string(i)));
  }
  return {};
}
static Status check_channels(EvalCall& call, int from, int to, int64_t c) {
  for (int i = from; i <= to; ++i)
    if (call.tensor(i).numel() != c)
      return invalid("operand " + std::to_string(i) + " has " + std::to_string(call.tensor(i).numel()) +
                     " elements for " + std::to_string(c) + " channels");
  return {};
}

struct Moments {
  double mean = 0, variance = 0;
};
// Of runs of `length` values; run r starts at first + r * step.
static Moments moments(const std::vector<double>& x, int64_t first, int64_t runs, int64_t step, int64_t length) {
  Moments m;
  double count = static_cast<double>(runs * length);
  for (int64_t r = 0; r < runs; ++r)
    for (int64_t k = 0; k < length; ++k) m.mean += x[first + r * step + k];
  m.mean /= count;
  for (int64_t r = 0; r < runs; ++r)
    for (int64_t k = 0; k < length; ++k) {
      double d = x[first + r * step + k] - m.mean;
      m.variance += d * d;
    }
  m.variance /= count;
  return m;
}
static void normalize_run(std::vector<double>& x, int64_t first, int64_t length, const Moments& m, double epsilon, double scale, double bias) {
  double inv = 1 / std::sqrt(m.variance + epsilon);
  for (int64_t k = first; k < first + length; ++k) x[k] = (x[k] - m.mean) * inv * scale + bias;
}

// --- batch ------------------------------------------------------------------------------------------------------

static Status infer_batch_norm(Op& op, InferContext& cx) {
  TRY(need_float_input(op, 1));
  TRY(need_channel_vectors(op, 1, 4, cx));
  const BatchNormAttrs& a = op.attr<BatchNormAttrs>();
  if (op.num_results() > (a.training_mode ? 3 : 1)) return invalid("batch_normalization has " + std::to_string(op.num_results()) + " results");
  set_type(op, 0, type_of(op, 0));
  set_type(op, 1, type_of(op, 3));
  set_type(op, 2, type_of(op, 4));
  return {};
}

static Result<std::vector<HostValue>> eval_batch_norm(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const BatchNormAttrs& a = call.attr<BatchNormAttrs>();
  ChannelView v = channel_view(x.dims);
  TRY(check_channels(call, 1, 4, v.c));
  std::vector<double> y = load_all<double>(x), scale = load_all<double>(call.tensor(1)), bias = load_all<double>(call.tensor(2));
  std::vector<double> mean = load_all<double>(call.tensor(3)), var = load_all<double>(call.tensor(4));
  for (int64_t c = 0; c < v.c; ++c) {
    Moments m{mean[c], var[c]};
    if (a.training_mode) {
      m = moments(y, c * v.inner, v.n, v.c * v.inner, v.inner);
      mean[c] = mean[c] * a.momentum + m.mean * (1 - a.momentum);
      var[c] = var[c] * a.momentum + m.variance * (1 - a.momentum);
    }
    for (int64_t n = 0; n < v.n; ++n) normalize_run(y, (n * v.c + c) * v.inner, v.inner, m, a.epsilon, scale[c], bias[c]);
  }
  TRY_ASSIGN(Tensor out, store_all(x.dtype, x.dims, y));
  TRY_ASSIGN(Tensor running_mean, store_all(call.tensor(3).dtype, call.tensor(3).dims, mean));
  TRY_ASSIGN(Tensor running_var, store_all(call.tensor(4).dtype, call.tensor(4).dims, var));
  return std::vector<HostValue>{std::move(out), std::move(running_mean), std::move(running_var)};
}

// [N, C, D...] with operands [C]: the batch, the channels, and where each element is on its own (`points`) the rest, too.
static ShardingRule shard_channels(const Op& op, bool points) {
  ShardingRule rule(op);
  const int y = ShardingRule::kResult, rank = type_of(op, 0).rank();
  for (int d = 0; d < (points ? rank : std::min(rank, 2)); ++d) {
    std::vector<ShardingRule::Place> places{{0, d}, {y, d}};
    for (int i = 1; d == 1 && i < op.num_operands(); ++i) places.push_back({i, 0});
    rule.share(op, places);
  }
  return rule;
}
OpDef def_batch_normalization() {
  return {.onnx = "BatchNormalization", .family = Family::norm, .min_operands = 5, .max_operands = 5, .attrs = make_attrs<BatchNormAttrs>,
          .infer = infer_batch_norm, .eval = eval_batch_norm,
          .cost = [](const Op& op) { return norm_cost(op, op.attr<BatchNormAttrs>().training_mode ? 6 : 2); },
          .shard = [](const Op& op) -> Result<ShardingRule> {
            return op.attr<BatchNormAttrs>().training_mode ? ShardingRule(op) : shard_channels(op, true);
          }};
}

// --- instance and group -----------------------------------------------------------------------------------------

static Status infer_instance_norm(Op& op, InferContext& cx) {
  TRY(need_float_input(op, 2));
  TRY(need_channel_vectors(op, 1, 2, cx));
  return infer_same(op, cx);
}
static Status infer_group_norm(Op& op, InferContext& cx) {
  TRY(infer_instance_norm(op, cx));
  return cx.divides(Dim(op.attr<GroupNormAttrs>().num_groups), type_of(op, 0).shape[1], "group_normalization's groups of channels");
}

static Result<std::vector<HostValue>> normalize_groups(EvalCall& call, int64_t groups, double epsilon) {
  const Tensor& x = call.tensor(0);
  ChannelView v = channel_view(x.dims);
  TRY(check_channels(call, 1, 2, v.c));
  if (v.c % groups != 0) return invalid(std::to_string(groups) + " groups do not divide " + std::to_string(v.c) + " channels");
  std::vector<double> y = load_all<double>(x), scale = load_all<double>(call.tensor(1)), bias = load_all<double>(call.tensor(2));
  int64_t size = v.c / groups;
  for (int64_t n = 0; n < v.n; ++n)
    for (int64_t g = 0; g < groups; ++g) {
      int64_t first = (n * v.c + g * size) * v.inner;
      Moments m = moments(y, first, 1, 0, size * v.inner);
      for (int64_t c = 0; c < size; ++c) normalize_run(y, first + c * v.inner, v.inner, m, epsilon, scale[g * size + c], bias[g * size + c]);
    }
  return one(store_all(x.dtype, x.dims, y));
}
static Result<std::vector<HostValue>> eval_instance_norm(EvalCall& call) {
  return normalize_groups(call, std::max<int64_t>(call.tensor(0).dims[1], 1), call.attr<InstanceNormAttrs>().epsilon);
}
static Result<std::vector<HostValue>> eval_group_norm(EvalCall& call) {
  return normalize_groups(call, call.attr<GroupNormAttrs>().num_groups, call.attr<GroupNormAttrs>().epsilon);
}

// The batch, and groups of channels.
static Result<ShardingRule> shard_group_norm(const Op& op) {
  const int y = ShardingRule::kResult;
  ShardingRule rule = shard_places(op, {{{0, 0}, {y, 0}}});
  const Dim groups = op.attr<GroupNormAttrs>().num_groups;
  int g = rule.add(groups, ShardingRule::Role::parallel, true), c = rule.add(floordiv(type_of(op, 0).shape[1], groups), ShardingRule::Role::whole);
  rule.operands[0][1] = rule.operands[1][0] = rule.operands[2][0] = rule.results[0][1] = {g, c};
  return rule;
}
static Result<std::vector<Value*>> localize_group_norm(LocalOp& op) {
  std::unique_ptr<Attrs> attrs = op.whole.attrs->clone();
  static_cast<GroupNormAttrs&>(*attrs).num_groups /= op.parts[1].count;
  return op.build(std::move(attrs));
}
OpDef def_instance_normalization() {
  return {.onnx = "InstanceNormalization", .family = Family::norm, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<InstanceNormAttrs>,
          .infer = infer_instance_norm, .eval = eval_instance_norm, .cost = [](const Op& op) { return norm_cost(op, 6); },
          .shard = [](const Op& op) -> Result<ShardingRule> { return shard_channels(op, false); }};
}
OpDef def_group_normalization() {
  return {.onnx = "GroupNormalization", .family = Family::norm, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<GroupNormAttrs>,
          .infer = infer_group_norm, .eval = eval_group_norm, .cost = [](const Op& op) { return norm_cost(op, 6); },
          .shard = shard_group_norm, .localize = localize_group_norm};
}

// --- LRN --------------------------------------------------------------------------------------------------------

static Status infer_lrn(Op& op, InferContext& cx) {
  TRY(need_float_input(op, 2));
  if (op.attr<LrnAttrs>().size < 1) return invalid("lrn's size must be positive");
  return infer_same(op, cx);
}

// Channel c sums over [c - floor((size-1)/2), c + ceil((size-1)/2)], clipped.
static Result<std::vector<HostValue>> eval_lrn(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const LrnAttrs& a = call.attr<LrnAttrs>();
  ChannelView v = channel_view(x.dims);
  std::vector<double> in = load_all<double>(x), out(in.size());
  for (int64_t n = 0; n < v.n; ++n)
    for (int64_t c = 0; c < v.c; ++c) {
      int64_t lo = std::max<int64_t>(0, c - (a.size - 1) / 2), hi = std::min(v.c - 1, c + a.size / 2);
      for (int64_t k = 0; k < v.inner; ++k) {
        double sum = 0;
        for (int64_t j = lo; j <= hi; ++j) {
          double s = in[(n * v.c + j) * v.inner + k];
          sum += s * s;
        }
        int64_t at = (n * v.c + c) * v.inner + k;
        out[at] = in[at] / std::pow(a.bias + a.alpha / static_cast<double>(a.size) * sum, a.beta);
      }
    }
  return one(store_all(x.dtype, x.dims, out));
}

OpDef def_lrn() {
  return {.onnx = "LRN", .family = Family::norm, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<LrnAttrs>,
          .infer = infer_lrn, .eval = eval_lrn, .cost = [](const Op& op) { return norm_cost(op, 2 * op.attr<LrnAttrs>().size + 20); },
          .shard = [](const Op& op) -> Result<ShardingRule> { return shard_alike(op, {1}); }};
}

}  // namespace weft
