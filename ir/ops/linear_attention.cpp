// linear_attention and causal_conv_with_state: recurrent layers with an explicit state (attention.h).
#include <cmath>

#include "ir/ops/attention.h"
#include "ir/ops/move.h"
#include "ir/ops/norm.h"

namespace weft {

static Status need_rank(const Op& op, int i, int rank) {
  if (!has_operand(op, i)) return {};
  TRY(need_tensor(op, i));
  const Type& t = type_of(op, i);
  if (is_float(t.dtype) && t.rank() == rank) return {};
  std::string who = "operand " + std::to_string(i) + " of " + op_name(op.kind);
  return invalid(who + " must be a float tensor of rank " + std::to_string(rank) + ", is " + t.to_string());
}

// --- linear attention ---------------------------------------------------------------------------------------------

struct LinearRule {
  bool gated = false, delta = false;
};
static Result<LinearRule> linear_rule(const LinearAttentionAttrs& a, bool decay, bool beta) {
  const std::string& r = a.update_rule;
  bool known = r == "linear" || r == "gated" || r == "delta" || r == "gated_delta";
  if (!known) return invalid("update_rule " + quote(r) + " is none of linear, gated, delta, gated_delta");
  LinearRule rule{r == "gated" || r == "gated_delta", r == "delta" || r == "gated_delta"};
  if (rule.gated != decay) return invalid("update_rule " + r + (decay ? " forbids" : " needs") + " decay");
  if (rule.delta != beta) return invalid("update_rule " + r + (beta ? " forbids" : " needs") + " beta");
  bool heads = a.q_num_heads > 0 && a.kv_num_heads > 0 && a.q_num_heads % a.kv_num_heads == 0;
  if (!heads) return invalid("q_num_heads must be a multiple of kv_num_heads");
  return rule;
}

static Status infer_linear_attention(Op& op, InferContext& cx) {
  const LinearAttentionAttrs& a = op.attr<LinearAttentionAttrs>();
  for (int i : {0, 1, 2, 4, 5}) TRY(need_rank(op, i, 3));
  TRY(need_rank(op, 3, 4));
  TRY(linear_rule(a, has_operand(op, 4), has_operand(op, 5)));
  const Type &q = type_of(op, 0), &k = type_of(op, 1), &v = type_of(op, 2);
  Dim dk = divide(k.shape[2], a.kv_num_heads), dv = divide(v.shape[2], a.kv_num_heads), dq = divide(q.shape[2], a.q_num_heads);
  TRY(cx.divides(Dim(a.q_num_heads), q.shape[2], "linear_attention's heads of the query"));
  for (const Type* t : {&k, &v}) TRY(cx.divides(Dim(a.kv_num_heads), t->shape[2], "linear_attention's heads of key and value"));
  TRY(cx.equal(dq, dk, "linear_attention's head sizes of query and key"));
  for (int i : {1, 2, 4, 5})
    for (int d = 0; d < 2 && has_operand(op, i); ++d)
      TRY(cx.equal(type_of(op, i).shape[d], q.shape[d], "dims " + std::to_string(d) + " of linear_attention's operands 0 and " + std::to_string(i)));
  if (has_operand(op, 3)) {
    const Shape want{q.shape[0], Dim(a.kv_num_heads), dk, dv};
    for (int d = 0; d < 4; ++d) TRY(cx.equal(type_of(op, 3).shape[d], want[d], "dims " + std::to_string(d) + " of linear_attention's state"));
  }
  if (has_operand(op, 4)) {
    const Dim& g = type_of(op, 4).shape[2];
    bool bad = g.is_const() && !g.is(a.kv_num_heads) && k.shape[2].is_const() && !(g == k.shape[2]);
    if (bad) return invalid("linear_attention's decay is " + type_of(op, 4).to_string());
  }
  if (has_operand(op, 5)) {
    const Dim& g = type_of(op, 5).shape[2];
    if (g.is_const() && !g.is(a.kv_num_heads) && !g.is(1)) return invalid("linear_attention's beta is " + type_of(op, 5).to_string());
  }
  set_type(op, 0, Type::tensor(q.dtype, {q.shape[0], q.shape[1], dv * Dim(a.q_num_heads)}));
  set_type(op, 1, Type::tensor(has_operand(op, 3) ? type_of(op, 3).dtype : q.dtype, {q.shape[0], Dim(a.kv_num_heads), dk, dv}));
  return {};
}

// One head of one batch: S is its state [dk, dv].
struct LinearHead {
  int64_t dk, dv;
  double* state;
  void step(const double* k, const double* v, const double* decay, bool decay_per_key, const double* beta) const {
    for (int64_t i = 0; i < dk && decay; ++i) {
      double g = std::exp(decay[decay_per_key ? i : 0]);
      for (int64_t j = 0; j < dv; ++j) state[i * dv + j] *= g;
    }
    std::vector<double> add(v, v + dv);
    for (int64_t j = 0; j < dv && beta; ++j) {
      for (int64_t i = 0; i < dk; ++i) add[j] -= state[i * dv + j] * k[i];
      add[j] *= *beta;
    }
    for (int64_t i = 0; i < dk; ++i)
      for (int64_t j = 0; j < dv; ++j) state[i * dv + j] += k[i] * add[j];
  }
};

static Result<std::vector<HostValue>> eval_linear_attention(EvalCall& call) {
  const LinearAttentionAttrs& a = call.attr<LinearAttentionAttrs>();
  const Tensor &q = call.tensor(0), &k = call.tensor(1), &v = call.tensor(2);
  int64_t batch = q.dims[0], steps = q.dims[1], hq = a.q_num_heads, hk = a.kv_num_heads, dk = k.dims[2] / hk, dv = v.dims[2] / hk;
  for (int i : {1, 2, 4, 5})
    if (call.has(i) && (call.tensor(i).dims[0] != batch || call.tensor(i).dims[1] != steps))
      return invalid("linear_attention's operands differ in batch or length");
  if (k.dims[2] % hk != 0 || v.dims[2] % hk != 0 || q.dims[2] != hq * dk) return invalid("linear_attention: the heads do not divide the last dims");
  std::vector<double> query = load_all<double>(q), key = load_all<double>(k), value = load_all<double>(v), decay, beta;
  std::vector<double> state(batch * hk * dk * dv);
  if (call.has(3)) state = load_all<double>(call.tensor(3));
  if (call.has(4)) decay = load_all<double>(call.tensor(4));
  if (call.has(5)) beta = load_all<double>(call.tensor(5));
  int64_t decays = call.has(4) ? call.tensor(4).dims[2] : 0, betas = call.has(5) ? call.tensor(5).dims[2] : 0;
  bool fits = static_cast<int64_t>(state.size()) == batch * hk * dk * dv && (!decays || decays == hk || decays == hk * dk);
  if (!fits || (betas != 0 && betas != hk && betas != 1)) return invalid("linear_attention's state, decay or beta does not fit");
  double scale = a.scale != 0 ? a.scale : 1 / std::sqrt(static_cast<double>(dk));
  bool per_key = decays == hk * dk;
  std::vector<double> y(batch * steps * hq * dv);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < steps; ++t) {
      int64_t at = b * steps + t;
      for (int64_t h = 0; h < hk; ++h) {
        LinearHead head{dk, dv, state.data() + (b * hk + h) * dk * dv};
        const double* g = decays ? decay.data() + at * decays + h * (per_key ? dk : 1) : nullptr;
        const double* rate = betas ? beta.data() + at * betas + (betas == 1 ? 0 : h) : nullptr;
        head.step(key.data() + (at * hk + h) * dk, value.data() + (at * hk + h) * dv, g, per_key, rate);
      }
      for (int64_t h = 0; h < hq; ++h) {
        const double *s = state.data() + (b * hk + h / (hq / hk)) * dk * dv, *qi = query.data() + (at * hq + h) * dk;
        double* out = y.data() + (at * hq + h) * dv;
        for (int64_t i = 0; i < dk; ++i)
          for (int64_t j = 0; j < dv; ++j) out[j] += scale * qi[i] * s[i * dv + j];
      }
    }
  TRY_ASSIGN(Tensor out, store_all(q.dtype, {batch, steps, hq * dv}, y));
  TRY_ASSIGN(Tensor present, store_all(call.has(3) ? call.tensor(3).dtype : q.dtype, {batch, hk, dk, dv}, state));
  return std::vector<HostValue>{std::move(out), std::move(present)};
}

