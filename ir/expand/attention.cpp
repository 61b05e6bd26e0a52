// attention as two contractions around a softmax. The query heads that share a key head stand below each other as rows of
// one matrix, which is only another view of [B, Hq, S, D].
#include "ir/ops/attention.h"

#include <cmath>

#include "ir/expand/expansions.h"
#include "ir/ops/move.h"

namespace weft {

namespace {

struct AttentionParts {
  Emit& e;
  Op& op;
  const AttentionAttrs& a;
  AttentionShape s;
  int64_t q_heads, kv_heads;
  DType t;                 // of scores
  Value *q = nullptr, *k = nullptr, *v = nullptr;  // [B, heads, length, D]

  // [B,S,H*D] as [B,H,S,D]
  Value* split(Value* x, int64_t heads, const Dim& size) const {
    if (!s.packed) return x;
    Value* y = e.reshape(x, {DimPart(x, 0), DimPart(x, 1), heads, size.is_const() ? DimPart(size.value()) : DimPart(-1)});
    return e.transpose(y, {0, 2, 1, 3});
  }
  // The inverse.
  Value* joined(Value* y) const {
    if (!s.packed) return y;
    DimPart width = s.v_head.is_const() ? q_heads * s.v_head.value() : -1;
    return e.reshape(e.transpose(y, {0, 2, 1, 3}), {DimPart(op.operands[0], 0), DimPart(op.operands[0], 1), width});
  }
  // [B, Hq, S, n] and [B, Hkv, Hq/Hkv*S, n], n the last dim of v
  Value* as_groups(Value* x, Value* v, int axis) const {
    if (q_heads == kv_heads) return x;
    return e.reshape(x, {DimPart(q, 0), kv_heads, DimPart(q, 2, q_heads / kv_heads), DimPart(v, axis)});
  }
  Value* as_heads(Value* x, Value* v, int axis) const {
    if (q_heads == kv_heads) return x;
    return e.reshape(x, {DimPart(q, 0), q_heads, DimPart(q, 2), DimPart(v, axis)});
  }

  // The mask filled up to the number of keys; null when absent.
  Value* mask(Value* scores) const {
    Value* m = op.operand(3);
    if (!m || !scores) return nullptr;
    bool yes = m->type.dtype == DType::b1;
    if (!yes) m = e.cast(m, t);
    if (!m || m->type.dim(-1) == scores->type.dim(-1)) return m;
    int rank = m->type.rank();
    std::vector<DimPart> none(2 * rank - 1, DimPart(0));
    Value* missing = e.sub(e.dims({DimPart(k, 2)}), e.dims({DimPart(m, rank - 1)}));
    return e.op(OpKind::pad, {m, e.concat({e.dims(none), missing}, 0), e.scalar(m->type.dtype, yes ? 0 : -INFINITY)});
  }

  // Which keys a query sees by position, broadcast to the scores; null: all.
  Value* seen() const {
    Value* length = op.operand(6) ? e.reshape(e.cast(op.operand(6), DType::i64), {-1, 1, 1, 1}) : nullptr;
    Value *j = e.iota(e.dim(k, 2)), *i = e.unsqueeze(e.iota(e.dim(q, 2)), {1}), *p = i, *out = nullptr;
    if (length) p = e.add(i, e.sub(length, e.dim(q, 2)));
    else if (a.queries_last) p = e.add(i, e.sub(e.dim(k, 2), e.dim(q, 2)));
    else if (op.operand(4)) p = e.add(i, e.dim(op.operand(4), 2));
    auto need = [&](Value* c) { out = out ? e.op(OpKind::and_, {out, c}) : c; };
    if (length) need(e.op(OpKind::less, {j, length}));
    if (a.is_causal) need(e.op(OpKind::less_or_equal, {j, p}));
    if (a.left_window_size >= 0) need(e.op(OpKind::greater_or_equal, {j, e.sub(p, e.like(p, static_cast<double>(a.left_window_size)))}));
    if (a.right_window_size >= 0) need(e.op(OpKind::less_or_equal, {j, e.add(p, e.like(p, static_cast<double>(a.right_window_size)))}));
    return out;
  }

