// attention: scaled dot-product attention with grouped heads, KV cache, masks, windows and soft cap (attention.h).
#include "ir/ops/attention.h"

#include <algorithm>
#include <cmath>

#include "ir/ops/move.h"
#include "ir/ops/norm.h"
#include "ir/ops/sharding.h"

namespace weft {

// past: null when absent.
static Result<AttentionShape> attention_shape(const AttentionAttrs& a, const Shape& q, const Shape& k, const Shape& v, const Shape* past,
                                              Facts& facts) {
  bool ranks = (q.size() == 3 || q.size() == 4) && k.size() == q.size() && v.size() == q.size();
  if (!ranks) return invalid("attention takes q, k, v of rank 3 or of rank 4");
  AttentionShape s;
  s.packed = q.size() == 3;
  s.batch = q[0];
  if (s.packed) {
    s.q_heads = a.q_num_heads;
    s.kv_heads = a.kv_num_heads;
    if (a.q_num_heads <= 0 || a.kv_num_heads <= 0) return invalid("attention of rank 3 needs q_num_heads and kv_num_heads");
    TRY(facts.divides(s.q_heads, q[2], "attention's heads of q"));
    for (const Shape* x : {&k, &v}) TRY(facts.divides(s.kv_heads, (*x)[2], "attention's heads of k and v"));
    s.head = divide(q[2], s.q_heads);
    s.v_head = divide(v[2], s.kv_heads);
    TRY(facts.equal(divide(k[2], s.kv_heads), s.head, "attention's head sizes of k and q"));
  } else {
    s.q_heads = q[1];
    s.kv_heads = k[1];
    s.head = q[3];
    s.v_head = v[3];
    TRY(facts.equal(k[1], v[1], "attention's heads of k and v"));
    TRY(facts.equal(k[3], q[3], "attention's head sizes of k and q"));
  }
  TRY(facts.divides(s.kv_heads, s.q_heads, "attention's heads of k and q"));
  int length = s.packed ? 1 : 2;
  s.queries = q[length];
  s.new_keys = k[length];
  TRY(facts.equal(k[0], q[0], "attention's batches of k and q"));
  TRY(facts.equal(v[0], q[0], "attention's batches of v and q"));
  TRY(facts.equal(k[length], v[length], "attention's lengths of k and v"));
  s.past = 0;
  if (past) {
    if (past->size() != 4) return invalid("attention's past must have rank 4");
    TRY(facts.equal((*past)[0], s.batch, "attention's batches of past and q"));
    TRY(facts.equal((*past)[1], s.kv_heads, "attention's heads of past and k"));
    s.past = (*past)[2];
  }
  s.keys = s.past + s.new_keys;
  return s;
}

static Result<AttentionShape> attention_shape(const Op& op, Facts& facts) {
  const Shape* past = has_operand(op, 4) ? &type_of(op, 4).shape : nullptr;
  return attention_shape(op.attr<AttentionAttrs>(), type_of(op, 0).shape, type_of(op, 1).shape, type_of(op, 2).shape, past, facts);
}
Result<AttentionShape> attention_shape(const Op& op) {
  Facts facts;
  return attention_shape(op, facts);
}

static Status infer_attention(Op& op, InferContext& cx) {
  const AttentionAttrs& a = op.attr<AttentionAttrs>();
  for (int i = 0; i < op.num_operands(); ++i)
    if (op.operands[i]) TRY(need_tensor(op, i));
  for (int i : {0, 1, 2, 4, 5})
    if (has_operand(op, i) && !is_float(type_of(op, i).dtype)) return invalid("attention does not take " + type_of(op, i).to_string());
  if (has_operand(op, 4) != has_operand(op, 5)) return invalid("attention needs both past_key and past_value or none");
  if (a.qk_matmul_output_mode < 0 || a.qk_matmul_output_mode > 3) return invalid("qk_matmul_output_mode must be 0 to 3");
  if (a.has_softmax_precision && !is_float(a.softmax_precision)) return invalid("softmax_precision must be a float type");
  TRY_ASSIGN(AttentionShape s, attention_shape(op, cx));
  if (has_operand(op, 4)) {
    const Shape &past = type_of(op, 4).shape, &values = type_of(op, 5).shape, want{s.batch, s.kv_heads, past[2], s.v_head};
    if (values.size() != 4) return invalid("attention's past must have rank 4");
    TRY(cx.equal(past[3], s.head, "attention's head sizes of past and k"));
    for (size_t d = 0; d < 4; ++d) TRY(cx.equal(values[d], want[d], "dims " + std::to_string(d) + " of attention's past values"));
  }
  Shape scores{s.batch, s.q_heads, s.queries, s.keys};
  if (has_operand(op, 3)) {
    const Type& mask = type_of(op, 3);
    if (mask.rank() < 1 || mask.rank() > 4 || dtype_class(mask.dtype) == 'c') return invalid("attention's mask is " + mask.to_string());
    TRY(cx.at_most(mask.dim(-1), s.keys, "attention's mask and keys"));
    for (int d = 2; d <= mask.rank(); ++d) TRY(cx.broadcasts(mask.dim(-d), scores[4 - d], "attention's mask and scores"));
  }
  bool lengths = !has_operand(op, 6) || (type_of(op, 6).rank() == 1 && is_int(type_of(op, 6).dtype));
  if (!lengths) return invalid("nonpad_kv_seqlen is " + type_of(op, 6).to_string());
  if (has_operand(op, 6)) TRY(cx.equal(type_of(op, 6).shape[0], s.batch, "attention's nonpad_kv_seqlen and batch"));
  DType t = type_of(op, 0).dtype;
  set_type(op, 0, Type::tensor(t, s.packed ? Shape{s.batch, s.queries, s.q_heads * s.v_head} : Shape{s.batch, s.q_heads, s.queries, s.v_head}));
  set_type(op, 1, Type::tensor(type_of(op, 1).dtype, {s.batch, s.kv_heads, s.keys, s.head}));
  set_type(op, 2, Type::tensor(type_of(op, 2).dtype, {s.batch, s.kv_heads, s.keys, s.v_head}));
  set_type(op, 3, Type::tensor(t, scores));
  return {};
}

// --- eval -----------------------------------------------------------------------------------------------------------

// [B,S,H*D] as [B,H,S,D]; a tensor of rank 4 itself.
static Result<Tensor> split_heads(const Tensor& t, int64_t heads) {
  if (t.rank() == 4) return t;
  int64_t length = t.dims[1], width = t.dims[2], size = width / heads;
  return read_window(t, {0, {length * width, size, width, 1}}, {t.dims[0], heads, length, size});
}
static Result<Tensor> present_of(EvalCall& call, int fresh, int past, int64_t heads) {
  TRY_ASSIGN(Tensor t, split_heads(call.tensor(fresh), heads));
  if (!call.has(past)) return t;
  return concatenated({call.tensor(past), t}, 2);
}

// One attention call with its numbers at hand; score rows are filled one by one.
struct AttentionEval {
  const AttentionAttrs& a;
  int64_t batch, q_heads, kv_heads, queries, past, keys, head, v_head;
  std::vector<double> q, k, v;
  double scale = 1;
  std::vector<double> mask = {};
  std::vector<int64_t> mask_strides = {};  // over [B,H,S]
  int64_t mask_keys = 0;
  bool bool_mask = false;
  std::vector<int64_t> lengths = {};  // nonpad_kv_seqlen

