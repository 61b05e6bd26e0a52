// MoE of the com.microsoft dialect: a router sends every token to a few experts, small networks of two or three matrices.
#include <limits>

#include "frontend/onnx/rules/rules.h"
#include "ir/ops/contract.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/sort.h"

namespace weft {

namespace {

struct Experts {
  Node& n;
  std::string activation;
  int64_t fusion;              // of SwiGLU's two halves in fc1: 0 none, 1 alternating, 2 one behind the other
  double alpha, beta, limit;   // of SwiGLU

  Value* swish(Value* x, double a) const {
    AlphaAttrs attrs;
    attrs.alpha = a;
    return n.op(OpKind::swish, {x}, attrs);
  }
  Value* active(Value* x) const {
    if (activation == "relu") return n.op(OpKind::relu, {x});
    if (activation == "silu") return swish(x, 1);
    if (activation == "identity") return x;
    if (activation != "gelu") n.fail(unsupported("MoE with activation_type " + activation));
    GeluAttrs a;
    a.approximate = "tanh";
    return n.op(OpKind::gelu, {x}, a);
  }
  Value* gated(Value* gate, Value* linear) const {
    if (activation != "swiglu") return n.mul(active(gate), linear);
    const DType t = n.dtype(gate);
    if (limit < std::numeric_limits<double>::infinity()) {
      gate = n.op(OpKind::min, {gate, n.scalar(t, limit)});
      linear = n.op(OpKind::max, {n.op(OpKind::min, {linear, n.scalar(t, limit)}), n.scalar(t, -limit)});
    }
    return n.mul(swish(gate, alpha), beta == 0 ? linear : n.add(linear, n.scalar(t, beta)));
  }
  // x [T, in] or [E, T, in] through weights [E, out, in] and a bias [E, out]: [E, T, out].
  Value* linear(Value* x, Value* weights, Value* bias) const {
    Matmul m;
    m.trans_b = true;
    m.bias = bias ? n.unsqueeze(bias, {1}) : nullptr;
    return matmul(n, x, weights, m);
  }
  // One of the two halves of fc1's weights [E, 2 I, in] or of its bias [E, 2 I].
  Value* half(Value* v, int which) const {
    if (!v) return nullptr;
    const Type& t = n.type_of(v);
    if (!t.is_ranked() || t.rank() < 2 || !t.dim(1).is_const() || !t.dim(-1).is_const() || t.dim(1).value() % 2 != 0) {
      n.fail(invalid("fc1 of a fused SwiGLU is " + t.to_string() + ": dim 1 must be an even number"));
      return nullptr;
    }
    const int axis = fusion == 1 ? 2 : 1;
    std::vector<int64_t> dims{0, t.dim(1).value() / 2};
    dims.insert(dims.begin() + axis, 2);
    if (t.rank() == 3) dims.push_back(t.dim(-1).value());
    return n.squeeze(n.slice(n.reshape(v, dims), axis, which, which + 1), {axis});
  }
};

// The matrices and biases of every expert; fc3 and biases may be absent.
struct ExpertWeights {
  Value *fc1, *bias1, *fc2, *bias2, *fc3, *bias3;
};

// How much each expert counts for each token, [T, E]: the softmax of the chosen ones' scores, or of all, else 0. With `given`
// [T, E] those numbers in place of the softmax; scores only choose.
Value* routing(Node& n, Value* scores, Value* given, int64_t chosen, bool normalize) {
  Value* p = n.op(OpKind::softmax, {n.cast(scores, DType::f32)});
  Op* top = n.create(OpKind::top_k, {p, n.ints({chosen})}, std::make_unique<TopKAttrs>(), 2);
  if (!top) return nullptr;
  Value* picked = n.op(OpKind::equal, {n.unsqueeze(top->result(1), {2}), counted(n, n.dim_of(p, 1))});
  Value* weights = n.mul(given ? n.cast(given, DType::f32) : p, n.reduce_sum(n.cast(picked, DType::f32), {1}, false));
  return normalize ? n.div(weights, n.reduce_sum(weights, {1}, true)) : weights;
}

//   y = sum over the chosen experts e of weight_e * (act(x fc1_e') * (x fc3_e') fc2_e')
// Every expert computes every token, and those that a token did not choose count 0: products of equal size whatever the router
// says, which ranks share out by experts.
Values mixture(Node& n, const ExpertWeights& w, Value* routing_weights) {
  const Experts e{n, n.text_attr("activation_type", "relu"), n.int_attr("swiglu_fusion", 0), n.float_attr("activation_alpha", 1),
                  n.float_attr("activation_beta", 0), n.float_attr("swiglu_limit", std::numeric_limits<double>::infinity())};
  const int64_t chosen = n.int_attr("k", 1);
  const bool normalize = n.int_attr("normalize_routing_weights", 0) != 0;
  if (n.int_attr("use_sparse_mixer", 0) != 0) return unsupported(n.type() + " with use_sparse_mixer");
  Value* x = n.need(0);
  const bool swiglu = e.activation == "swiglu", fused = swiglu && e.fusion != 0;
  if (chosen < 1 || e.fusion < 0 || e.fusion > 2)
    return invalid(n.type() + " with k " + std::to_string(chosen) + ", swiglu_fusion " + std::to_string(e.fusion));
  if (swiglu && fused == (w.fc3 != nullptr)) return invalid(n.type() + "'s swiglu takes its linear part from fc3 or from a fused fc1");
  for (Value* v : {w.fc1, w.fc2, w.fc3})
    if (v && n.rank(v) != 3) return invalid(n.type() + "'s weights must have rank 3");
  const int rank = n.rank(x);
  if (n.failed()) return n.done(nullptr);
  if (rank != 2 && rank != 3) return invalid(n.type() + "'s input must have rank 2 or 3");
  Value* tokens = x;
  if (rank == 3) tokens = n.reshape_to(x, n.concat({n.ints({-1}), n.dim_of(x, 2)}, 0));
  Value* inner = nullptr;
  if (fused) {
    inner = e.gated(e.linear(tokens, e.half(w.fc1, 0), e.half(w.bias1, 0)), e.linear(tokens, e.half(w.fc1, 1), e.half(w.bias1, 1)));
  } else {
    Value* gate = e.linear(tokens, w.fc1, w.bias1);
    inner = w.fc3 ? e.gated(gate, e.linear(tokens, w.fc3, w.bias3)) : e.active(gate);
  }
  ContractAttrs sum;
  sum.spec = "te,eth->th";
  Value* weights = n.cast(routing(n, n.need(1), routing_weights, chosen, normalize), n.dtype(x));
  Value* y = n.op(OpKind::contract, {weights, e.linear(inner, w.fc2, w.bias2)}, sum);
  return n.done(rank == 3 ? n.reshape_to(y, n.shape_of(x)) : y);
}

// Of QMoE: matrix `which` (1 to 3) [E, out, in], packed along `in`; scales and zero points for each row [E, out], or for each
// block of a row [E, out, in / block].
Value* unpacked_experts(Node& n, int which, int64_t otherwise, int64_t block) {
  const int at = 3 * which - 1;
  Value *bytes = n.in(at), *scales = n.in(at + 1), *zeros = n.in(10 + which);
  const int64_t bits = n.int_attr(("fc" + std::to_string(which) + "_expert_weight_bits").c_str(), otherwise);
  if (!bytes) return nullptr;
  if (bits != 2 && bits != 4 && bits != 8) n.fail(unsupported("QMoE with " + std::to_string(bits) + " bits"));
  if (n.rank(bytes) != 3 || n.rank(n.need(at + 1)) != (block > 0 ? 3 : 2)) n.fail(invalid(n.describe() + ": weights or scales have a wrong rank"));
  if (n.failed()) return nullptr;
  Value* v = unpacked(n, bytes, bits);
  zeros = packed_zeros(n, zeros, scales, bits);
  if (n.failed()) return nullptr;
  if (block <= 0) {
    const Dim& in = n.type_of(v).shape[2];
    if (!in.is_const() || in.is(0)) return n.fail(unsupported(n.describe() + " with weights of unknown dims")), nullptr;
    block = in.value(), scales = n.unsqueeze(scales, {2}), zeros = n.unsqueeze(zeros, {2});
  }
  return n.cast(block_dequantized(n, v, scales, zeros, 2, block), n.dtype(n.need(0)));
}

}  // namespace

// MoE(x [T, H] or [B, S, H], router scores [T, E], fc1 [E, I or 2 I, H], its bias?, fc2 [E, H, I], its bias?, fc3?, its bias?)
Values rule_experts(Node& n) { return mixture(n, {n.need(2), n.in(3), n.need(4), n.in(5), n.in(6), n.in(7)}, nullptr); }

// QMoE(x, router scores, then weights, scales and bias of each matrix, the zero points of all three, mixing weights?). Weights
// lie as ONNX Runtime's CPU kernels take them.
Values rule_quantized_experts(Node& n) {
  n.ignore("accuracy_level");
  if (n.text_attr("quant_type", "int") != "int") return unsupported("QMoE with quant_type " + n.text_attr("quant_type", ""));
  if (n.int_attr("weights_prepacked", -1) > 0) return unsupported("QMoE whose weights ONNX Runtime has packed for one device");
  if (n.int_attr("swiglu_limit_after_activation", 0) != 0) return unsupported("QMoE with swiglu_limit_after_activation");
  for (int i = 15; i < n.num_inputs(); ++i)
    if (n.in(i)) return unsupported("input " + std::to_string(i) + " of QMoE");
  n.need(2), n.need(5);
  const int64_t bits = n.int_attr("expert_weight_bits", 4), block = n.int_attr("block_size", 0);
  Value* fc[3];
  for (int i = 0; i < 3; ++i) fc[i] = unpacked_experts(n, i + 1, bits, block);
  return n.failed() ? n.done(nullptr) : mixture(n, {fc[0], n.in(4), fc[1], n.in(7), fc[2], n.in(10)}, n.in(14));
}

}  // namespace weft