  Value* biased(Value* scores) const {
    Value *m = mask(scores), *visible = nullptr;
    if (m && m->type.dtype == DType::b1) visible = m;
    else if (m) scores = e.add(scores, m);
    if (op.operand(6) || a.is_causal || a.left_window_size >= 0 || a.right_window_size >= 0) {
      Value* c = seen();
      visible = visible ? e.op(OpKind::and_, {visible, c}) : c;
    }
    return visible ? e.where(visible, scores, e.like(scores, -INFINITY)) : scores;
  }
  // Each head so many times.
  Value* repeated(Value* x, int64_t times) const {
    if (times == 1) return x;
    std::vector<int64_t> heads(static_cast<size_t>(kv_heads * times));
    for (size_t i = 0; i < heads.size(); ++i) heads[i] = static_cast<int64_t>(i) / times;
    GatherAttrs axis;
    axis.axis = 1;
    return e.op(OpKind::gather, {x, e.ints(heads)}, axis);
  }
  // The same without past and presents, with each head of keys and values so many times.
  std::vector<Value*> core(int64_t times = 1) const {
    AttentionAttrs whole = a;
    whole.queries_last = a.queries_last || op.operand(4);
    std::vector<Value*> in = op.operands;
    const bool apart = op.operand(4) || times > 1;
    if (apart) in[0] = q, in[1] = repeated(k, times), in[2] = repeated(v, times);
    if (op.operand(4)) in[4] = in[5] = nullptr;
    if (times > 1) whole.q_num_heads = whole.kv_num_heads = 0;  // their dims say it
    while (!in.back()) in.pop_back();
    Value* y = e.op(OpKind::attention, in, whole);
    return {apart ? joined(y) : y, k, v, nullptr};
  }
  // Zeros where there is nothing to see; a causal query always sees its own key.
  Value* probabilities(Value* scores) const {
    Value* p = e.op(OpKind::softmax, {scores});
    bool safe = !op.operand(3) && !op.operand(6) && a.left_window_size < 0 && a.right_window_size < 0;
    if (safe || !p) return p;
    Value* empty = e.op(OpKind::and_, {e.op(OpKind::is_nan, {p}), e.op(OpKind::equal, {scores, e.like(scores, -INFINITY)})});
    return e.where(empty, e.like(p, 0), p);
  }
};

}  // namespace

// What kernels take: keys and values whole, heads of known size.
bool has_attention_kernel(const Op& op) {
  const AttentionAttrs& a = op.attr<AttentionAttrs>();
  auto s = attention_shape(op);
  if (!s.ok() || (a.has_softmax_precision && a.softmax_precision == DType::f64)) return false;
  for (int i : {0, 1, 2})
    if (type_of(op, i).dtype == DType::f64) return false;
  for (const Dim& d : {s->q_heads, s->kv_heads, s->head, s->v_head})
    if (!d.is_const()) return false;
  constexpr int64_t kMostChannels = 256;
  for (const Dim& d : {s->head, s->v_head})
    if (d.value() < 2 || d.value() > kMostChannels) return false;
  bool scores = op.num_results() > 3 && !op.result(3)->unused();
  return !scores && (!op.operand(4) || s->new_keys == s->queries);
}

// Queries, keys and values as heads, the keys and values behind the past.
static Result<AttentionParts> attention_parts(Emit& e, Op& op) {
  const AttentionAttrs& a = op.attr<AttentionAttrs>();
  TRY_ASSIGN(AttentionShape s, attention_shape(op));
  if (!s.q_heads.is_const() || !s.kv_heads.is_const()) return unsupported("attention with an unknown number of heads");
  if (!a.has_scale && !s.head.is_const()) return unsupported("attention with an unknown head size and no scale");
  const bool wide = type_of(op, 0).dtype == DType::f64 || (a.has_softmax_precision && a.softmax_precision == DType::f64);
  AttentionParts p{e, op, a, s, s.q_heads.value(), s.kv_heads.value(), wide ? DType::f64 : DType::f32};
  p.q = p.split(op.operands[0], p.q_heads, s.head);
  p.k = p.split(op.operands[1], p.kv_heads, s.head);
  p.v = p.split(op.operands[2], p.kv_heads, s.v_head);
  if (op.operand(4)) {
    p.k = e.concat({op.operands[4], p.k}, 2);
    p.v = e.concat({op.operands[5], p.v}, 2);
  }
  return p;
}

Result<std::vector<Value*>> repeat_kv_heads(Emit& e, Op& op, int64_t times) {
  TRY_ASSIGN(AttentionParts p, attention_parts(e, op));
  return p.core(times);
}

Result<std::vector<Value*>> expand_attention(Emit& e, Op& op) {
  TRY_ASSIGN(AttentionParts p, attention_parts(e, op));
  const AttentionAttrs& a = p.a;
  const DType in = type_of(op, 0).dtype, t = p.t;
  if (has_attention_kernel(op)) return p.core();
  double scale = a.has_scale ? a.scale : 1 / std::sqrt(static_cast<double>(p.s.head.value()));
  std::vector<Value*> stages;
  stages.push_back(p.as_heads(e.contract("bhsd,bhtd->bhst", p.as_groups(p.q, p.q, 3), p.k, t, scale), p.k, 2));
  Value* capped = stages[0];
  if (a.softcap > 0) capped = e.mul(e.op(OpKind::tanh, {e.div(capped, e.like(capped, a.softcap))}), e.like(capped, a.softcap));
  stages.push_back(capped);
  stages.push_back(p.biased(capped));
  stages.push_back(p.probabilities(stages[2]));
  Value* y = p.as_heads(e.contract("bhst,bhtd->bhsd", p.as_groups(stages[3], p.k, 2), e.cast(p.v, t), t), p.v, 3);
  y = p.joined(e.cast(y, in));
  bool wanted = op.num_results() > 3 && !op.result(3)->unused();
  return std::vector<Value*>{y, p.k, p.v, wanted ? e.cast(stages[a.qk_matmul_output_mode], in) : nullptr};
}

Result<std::vector<Value*>> expand_rotary_embedding(Emit& e, Op& op) {
  const RotaryAttrs& a = op.attr<RotaryAttrs>();
  Value* x = op.operands[0];
  DType t = x->type.dtype == DType::f64 ? DType::f64 : DType::f32;
  bool packed = x->type.rank() == 3;
  DimPart size = x->type.dim(-1).is_const() ? x->type.dim(-1).value() / std::max<int64_t>(1, a.num_heads) : -1;
  if (packed) x = e.reshape(x, {DimPart(x, 0), DimPart(x, 1), a.num_heads, size});
  auto angles = [&](int i) {
    Value* c = op.operands[i];
    if (op.operand(3)) c = e.op(OpKind::gather, {c, op.operands[3]}, GatherAttrs());
    return e.unsqueeze(e.cast(c, t), {packed ? 2 : 1});  // over the heads
  };
  Value *cos = angles(1), *sin = angles(2);
  const Dim& half = op.operands[1]->type.dim(-1);
  if (!half.is_const()) return unsupported("rotary_embedding with caches of unknown width");
  int64_t h = half.value();
  Value* turned = e.slice(x, 3, 0, 2 * h);
  if (a.interleaved) turned = e.transpose(e.reshape(turned, {DimPart(x, 0), DimPart(x, 1), DimPart(x, 2), h, 2}), {0, 1, 2, 4, 3});
  if (a.interleaved) turned = e.reshape(turned, {DimPart(x, 0), DimPart(x, 1), DimPart(x, 2), 2 * h});
  Value *p = e.cast(e.slice(turned, 3, 0, h), t), *q = e.cast(e.slice(turned, 3, h, 2 * h), t);
  Value* real = e.cast(e.sub(e.mul(cos, p), e.mul(sin, q)), x ? x->type.dtype : t);
  Value* imaginary = e.cast(e.add(e.mul(sin, p), e.mul(cos, q)), x ? x->type.dtype : t);
  std::vector<Value*> parts{real, imaginary};
  if (a.interleaved) {
    Value* pairs = e.concat({e.unsqueeze(real, {4}), e.unsqueeze(imaginary, {4})}, 4);
    parts = {e.reshape(pairs, {DimPart(x, 0), DimPart(x, 1), DimPart(x, 2), 2 * h})};
  }
  if (x && !x->type.dim(-1).is(2 * h)) parts.push_back(e.slice(x, 3, 2 * h, INT64_MAX));
  Value* y = e.concat(std::move(parts), 3);
  if (packed) y = e.reshape(y, {DimPart(op.operands[0], 0), DimPart(op.operands[0], 1), DimPart(op.operands[0], 2)});
  return std::vector<Value*>{y};
}

}  // namespace weft
