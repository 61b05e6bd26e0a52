// Functions and attention of the com.microsoft dialect.
#include <algorithm>
#include <cmath>

#include "frontend/onnx/rules/rules.h"
#include "ir/ops/attention.h"
#include "ir/ops/move.h"
#include "ir/ops/pointwise.h"

namespace weft {

// Gelu(x), BiasGelu(x, bias), FastGelu(x, bias?)
Values rule_gelu(Node& n) {
  Value* x = n.need(0);
  if (n.in(1)) x = n.add(x, n.in(1));
  GeluAttrs a;
  if (n.type() == "FastGelu") a.approximate = "tanh";
  return n.done({n.op(OpKind::gelu, {x}, a)});
}

Values rule_quick_gelu(Node& n) {
  AlphaAttrs a;
  a.alpha = n.float_attr("alpha", 1.7020000219345093);
  return n.done({n.op(OpKind::swish, {n.need(0)}, a)});
}

// --- heads ------------------------------------------------------------------------------------------------------------

// [B, S, heads * D] as [B, heads, S, D], and back.
static Value* split_heads(Node& n, Value* v, int64_t heads) { return n.transpose(n.reshape(v, {0, 0, heads, -1}), {0, 2, 1, 3}); }
static Value* join_heads(Node& n, Value* v) { return n.reshape(n.transpose(v, {0, 2, 1, 3}), {0, 0, -1}); }

Value* counted(Node& n, Value* count) { return n.op(OpKind::range, {n.int_scalar(0), n.squeeze(count, {0}), n.int_scalar(1)}); }

static int64_t last_dim(Node& n, Value* v, const char* what) {
  const Type& t = n.type_of(v);
  if (t.is_ranked() && t.rank() > 0 && t.dim(-1).is_const()) return t.dim(-1).value();
  n.fail(unsupported(std::string(what) + " of unknown size in " + n.type()));
  return 1;
}

// position_ids [B, S], or one number that the positions of all batches start from.
Values rule_microsoft_rotary(Node& n) {
  Value *x = n.need(0), *ids = n.need(1), *cos = n.need(2), *sin = n.need(3);
  if (n.int_attr("is_packed_batching", 0) != 0) return unsupported("RotaryEmbedding with is_packed_batching");
  if (n.float_attr("scale", 1) != 1) return unsupported("RotaryEmbedding with a scale");
  RotaryAttrs a = attrs_of<RotaryAttrs>(n, OpKind::rotary_embedding);
  bool heads_first = n.rank(x) == 4;
  int64_t rotated = 2 * last_dim(n, cos, "cos_cache");
  if (a.rotary_embedding_dim == 0 && heads_first && last_dim(n, x, "the input") != rotated) a.rotary_embedding_dim = rotated;
  if (!heads_first && a.num_heads == 0 && rotated > 0) a.num_heads = last_dim(n, x, "the input") / rotated;
  if (n.rank(ids) == 1) {
    Value *batch = n.dim_of(x, 0), *length = n.dim_of(x, heads_first ? 2 : 1);
    ids = n.expand(n.add(ids, counted(n, length)), n.concat({batch, length}, 0));
  }
  return n.done({n.op(OpKind::rotary_embedding, {x, cos, sin, ids}, a)});
}

// --- MultiHeadAttention -----------------------------------------------------------------------------------------------

namespace {

struct Heads {
  Value *q = nullptr, *k = nullptr, *v = nullptr;
};

// The part `at` of a packed [B, S, heads, parts, D], as [B, S, heads * D].
Value* packed_part(Node& n, Value* packed, int64_t at) { return n.reshape(n.gather(packed, n.int_scalar(at), 3), {0, 0, -1}); }

Heads unpack_heads(Node& n) {
  Heads h{n.need(0), n.in(1), n.in(2)};
  if (!h.k && n.rank(h.q) == 5) return {packed_part(n, h.q, 0), packed_part(n, h.q, 1), packed_part(n, h.q, 2)};
  if (h.k && !h.v && n.rank(h.k) == 5) return {h.q, packed_part(n, h.k, 0), packed_part(n, h.k, 1)};
  if (!h.k || !h.v) n.fail(unsupported("MultiHeadAttention without key and value"));
  return h;
}

void add_bias(Node& n, Heads& h, Value* bias) {
  int64_t at = 0;
  for (Value** v : {&h.q, &h.k, &h.v}) {
    if (n.rank(*v) != 3) n.fail(unsupported("a bias of keys that have been split into heads in " + n.type()));
    int64_t size = last_dim(n, *v, "the hidden dim");
    *v = n.add(*v, n.slice(bias, 0, at, at + size));
    at += size;
  }
}

// What is added to the scores: the filter value where the mask [B, T] or [B, S, T] holds 0, and the bias.
Value* score_bias(Node& n, DType t, Value* mask, Value* bias, double filter) {
  if (!mask) return bias;
  int rank = n.rank(mask);
  if (rank != 2 && rank != 3) n.fail(unsupported("a key_padding_mask of rank " + std::to_string(rank)));
  Value* keep = n.cast(n.unsqueeze(mask, rank == 2 ? std::vector<int64_t>{1, 2} : std::vector<int64_t>{1}), DType::b1);
  Value* added = n.op(OpKind::where, {keep, n.scalar(t, 0), n.scalar(t, filter)});
  return bias ? n.add(bias, added) : added;
}

// Without trailing absent ones.
std::vector<Value*> trimmed(std::vector<Value*> operands) {
  while (!operands.empty() && !operands.back()) operands.pop_back();
  return operands;
}

}  // namespace

Values rule_multi_head_attention(Node& n) {
  for (int i : {8, 9})
    if (n.in(i)) return unsupported("MultiHeadAttention with past_sequence_length or cache_indirection");
  if (n.num_outputs() > 3) return unsupported("the scores of MultiHeadAttention");
  AttentionAttrs a;
  int64_t heads = n.need_int("num_heads");
  a.is_causal = n.int_attr("unidirectional", 0) != 0;
  a.scale = n.float_attr("scale", 0);
  a.has_scale = a.scale != 0;
  double filter = n.float_attr("mask_filter_value", -10000);
  Heads h = unpack_heads(n);
  if (n.in(3)) add_bias(n, h, n.in(3));
  bool split = n.rank(h.k) == 4;
  if (split) {
    h.q = split_heads(n, h.q, heads);
  } else {
    a.q_num_heads = a.kv_num_heads = heads;
  }
  Value* bias = score_bias(n, n.dtype(h.q), n.in(4), n.in(5), filter);
  Op* op = n.create(OpKind::attention, trimmed({h.q, h.k, h.v, bias, n.in(6), n.in(7)}), a.clone(), std::max(n.num_outputs(), 1));
  if (!op) return n.done(nullptr);
  std::vector<Value*> results;
  for (auto& r : op->results) results.push_back(r.get());
  if (split) results[0] = join_heads(n, results[0]);
  return n.done(results);
}

// --- Attention --------------------------------------------------------------------------------------------------------

// One product gives queries, keys and values; past and present are [2, B, heads, length, D], keys first. A mask of one dim
// says where each sequence's keys end, and then, where it is of 2 B elements, where they start.
static Values joint_attention(Node& n, Value* product, Value* mask, Value* past, Value* bias) {
  for (const char* name : {"do_rotary", "past_present_share_buffer"})
    if (n.int_attr(name, 0) != 0) return unsupported(n.type() + " with " + name);
  AttentionAttrs a;
  int64_t heads = n.need_int("num_heads");
  a.q_num_heads = a.kv_num_heads = heads;
  a.is_causal = n.int_attr("unidirectional", 0) != 0;
  a.scale = n.float_attr("scale", 0);
  a.has_scale = a.scale != 0;
  double filter = n.float_attr("mask_filter_value", -10000);
  std::vector<int64_t> sizes = n.ints_attr("qkv_hidden_sizes");
  if (sizes.empty()) sizes.assign(3, last_dim(n, product, "the product") / 3);
  if (sizes.size() != 3) return invalid("Attention's qkv_hidden_sizes must be three");
  for (int64_t s : sizes)
    if (s < 0 || s > int64_t{1} << 40) return invalid("Attention with a hidden dim of " + std::to_string(s));
  Value* parts[3];
  if (n.rank(product) != 3) n.fail(invalid(n.describe() + " takes an input of rank 3"));
  if (n.failed()) return n.done(nullptr);
  for (int64_t i = 0, at = 0; i < 3; at += sizes[i++]) parts[i] = n.slice(product, 2, at, at + sizes[i]);
  Value* before[2] = {};
  for (int i = 0; i < 2 && past; ++i) before[i] = n.gather(past, n.int_scalar(i), 0);
  if (mask && n.rank(mask) == 1) {
    Value* keys = n.dim_of(product, 1);
    if (past) keys = n.add(keys, n.dim_of(past, 3));
    Value *at = n.cast(counted(n, keys), n.dtype(mask)), *ends = mask, *starts = nullptr;
    if (n.type_of(mask).shape[0] == n.type_of(product).shape[0] * 2) {
      mask = n.reshape(mask, {2, -1});
      ends = n.gather(mask, n.int_scalar(0), 0), starts = n.gather(mask, n.int_scalar(1), 0);
    }
    mask = n.op(OpKind::less, {at, n.unsqueeze(ends, {1})});
    if (starts) mask = n.op(OpKind::and_, {mask, n.op(OpKind::greater_or_equal, {at, n.unsqueeze(starts, {1})})});
  }
  bias = score_bias(n, n.dtype(product), mask, bias, filter);
  bool presents = n.wants(1);
  Op* op = n.create(OpKind::attention, trimmed({parts[0], parts[1], parts[2], bias, before[0], before[1]}), a.clone(), presents ? 3 : 1);
  if (!op) return n.done(nullptr);
  if (!presents) return n.done(op->result());
  return n.done({op->result(), n.concat({n.unsqueeze(op->result(1), {0}), n.unsqueeze(op->result(2), {0})}, 0)});
}

Values rule_microsoft_attention(Node& n) {
  n.ignore("rotary_embedding_dim");
  if (n.in(6)) return unsupported("Attention with past_sequence_length");
  Matmul m;
  m.bias = n.in(2);
  return joint_attention(n, matmul(n, n.need(0), n.need(1), m), n.in(3), n.in(4), n.in(5));
}

// Its product is one of integers.
Values rule_qattention(Node& n) {
  Value* product = scaled_product(n, {n.need(0), n.need(3), n.in(6)}, {n.need(1), n.need(4), n.in(7)}, n.need(2));
  return joint_attention(n, product, n.in(5), n.in(8), nullptr);
}

// --- GroupQueryAttention ----------------------------------------------------------------------------------------------

namespace {

struct Gqa {
  int64_t q_heads = 0, kv_heads = 0, window = -1;
  bool rotary = false, interleaved = false;
  int64_t cache_bits = 0;  // of quantised caches, 4 or 8; 0: they are floats
  AttentionAttrs attention;
};

Result<Gqa> gqa_attrs(Node& n) {
  Gqa g;
  g.q_heads = n.need_int("num_heads");
  g.kv_heads = n.need_int("kv_num_heads");
  g.window = n.int_attr("local_window_size", -1);
  g.rotary = n.int_attr("do_rotary", 0) != 0;
  g.interleaved = n.int_attr("rotary_interleaved", 0) != 0;
  g.attention.scale = n.float_attr("scale", 0);
  g.attention.has_scale = g.attention.scale != 0;
  g.attention.softcap = n.float_attr("softcap", 0);
  const bool k_quantised = n.text_attr("k_quant_type", "NONE") != "NONE", v_quantised = n.text_attr("v_quant_type", "NONE") != "NONE";
  g.cache_bits = n.int_attr("kv_cache_bit_width", 0);
  bool plain = n.int_attr("smooth_softmax", 0) <= 0 && n.int_attr("qk_output", 0) == 0 && n.int_attr("causal", 1) != 0 &&
               n.int_attr("sliding_window_cache", 0) == 0;
  for (const char* name : {"qk_norm_epsilon", "q_norm_epsilon", "k_norm_epsilon"}) n.ignore(name);
  if (!plain || n.num_outputs() > 3) return unsupported("GroupQueryAttention with a smooth softmax, a cache of a window, or its scores");
  for (int i = 11; i < n.num_inputs(); ++i)
    if (n.in(i) && !(k_quantised && (i == 12 || i == 13))) return unsupported("input " + std::to_string(i) + " of GroupQueryAttention");
  if (k_quantised != v_quantised || !(k_quantised ? g.cache_bits == 4 || g.cache_bits == 8 : g.cache_bits == 0))
    return unsupported("GroupQueryAttention whose caches are quantised with " + std::to_string(g.cache_bits) + " bits, or only one of them");
  if (g.q_heads <= 0 || g.kv_heads <= 0 || g.q_heads > 1 << 20 || g.kv_heads > g.q_heads)
    return invalid("GroupQueryAttention with a wrong number of heads");
  return g;
}

Heads gqa_heads(Node& n, const Gqa& g) {
  Heads h{n.need(0), n.in(1), n.in(2)};
  if (!h.k) {
    int64_t size = last_dim(n, h.q, "the packed query") / (g.q_heads + 2 * g.kv_heads);
    int64_t q = g.q_heads * size, k = q + g.kv_heads * size;
    h = {n.slice(h.q, 2, 0, q), n.slice(h.q, 2, q, k), n.slice(h.q, 2, k, k + g.kv_heads * size)};
  }
  return {split_heads(n, h.q, g.q_heads), split_heads(n, h.k, g.kv_heads), split_heads(n, h.v, g.kv_heads)};
}

// The past, made long enough for `total` tokens, with the new rows at their places.
Value* written(Node& n, Value* past, Value* rows, Value* total, Value* starts) {
  if (!past) return rows;
  Value* length = n.dim_of(past, 2);
  Value* more = n.sub(n.op(OpKind::max, {length, total}), length);
  Value* room = n.op(OpKind::pad, {past, n.concat({n.ints({0, 0, 0, 0, 0, 0}), more, n.ints({0})}, 0)}, PadAttrs());
  return n.op(OpKind::tensor_scatter, {room, rows, starts}, TensorScatterAttrs());
}

// Rows in the form of a quantised cache: numbers of 8 bits, or two of 4 bits, each plus 8, in a byte with the first in the low
// bits. One scale for all, or scales that broadcast to the rows.
Value* to_cache(Node& n, Value* rows, Value* scale, int64_t bits, DType t) {
  const bool one = n.rank(scale) <= 1;
  Value* x = one ? rows : n.div(rows, scale);
  if (!one) scale = n.scalar(n.dtype(rows), 1);
  if (bits == 8) return quantized(n, x, scale, nullptr, 0, t);
  Value* pairs = n.reshape(n.cast(quantized(n, x, scale, n.scalar(DType::u4, 8), 0, DType::u4), DType::u8), {0, 0, 0, -1, 2});
  Value *low = n.gather(pairs, n.int_scalar(0), 4), *high = n.gather(pairs, n.int_scalar(1), 4);
  return n.add(low, n.mul(high, n.scalar(DType::u8, 16)));
}
Value* from_cache(Node& n, Value* cache, Value* scale, int64_t bits, DType t) {
  Value* zero = bits == 4 ? n.scalar(DType::u4, 8) : nullptr;
  Value* one = n.rank(scale) <= 1 ? scale : n.scalar(DType::f32, 1);
  Value* v = dequantized(n, bits == 4 ? unpacked(n, cache, 4) : cache, one, zero, 0);
  return n.cast(one == scale ? v : n.mul(v, scale), t);
}

// Whether it is known that no sequence is padded and that the new rows come right behind the past: then the cache grows by
// them. seen: the tokens of each sequence after this step.
bool only_grows(Node& n, const Value* past, const Value* total, const Value* seen) {
  const std::vector<Dim>*all = known_of(total), *each = known_of(seen);
  if (!past || !all || !each || all->size() != 1 || n.rank(past) != 4 || n.rank(n.need(0)) != 3) return false;
  const Dim grown = past->type.shape[2] + n.need(0)->type.shape[1];
  return (*all)[0] == grown && std::all_of(each->begin(), each->end(), [&](const Dim& d) { return d == grown; });
}

}  // namespace

// Key rows of the cache beyond a sequence's own length are padding; each query sees those up to its own position. Without
// padding that is plain causal attention behind a past.
Values rule_group_query_attention(Node& n) {
  auto g = gqa_attrs(n);
  if (!g.ok()) return std::move(g.error());
  Value *past_k = n.in(3), *past_v = n.in(4), *cos = n.in(7), *bias = n.in(10);
  Value *total = int_vector(n, n.need(6)), *length = n.dim_of(n.need(0), 1);
  Heads h = gqa_heads(n, *g);
  // A prompt starts at 0 however long its sequences are; later steps stand at the end of each.
  Value* seen = n.add(int_vector(n, n.need(5)), n.ints({1}));
  const bool grows = only_grows(n, past_k, total, seen) && past_v && g->window <= 0 && !bias;
  Value* starts = n.sub(seen, length);
  if (!grows) starts = n.op(OpKind::where, {n.op(OpKind::equal, {total, length}), n.ints({0}), starts});
  Value* positions = n.add(n.unsqueeze(starts, {1}), counted(n, length));
  if (g->rotary) {
    RotaryAttrs r;
    r.interleaved = g->interleaved;
    r.rotary_embedding_dim = 2 * last_dim(n, cos, "cos_cache");
    Value* at = n.in(9) ? n.in(9) : positions;
    h.q = n.op(OpKind::rotary_embedding, {h.q, cos, n.need(8), at}, r);
    h.k = n.op(OpKind::rotary_embedding, {h.k, cos, n.need(8), at}, r);
  }
  Value *k = h.k, *v = h.v;
  const DType cache = past_k ? n.dtype(past_k) : g->cache_bits == 4 ? DType::u8 : DType::i8;
  if (g->cache_bits) k = to_cache(n, k, n.need(12), g->cache_bits, cache), v = to_cache(n, v, n.need(13), g->cache_bits, cache);
  if (grows && !g->cache_bits) {
    g->attention.is_causal = true;
    Op* op = n.create(OpKind::attention, {h.q, h.k, h.v, nullptr, past_k, past_v}, g->attention.clone(), 3);
    return op ? n.done({join_heads(n, op->result()), op->result(1), op->result(2)}) : n.done(nullptr);
  }
  Value* present_k = grows ? n.concat({past_k, k}, 2) : written(n, past_k, k, total, starts);
  Value* present_v = grows ? n.concat({past_v, v}, 2) : written(n, past_v, v, total, starts);
  k = present_k, v = present_v;
  if (g->cache_bits) k = from_cache(n, k, n.in(12), g->cache_bits, n.dtype(h.q)), v = from_cache(n, v, n.in(13), g->cache_bits, n.dtype(h.q));
  Value *keys = counted(n, n.dim_of(present_k, 2)), *at = n.unsqueeze(positions, {1, 3});
  Value* mask = n.op(OpKind::less_or_equal, {keys, at});
  if (g->window > 0) mask = n.op(OpKind::and_, {mask, n.op(OpKind::greater, {keys, n.sub(at, n.ints({g->window}))})});
  if (bias) mask = n.op(OpKind::where, {mask, bias, n.scalar(n.dtype(bias), -INFINITY)});
  Value* y = n.op(OpKind::attention, {h.q, k, v, mask}, g->attention);
  return n.done({join_heads(n, y), present_k, present_v});
}

}  // namespace weft
