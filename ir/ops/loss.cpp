#include "ir/ops/loss.h"

#include <algorithm>
#include <cmath>

#include "ir/ops/common.h"
#include "ir/ops/norm.h"

namespace weft {

static Status infer_loss(Op& op, InferContext& cx) {
  TRY(need_float_input(op, 2));
  TRY(need_tensor(op, 1));
  const Type &x = type_of(op, 0), &target = type_of(op, 1);
  const LossAttrs& a = op.attr<LossAttrs>();
  if (a.reduction != "none" && a.reduction != "sum" && a.reduction != "mean")
    return invalid("reduction must be \"none\", \"sum\" or \"mean\", is " + quote(a.reduction));
  if (!is_int(target.dtype) || target.rank() != x.rank() - 1) return invalid("targets " + target.to_string() + " do not fit " + x.to_string());
  for (int d = 0; d < target.rank(); ++d)
    TRY(cx.equal(target.shape[d], x.shape[d ? d + 1 : 0], "dims " + std::to_string(d) + " of the loss's targets"));
  if (has_operand(op, 2) && (!type_of(op, 2).is_ranked() || type_of(op, 2).dtype != x.dtype || type_of(op, 2).rank() != 1))
    return invalid("weights must be a vector of the input's type, are " + type_of(op, 2).to_string());
  if (has_operand(op, 2)) TRY(cx.equal(type_of(op, 2).shape[0], x.shape[1], "the loss's weights and classes"));
  set_type(op, 0, Type::tensor(x.dtype, a.reduction == "none" ? target.shape : Shape{}));
  set_type(op, 1, x);
  return {};
}

// x[N,C,D] to log(softmax(x)) over C, in place.
static void log_softmax_channels(std::vector<double>& x, int64_t n, int64_t c, int64_t inner) {
  for (int64_t b = 0; b < n; ++b)
    for (int64_t j = 0; j < inner; ++j) {
      double* v = x.data() + b * c * inner + j;
      double top = -INFINITY, sum = 0;
      for (int64_t k = 0; k < c; ++k) top = std::max(top, v[k * inner]);
      for (int64_t k = 0; k < c; ++k) sum += std::exp(v[k * inner] - top);
      for (int64_t k = 0; k < c; ++k) v[k * inner] -= top + std::log(sum);
    }
}

struct LossSum {
  std::vector<double> each;
  double sum = 0, weight = 0;
};
static Result<LossSum> pick_losses(EvalCall& call, const std::vector<double>& log_p, int64_t c, int64_t inner) {
  const LossAttrs& a = call.attr<LossAttrs>();
  std::vector<int64_t> target = load_all<int64_t>(call.tensor(1));
  std::vector<double> weight(c, 1.0);
  if (call.has(2)) weight = load_all<double>(call.tensor(2));
  if (static_cast<int64_t>(weight.size()) != c) return invalid(std::to_string(weight.size()) + " weights for " + std::to_string(c) + " classes");
  LossSum s;
  for (size_t k = 0; k < target.size(); ++k) {
    if (a.has_ignore_index && target[k] == a.ignore_index) {
      s.each.push_back(0);
      continue;
    }
    if (target[k] < 0 || target[k] >= c) return invalid("target " + std::to_string(target[k]) + " is outside [0, " + std::to_string(c) + ")");
    int64_t b = static_cast<int64_t>(k) / inner, j = static_cast<int64_t>(k) % inner;
    double w = weight[target[k]];
    s.each.push_back(-log_p[(b * c + target[k]) * inner + j] * w);
    s.sum += s.each.back();
    s.weight += w;
  }
  return s;
}

static Result<std::vector<HostValue>> eval_loss(EvalCall& call) {
  const Tensor &x = call.tensor(0), &target = call.tensor(1);
  std::vector<int64_t> expected = x.dims;
  expected.erase(expected.begin() + 1);
  if (target.dims != expected) return invalid("targets do not fit the input's dims");
  int64_t inner = 1;
  for (int d = 2; d < x.rank(); ++d) inner *= x.dims[d];
  std::vector<double> log_p = load_all<double>(x);
  bool softmax = call.op.kind == OpKind::softmax_cross_entropy_loss;
  if (softmax) log_softmax_channels(log_p, x.dims[0], x.dims[1], inner);
  TRY_ASSIGN(LossSum s, pick_losses(call, log_p, x.dims[1], std::max<int64_t>(inner, 1)));
  const std::string& r = call.attr<LossAttrs>().reduction;
  std::vector<HostValue> out;
  TRY_ASSIGN(Tensor loss, r == "none"  ? store_all(x.dtype, target.dims, s.each)
                          : r == "sum" ? store_all(x.dtype, {}, std::vector<double>{s.sum})
                                       : store_all(x.dtype, {}, std::vector<double>{s.sum / s.weight}));
  out.emplace_back(std::move(loss));
  if (softmax) {
    TRY_ASSIGN(Tensor saved, store_all(x.dtype, x.dims, log_p));
    out.emplace_back(std::move(saved));
  }
  return out;
}

// The batch and the dims behind the classes: cut in single losses, else added up. A mean by weights has no parts.
static Result<ShardingRule> shard_loss(const Op& op) {
  const LossAttrs& a = op.attr<LossAttrs>();
  const int y = ShardingRule::kResult;
  const bool single = a.reduction == "none", weighted = a.reduction == "mean" && (has_operand(op, 2) || a.has_ignore_index);
  ShardingRule rule(op);
  if (weighted || (!single && op.num_results() > 1)) return rule;
  for (int d = 0; d < type_of(op, 1).rank(); ++d) {
    const int at = d ? d + 1 : 0;
    if (single) rule.share(op, {{0, at}, {1, d}, {y, d}, {y + 1, at}});
    else rule.factors[rule.share(op, {{0, at}, {1, d}}, ShardingRule::Role::sum)].even = true;
  }
  return rule;
}
static Result<std::vector<Value*>> localize_loss(LocalOp& op) {
  TRY_ASSIGN(std::vector<Value*> out, op.build());
  if (op.whole.attr<LossAttrs>().reduction == "mean") out[0] = op.part_of_mean(out[0]);
  return out;
}
static OpDef loss(const char* onnx, int64_t flops) {
  return {.onnx = onnx, .family = Family::norm, .min_operands = 2, .max_operands = 3, .attrs = make_attrs<LossAttrs>,
          .infer = infer_loss, .eval = eval_loss,
          .cost = flops == 1 ? +[](const Op& op) { return norm_cost(op, 1); } : +[](const Op& op) { return norm_cost(op, 12); },
          .shard = shard_loss, .localize = localize_loss};
}
OpDef def_negative_log_likelihood_loss() { return loss("NegativeLogLikelihoodLoss", 1); }
OpDef def_softmax_cross_entropy_loss() { return loss("SoftmaxCrossEntropyLoss", 12); }

}  // namespace weft
