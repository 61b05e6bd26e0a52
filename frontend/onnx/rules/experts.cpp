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

// How much each expert counts for each token, [T, E]: the softmax of the chosen ones' scores, or of all, else 0.
Value* routing(Node& n, Value* scores, int64_t chosen, bool normalize) {
  Value* p = n.op(OpKind::softmax, {n.cast(scores, DType::f32)});
  Op* top = n.create(OpKind::top_k, {p, n.ints({chosen})}, std::make_unique<TopKAttrs>(), 2);
  if (!top) return nullptr;
  Value* picked = n.op(OpKind::equal, {n.unsqueeze(top->result(1), {2}), counted(n, n.dim_of(p, 1))});
  Value* weights = n.mul(p, n.reduce_sum(n.cast(picked, DType::f32), {1}, false));
  return normalize ? n.div(weights, n.reduce_sum(top->result(0), {1}, true)) : weights;
}

}  // namespace

// MoE(x [T, H] or [B, S, H], router scores [T, E], fc1 [E, I or 2 I, H], its bias?, fc2 [E, H, I], its bias?, fc3?, its bias?):
//   y = sum over the chosen experts e of weight_e * (act(x fc1_e') * (x fc3_e') fc2_e').
// Every expert computes every token, and those that a token did not choose count 0: products of equal size whatever the router
// says, which ranks share out by experts.
Values rule_experts(Node& n) {
  const Experts e{n, n.text_attr("activation_type", "relu"), n.int_attr("swiglu_fusion", 0), n.float_attr("activation_alpha", 1),
                  n.float_attr("activation_beta", 0), n.float_attr("swiglu_limit", std::numeric_limits<double>::infinity())};
  const int64_t chosen = n.int_attr("k", 1);
  const bool normalize = n.int_attr("normalize_routing_weights", 0) != 0;
  if (n.int_attr("use_sparse_mixer", 0) != 0) return unsupported("MoE with use_sparse_mixer");
  Value *x = n.need(0), *fc1 = n.need(2), *bias1 = n.in(3), *fc3 = n.in(6);
  const bool swiglu = e.activation == "swiglu", fused = swiglu && e.fusion != 0;
  if (chosen < 1 || e.fusion < 0 || e.fusion > 2) return invalid("MoE with k " + std::to_string(chosen) + ", swiglu_fusion " + std::to_string(e.fusion));
  if (swiglu && fused == (fc3 != nullptr)) return invalid("MoE's swiglu takes its linear part from fc3 or from a fused fc1");
  for (Value* w : {fc1, n.need(4), fc3})
    if (w && n.rank(w) != 3) return invalid("MoE's weights must have rank 3");
  const int rank = n.rank(x);
  if (n.failed()) return n.done(nullptr);
  if (rank != 2 && rank != 3) return invalid("MoE's input must have rank 2 or 3");
  Value* tokens = x;
  if (rank == 3) tokens = n.reshape_to(x, n.concat({n.ints({-1}), n.dim_of(x, 2)}, 0));
  Value* inner = nullptr;
  if (fused) {
    inner = e.gated(e.linear(tokens, e.half(fc1, 0), e.half(bias1, 0)), e.linear(tokens, e.half(fc1, 1), e.half(bias1, 1)));
  } else {
    Value* gate = e.linear(tokens, fc1, bias1);
    inner = fc3 ? e.gated(gate, e.linear(tokens, fc3, n.in(7))) : e.active(gate);
  }
  ContractAttrs sum;
  sum.spec = "te,eth->th";
  Value* weights = n.cast(routing(n, n.need(1), chosen, normalize), n.dtype(x));
  Value* y = n.op(OpKind::contract, {weights, e.linear(inner, n.need(4), n.in(5))}, sum);
  return n.done(rank == 3 ? n.reshape_to(y, n.shape_of(x)) : y);
}

}  // namespace weft