// The batch, and heads of the state, each with its group of query heads.
static Result<ShardingRule> shard_linear_attention(const Op& op) {
  const LinearAttentionAttrs& a = op.attr<LinearAttentionAttrs>();
  const int y = ShardingRule::kResult;
  ShardingRule rule = shard_places(op, {{{0, 0}, {1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {y, 0}, {y + 1, 0}}});
  const Dim heads = a.kv_num_heads;
  int h = rule.add(heads, ShardingRule::Role::parallel, true);
  int group = rule.add(a.q_num_heads / a.kv_num_heads, ShardingRule::Role::parallel, true);
  auto per_head = [&](std::vector<int>& dims, const Dim& size, bool queries) {
    dims = queries ? std::vector<int>{h, group} : std::vector<int>{h};
    dims.push_back(rule.add(divide(size, queries ? Dim(a.q_num_heads) : heads), ShardingRule::Role::whole));
  };
  per_head(rule.operands[0][2], type_of(op, 0).shape[2], true);
  per_head(rule.results[0][2], op.result()->type.shape[2], true);
  for (int i : {1, 2, 4, 5})
    if (has_operand(op, i) && !type_of(op, i).shape[2].is(1)) per_head(rule.operands[i][2], type_of(op, i).shape[2], false);
  if (has_operand(op, 3)) rule.operands[3][1] = {h};
  if (op.num_results() > 1) rule.results[1][1] = {h};
  return rule;
}
static Result<std::vector<Value*>> localize_linear_attention(LocalOp& op) {
  std::unique_ptr<Attrs> attrs = op.whole.attrs->clone();
  auto& a = static_cast<LinearAttentionAttrs&>(*attrs);
  a.kv_num_heads /= op.parts[1].count;
  a.q_num_heads /= op.parts[1].count * op.parts[2].count;
  return op.build(std::move(attrs));
}
OpDef def_linear_attention() {
  return {.onnx = "LinearAttention", .family = Family::attention, .min_operands = 3, .max_operands = 6, .attrs = make_attrs<LinearAttentionAttrs>,
          .infer = infer_linear_attention, .eval = eval_linear_attention, .cost = [](const Op& op) {
            Cost c = norm_cost(op, 0);
            c.flops = numel(type_of(op, 1).shape) * type_of(op, 2).shape[2] * Dim(8);
            return c;
          },
          .shard = shard_linear_attention, .localize = localize_linear_attention};
}

// --- causal convolution -------------------------------------------------------------------------------------------

static Status infer_causal_conv(Op& op, InferContext& cx) {
  const std::string& act = op.attr<CausalConvAttrs>().activation;
  if (act != "none" && act != "silu" && act != "swish") return invalid("activation " + quote(act) + " is none of none, silu, swish");
  for (int i : {0, 1, 3}) TRY(need_rank(op, i, 3));
  TRY(need_rank(op, 2, 1));
  const Type &x = type_of(op, 0), &w = type_of(op, 1);
  if (w.shape[2].is(0)) return invalid("the kernel of causal_conv_with_state is " + w.to_string());
  TRY(cx.equal(w.shape[0], x.shape[1], "causal_conv_with_state's channels and those of its kernel"));
  TRY(cx.equal(w.shape[1], 1, "the second dim of causal_conv_with_state's kernel and 1"));
  if (has_operand(op, 2)) TRY(cx.equal(type_of(op, 2).shape[0], x.shape[1], "causal_conv_with_state's bias and channels"));
  Dim width = w.shape[2] - Dim(1);
  if (has_operand(op, 3)) {
    const Shape want{x.shape[0], x.shape[1], width};
    for (int d = 0; d < 3; ++d) TRY(cx.equal(type_of(op, 3).shape[d], want[d], "dims " + std::to_string(d) + " of causal_conv_with_state's state"));
  }
  set_type(op, 0, x);
  set_type(op, 1, Type::tensor(x.dtype, {x.shape[0], x.shape[1], width}));
  return {};
}

static Result<std::vector<HostValue>> eval_causal_conv(EvalCall& call) {
  const Tensor &x = call.tensor(0), &w = call.tensor(1);
  int64_t batch = x.dims[0], channels = x.dims[1], length = x.dims[2], k = w.dims[2];
  if (w.dims[0] != channels || k < 1) return invalid("causal_conv_with_state: the kernel does not fit the input");
  TRY_ASSIGN(Tensor past, Tensor::make(x.dtype, {batch, channels, k - 1}));
  if (call.has(3)) past = call.tensor(3);
  TRY_ASSIGN(Tensor padded, concatenated({past, x}, 2));
  std::vector<double> in = load_all<double>(padded), weight = load_all<double>(w), bias(channels), y(x.numel());
  if (call.has(2)) bias = load_all<double>(call.tensor(2));
  bool silu = call.attr<CausalConvAttrs>().activation != "none";
  for (int64_t r = 0; r < batch * channels; ++r)
    for (int64_t t = 0; t < length; ++t) {
      double s = bias[r % channels];
      for (int64_t j = 0; j < k; ++j) s += in[r * (length + k - 1) + t + j] * weight[r % channels * k + j];
      y[r * length + t] = silu ? s / (1 + std::exp(-s)) : s;
    }
  TRY_ASSIGN(Tensor out, store_all(x.dtype, x.dims, y));
  TRY_ASSIGN(Tensor present, read_window(padded, {length, {channels * (length + k - 1), length + k - 1, 1}}, {batch, channels, k - 1}));
  return std::vector<HostValue>{std::move(out), std::move(present)};
}

OpDef def_causal_conv_with_state() {
  return {.onnx = "CausalConvWithState", .family = Family::attention, .min_operands = 2, .max_operands = 4, .attrs = make_attrs<CausalConvAttrs>,
          .infer = infer_causal_conv, .eval = eval_causal_conv, .cost = [](const Op& op) {
            Cost c = norm_cost(op, 2);
            c.flops = c.flops * type_of(op, 1).dim(-1);
            return c;
          },
          .shard = [](const Op& op) -> Result<ShardingRule> {
            const int y = ShardingRule::kResult;
            return shard_places(op, {{{0, 0}, {3, 0}, {y, 0}, {y + 1, 0}}, {{0, 1}, {1, 0}, {2, 0}, {3, 1}, {y, 1}, {y + 1, 1}}});
          }};
}

}  // namespace weft
