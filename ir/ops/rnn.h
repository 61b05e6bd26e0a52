// Attributes of lstm, gru and rnn. Names and defaults are ONNX's newest opset.
//
//   lstm(x, w, r, b?, sequence_lens?, initial_h?, initial_c?, p?) -> y?, y_h?, y_c?
//   gru(x, w, r, b?, sequence_lens?, initial_h?) -> y?, y_h?          rnn: alike
//
// layout 0: x[T,B,I], y[T,D,B,H], states [D,B,H]; layout 1: x[B,T,I], y[B,T,D,H], states [B,D,H]. D is the number of
// directions, G the gates: w[D,G*H,I], r[D,G*H,H], b[D,2*G*H] (of w, then of r). Gates in the order i o f c (lstm, p has
// i o f), z r h (gru). Steps from sequence_lens[b] on give zeros in y and leave the states alone; the reverse direction
// starts at the sequence's last element.
#pragma once

#include "ir/core/op_def.h"

namespace weft {

struct RnnAttrs : AttrsOf<RnnAttrs> {
  std::string direction = "forward";           // forward, reverse, bidirectional
  int64_t hidden_size = 0;                     // 0: r's
  int64_t layout = 0;
  double clip = 0;                             // inputs of activations are held within [-clip, clip]; 0: they are not
  // Per direction: f g h (lstm), f g (gru), f (rnn). Empty: Sigmoid and Tanh as ONNX says.
  std::vector<std::string> activations;
  // One for each activation that has such a parameter, in order; where they end the activation's default.
  std::vector<double> activation_alpha, activation_beta;
  bool input_forget = false;                   // lstm alone: f = 1 - i
  bool linear_before_reset = false;            // gru alone
  void fields(FieldVisitor& v) {
    v.field("direction", direction);
    v.field("hidden_size", hidden_size);
    v.field("layout", layout);
    v.field("clip", clip);
    v.field("activations", activations);
    v.field("activation_alpha", activation_alpha);
    v.field("activation_beta", activation_beta);
    v.field("input_forget", input_forget);
    v.field("linear_before_reset", linear_before_reset);
  }
};

// One activation function: affine, elu, hard_sigmoid, leaky_relu, relu, scaled_tanh, sigmoid, softplus, softsign, tanh,
// thresholded_relu; alpha and beta as ONNX describes them.
enum class RnnFn : uint8_t { affine, elu, hard_sigmoid, leaky_relu, relu, scaled_tanh, sigmoid, softplus, softsign, tanh, thresholded_relu };
struct RnnActivation {
  RnnFn fn = RnnFn::tanh;
  double alpha = 0, beta = 0;
};
inline int rnn_directions(const RnnAttrs& a) { return a.direction == "bidirectional" ? 2 : 1; }
inline int rnn_gates(OpKind k) { return k == OpKind::lstm ? 4 : k == OpKind::gru ? 3 : 1; }
// f, g, h of the first direction, then those of the second.
Result<std::vector<RnnActivation>> rnn_activations(OpKind k, const RnnAttrs& a);

}  // namespace weft