  double bias(int64_t b, int64_t h, int64_t i, int64_t j) const {
    int64_t valid = lengths.empty() ? keys : lengths[b], p = i + (lengths.empty() && !a.queries_last ? past : valid - queries);
    bool seen = j < valid && (!a.is_causal || j <= p) && (a.left_window_size < 0 || j >= p - a.left_window_size) &&
                (a.right_window_size < 0 || j <= p + a.right_window_size);
    if (!seen) return -INFINITY;
    if (mask_strides.empty()) return 0;
    if (j >= mask_keys) return -INFINITY;
    double m = mask[b * mask_strides[0] + h * mask_strides[1] + i * mask_strides[2] + j];
    return bool_mask ? (m != 0 ? 0 : -INFINITY) : m;
  }
  // Scores of query i into row; what qk_matmul_output_mode asks for into saved.
  void scores(int64_t b, int64_t h, int64_t i, double* row, double* saved) const {
    const double* query = q.data() + ((b * q_heads + h) * queries + i) * head;
    const double* key = k.data() + (b * kv_heads + h / (q_heads / kv_heads)) * keys * head;
    auto save = [&](int mode) {
      if (a.qk_matmul_output_mode == mode) std::copy(row, row + keys, saved);
    };
    for (int64_t j = 0; j < keys; ++j) {
      double s = 0;
      for (int64_t d = 0; d < head; ++d) s += query[d] * key[j * head + d];
      row[j] = s * scale;
    }
    save(0);
    if (a.softcap > 0)
      for (int64_t j = 0; j < keys; ++j) row[j] = std::tanh(row[j] / a.softcap) * a.softcap;
    save(1);
    for (int64_t j = 0; j < keys; ++j) row[j] += bias(b, h, i, j);
    save(2);
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; ++j) top = std::isnan(row[j]) ? row[j] : std::max(top, row[j]);
    for (int64_t j = 0; j < keys; ++j) sum += row[j] = top == -INFINITY ? 0 : std::exp(row[j] - top);
    for (int64_t j = 0; j < keys; ++j) row[j] = sum == 0 ? 0 : row[j] / sum;
    save(3);
  }
};

