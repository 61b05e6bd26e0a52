// Attributes of attention and of the other ops of language models. Names and defaults are ONNX's newest opset.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

// attention(q, k, v, mask?, past_key?, past_value?, nonpad_kv_seqlen?) -> y, present_key?, present_value?, scores?
//   q, k, v: [B, heads, S, D], or [B, S, heads*D] with q_num_heads and kv_num_heads; v has a D of its own, y is [B, Hq, S, Dv]
//   or [B, S, Hq*Dv]. Query head h reads key head h / (Hq/Hkv). past and present are [B, Hkv, length, D] always:
//   present = past ++ new along the length.
//   y = softmax(softcap(scale * q k') + bias) v. bias: the mask (bool: true attends; else added), broadcast to [B, Hq, S, T],
//   where a shorter last dim is filled up with "does not attend".
//   nonpad_kv_seqlen[B]: keys from there on are padding. With past operands it counts these too.
//   Query i stands at position p = i + offset; offset = nonpad_kv_seqlen[b] - S if given, else T - S with queries_last (ours),
//   else the length of past. is_causal:
//   keys j <= p are seen. Windows: j >= p - left_window_size, j <= p + right_window_size; -1 is no limit.
//   A query that sees no key (every score is -inf) gives zeros, not NaN.
// scores by qk_matmul_output_mode: 0 scale * q k', 1 after softcap, 2 after bias, 3 after softmax.
struct AttentionAttrs : AttrsOf<AttentionAttrs> {
  bool is_causal = false;
  int64_t q_num_heads = 0, kv_num_heads = 0;  // 0: from the shapes (rank 4)
  int64_t left_window_size = -1, right_window_size = -1;
  int64_t qk_matmul_output_mode = 0;
  bool queries_last = false;                  // the queries stand at the last keys, as with a past that is part of k
  bool has_scale = false;                     // else 1 / sqrt(D)
  double scale = 1;
  double softcap = 0;                         // 0: none
  bool has_softmax_precision = false;         // else q's type or f32, whichever is wider
  DType softmax_precision = DType::f32;
  void fields(FieldVisitor& v) {
    v.field("is_causal", is_causal);
    v.field("q_num_heads", q_num_heads);
    v.field("kv_num_heads", kv_num_heads);
    v.field("left_window_size", left_window_size);
    v.field("right_window_size", right_window_size);
    v.field("qk_matmul_output_mode", qk_matmul_output_mode);
    v.field("queries_last", queries_last);
    v.field("has_scale", has_scale);
    v.field("scale", scale);
    v.field("softcap", softcap);
    v.field("has_softmax_precision", has_softmax_precision);
    v.field("softmax_precision", softmax_precision);
  }
};

// What the operands' dims mean. keys = past + new_keys.
struct AttentionShape {
  bool packed = false;  // q, k, v of rank 3
  Dim batch, q_heads, kv_heads, queries, past, new_keys, keys, head, v_head;
};
Result<AttentionShape> attention_shape(const Op& op);

// rotary_embedding(x, cos, sin, position_ids?) -> y of x's type
//   x: [B, heads, S, D], or [B, S, heads*D] with num_heads. cos and sin: [positions, R/2] with position_ids[B, S], else
//   [B, S, R/2], where B may be 1. R = rotary_embedding_dim, or D when 0; channels from R on are copied.
//   Channel pairs: (c, c + R/2), or (2c, 2c+1) when interleaved.
struct RotaryAttrs : AttrsOf<RotaryAttrs> {
  bool interleaved = false;
  int64_t num_heads = 0, rotary_embedding_dim = 0;
  void fields(FieldVisitor& v) {
    v.field("interleaved", interleaved);
    v.field("num_heads", num_heads);
    v.field("rotary_embedding_dim", rotary_embedding_dim);
  }
};

// linear_attention(query[B,T,Hq*dk], key[B,T,H*dk], value[B,T,H*dv], past_state[B,H,dk,dv]?, decay?, beta?)
//   -> output[B,T,Hq*dv], present_state?
//   Each step: S *= exp(decay) (gated rules); v = beta * (v - S'k) (delta rules); S += k v'; output = scale * S'q.
//   decay: [B,T,H] or [B,T,H*dk]; beta: [B,T,H] or [B,T,1]. The state is kept in f32 or wider.
struct LinearAttentionAttrs : AttrsOf<LinearAttentionAttrs> {
  int64_t q_num_heads = 0, kv_num_heads = 0;
  std::string update_rule = "gated_delta";  // linear, gated, delta, gated_delta
  double scale = 0;                         // 0: 1 / sqrt(dk)
  int64_t chunk_size = 64;                  // a hint
  void fields(FieldVisitor& v) {
    v.field("q_num_heads", q_num_heads);
    v.field("kv_num_heads", kv_num_heads);
    v.field("update_rule", update_rule);
    v.field("scale", scale);
    v.field("chunk_size", chunk_size);
  }
};

// causal_conv_with_state(x[B,C,L], weight[C,1,k], bias[C]?, past_state[B,C,k-1]?) -> y[B,C,L], present_state[B,C,k-1]?
//   A depthwise convolution over past_state (or zeros) ++ x; present_state is the end of that.
struct CausalConvAttrs : AttrsOf<CausalConvAttrs> {
  std::string activation = "none";  // none, silu, swish (= silu)
  void fields(FieldVisitor& v) { v.field("activation", activation); }
};

}  // namespace weft