static Status load_mask(EvalCall& call, AttentionEval& e) {
  if (!call.has(3)) return {};
  const Tensor& t = call.tensor(3);
  std::vector<int64_t> dims(t.dims.begin(), t.dims.end() - 1), want{e.batch, e.q_heads, e.queries};
  TRY_ASSIGN(std::vector<int64_t> joint, broadcast_dims({&dims, &want}));
  if (joint != want || t.dims.back() > e.keys) return invalid("attention's mask does not broadcast to the scores");
  e.mask = load_all<double>(t);
  e.bool_mask = t.dtype == DType::b1;
  e.mask_keys = t.dims.back();
  e.mask_strides = broadcast_strides(dims, want);
  for (int64_t& s : e.mask_strides) s *= e.mask_keys;
  return {};
}

// y as [B, H, S, Dv] and the saved scores.
static void run_attention(const AttentionEval& e, std::vector<double>& y, std::vector<double>& saved) {
  y.assign(e.batch * e.q_heads * e.queries * e.v_head, 0.0);
  saved.resize(e.batch * e.q_heads * e.queries * e.keys);
  std::vector<double> row(e.keys);
  for (int64_t r = 0; r < e.batch * e.q_heads * e.queries; ++r) {
    int64_t i = r % e.queries, h = r / e.queries % e.q_heads, b = r / e.queries / e.q_heads;
    e.scores(b, h, i, row.data(), saved.data() + r * e.keys);
    const double* value = e.v.data() + (b * e.kv_heads + h / (e.q_heads / e.kv_heads)) * e.keys * e.v_head;
    for (int64_t j = 0; j < e.keys; ++j)
      for (int64_t d = 0; d < e.v_head && row[j] != 0; ++d) y[r * e.v_head + d] += row[j] * value[j * e.v_head + d];
  }
}

static Result<std::vector<HostValue>> eval_attention(EvalCall& call) {
  const AttentionAttrs& a = call.attr<AttentionAttrs>();
  Shape past = call.has(4) ? to_shape(call.tensor(4).dims) : Shape();
  auto shape = [&](int i) { return to_shape(call.tensor(i).dims); };
  Facts facts;
  TRY_ASSIGN(AttentionShape s, attention_shape(a, shape(0), shape(1), shape(2), call.has(4) ? &past : nullptr, facts));
  TRY_ASSIGN(Tensor q, split_heads(call.tensor(0), s.q_heads.value()));
  TRY_ASSIGN(Tensor k, present_of(call, 1, 4, s.kv_heads.value()));
  TRY_ASSIGN(Tensor v, present_of(call, 2, 5, s.kv_heads.value()));
  bool fits = v.dims[2] == k.dims[2] && v.dims[0] == q.dims[0] && k.dims[0] == q.dims[0] && v.dims[1] == k.dims[1];
  if (!fits) return invalid("attention: queries, keys and values differ in their dims");
  AttentionEval e{a, q.dims[0], q.dims[1], k.dims[1], q.dims[2], s.past.value(), k.dims[2], q.dims[3], v.dims[3],
                  load_all<double>(q), load_all<double>(k), load_all<double>(v)};
  e.scale = a.has_scale ? a.scale : 1 / std::sqrt(static_cast<double>(e.head));
  TRY(load_mask(call, e));
  if (call.has(6)) e.lengths = load_all<int64_t>(call.tensor(6));
  if (call.has(6) && static_cast<int64_t>(e.lengths.size()) != e.batch) return invalid("nonpad_kv_seqlen must have one element for each batch");
  std::vector<double> y, saved;
  TRY_ASSIGN(Tensor scores, Tensor::make(q.dtype, {e.batch, e.q_heads, e.queries, e.keys}));
  run_attention(e, y, saved);
  store_row(scores, 0, saved.data(), scores.numel());
  TRY_ASSIGN(Tensor out, store_all(q.dtype, {e.batch, e.q_heads, e.queries, e.v_head}, y));
  if (s.packed) {
    int64_t row = e.v_head, matrix = e.queries * e.v_head;
    TRY_ASSIGN(out, read_window(out, {0, {e.q_heads * matrix, row, matrix, 1}}, {e.batch, e.queries, e.q_heads, e.v_head}));
    out = with_dims(out, {e.batch, e.queries, e.q_heads * e.v_head});
  }
  return std::vector<HostValue>{std::move(out), std::move(k), std::move(v), std::move(scores)};
}

static Cost cost_attention(const Op& op) {
  Cost c = norm_cost(op, 0);
  auto s = attention_shape(op);
  if (s.ok()) c.flops = s->batch * s->q_heads * s->queries * s->keys * (Dim(2) * (s->head + s->v_head) + Dim(5));
  return c;
}

// --- sharing out ----------------------------------------------------------------------------------------------------

// The batch, the key heads (each with its group of query heads), and the queries, where none of them counts its position.
static Result<ShardingRule> shard_attention(const Op& op) {
  TRY_ASSIGN(AttentionShape s, attention_shape(op));
  const AttentionAttrs& a = op.attr<AttentionAttrs>();
  ShardingRule rule(op);
  using Place = ShardingRule::Place;
  const int y = ShardingRule::kResult;
  const Value* mask = op.operand(3);
  auto mask_dim = [&](int d) { return mask ? d - (4 - mask->type.rank()) : -1; };  // of the scores' four
  std::vector<Place> batch{{0, 0}, {1, 0}, {2, 0}, {4, 0}, {5, 0}, {6, 0}, {y, 0}, {y + 1, 0}, {y + 2, 0}, {y + 3, 0}};
  if (mask_dim(0) >= 0) batch.push_back({3, mask_dim(0)});
  rule.share(op, batch);
  int kv = rule.add(s.kv_heads, ShardingRule::Role::parallel, true);
  int group = rule.add(divide(s.q_heads, s.kv_heads), ShardingRule::Role::parallel, true);
  auto of_heads = [&](std::vector<int>& q, std::vector<int>& k, std::vector<int>& v, std::vector<int>& out) {
    q = out = {kv, group};
    k = v = {kv};
  };
  if (s.packed) {
    int d = rule.add(s.head, ShardingRule::Role::whole), dv = rule.add(s.v_head, ShardingRule::Role::whole);
    of_heads(rule.operands[0][2], rule.operands[1][2], rule.operands[2][2], rule.results[0][2]);
    rule.operands[0][2].push_back(d);
    rule.operands[1][2].push_back(d);
    rule.operands[2][2].push_back(dv);
    rule.results[0][2].push_back(dv);
  } else {
    of_heads(rule.operands[0][1], rule.operands[1][1], rule.operands[2][1], rule.results[0][1]);
  }
  for (int i : {4, 5})
    if (has_operand(op, i)) rule.operands[i][1] = {kv};
  for (int r : {1, 2})
    if (r < op.num_results()) rule.results[r][1] = {kv};
  if (op.num_results() > 3) rule.results[3][1] = {kv, group};
  if (int d = mask_dim(1); d >= 0 && !mask->type.shape[d].is(1)) rule.operands[3][d] = {kv, group};
  bool positions = a.is_causal || a.left_window_size >= 0 || a.right_window_size >= 0;
  if (!positions) {
    int length = s.packed ? 1 : 2;
    std::vector<Place> queries{{0, length}, {y, length}, {y + 3, 2}};
    if (mask_dim(2) >= 0) queries.push_back({3, mask_dim(2)});
    rule.share(op, queries);
  }
  return rule;
}
static Result<std::vector<Value*>> localize_attention(LocalOp& op) {
  std::unique_ptr<Attrs> attrs = op.whole.attrs->clone();
  auto& a = static_cast<AttentionAttrs&>(*attrs);
  a.kv_num_heads /= op.parts[1].count;
  a.q_num_heads /= op.parts[1].count * op.parts[2].count;
  return op.build(std::move(attrs));
}
OpDef def_attention() {
  return {.onnx = "Attention", .family = Family::attention, .min_operands = 3, .max_operands = 7, .attrs = make_attrs<AttentionAttrs>,
          .infer = infer_attention, .eval = eval_attention, .cost = cost_attention, .shard = shard_attention, .localize = localize_attention};
}

}  // namespace weft
