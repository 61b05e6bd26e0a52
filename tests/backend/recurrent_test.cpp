// Recurrent layers and Fourier transforms on the CPU.
#include "ir/ops/rnn.h"
#include "ir/ops/signal.h"
#include "tests/backend/support.h"

namespace weft::backend_test::recurrent {

namespace {

const Dim B = Dim::symbol("b"), S = Dim::symbol("s");

// All operands of a layer with 5 inputs and 4 numbers a state; lengths may be null.
Op* layer(TestGraph& g, OpKind kind, const RnnAttrs& a, Value* lengths) {
  Dim d = rnn_directions(a), n = rnn_gates(kind) * 4;
  Shape state = a.layout == 0 ? Shape{d, B, 4} : Shape{B, d, 4};
  Value* x = g.input(DType::f32, a.layout == 0 ? Shape{S, B, 5} : Shape{B, S, 5});
  std::vector<Value*> in{x, g.input(DType::f32, {d, n, 5}), g.input(DType::f32, {d, n, 4}), g.input(DType::f32, {d, n * Dim(2)}), lengths,
                         g.input(DType::f32, state)};
  if (kind == OpKind::lstm) in.insert(in.end(), {g.input(DType::f32, state), g.input(DType::f32, {d, 12})});
  return g.make(kind, in, a, kind == OpKind::lstm ? 3 : 2);
}
std::vector<Value*> results(Op* op) {
  std::vector<Value*> out;
  for (auto& r : op->results) out.push_back(r.get());
  return out;
}

}  // namespace

TEST(Recurrent, KindsDirectionsLayouts) {
  for (OpKind kind : {OpKind::lstm, OpKind::gru, OpKind::rnn})
    for (const char* direction : {"forward", "reverse", "bidirectional"}) {
      TestGraph g;
      g.bind("b", 3);
      g.bind("s", 6);
      RnnAttrs a;
      a.direction = direction;
      a.layout = direction[0] == 'r' ? 1 : 0;
      a.linear_before_reset = direction[0] == 'b';
      g.check(results(layer(g, kind, a, nullptr)), Bound::range(64));
    }
}
TEST(Recurrent, LengthsAndOneStep) {
  for (int64_t steps : {1, 4}) {
    TestGraph g;
    g.bind("b", 2);
    g.bind("s", steps);
    RnnAttrs a;
    a.direction = "bidirectional";
    a.clip = 0.75;
    Value* lengths = g.input(tensor_of_values<int64_t>(DType::i32, {2}, {steps, steps / 2}), Shape{B});
    g.check(results(layer(g, OpKind::lstm, a, lengths)), Bound::range(64));
  }
}

TEST(Fourier, TransformsAndFrames) {
  TestGraph g;
  g.bind("b", 2);
  DftAttrs one, inverse;
  one.onesided = true;
  inverse.inverse = true;
  Value* spectrum = g.op(OpKind::dft, {g.input(DType::f32, {B, 30, 1})}, one);
  Value* back = g.op(OpKind::dft, {g.input(DType::f32, {B, 12, 2})}, inverse);
  StftAttrs s;
  Value* step = g.constant(tensor_of_values<int64_t>(DType::i64, {}, {4}));
  Value* frames = g.op(OpKind::stft, {g.input(DType::f32, {B, 40, 1}), step, g.input(DType::f32, {16})}, s);
  g.check({spectrum, back, frames}, Bound::range(32));
}
TEST(Signal, WindowsOfRuntimeSizes) {
  TestGraph g;
  Value* n = g.input(tensor_of_values<int64_t>(DType::i32, {}, {10}));
  SignalWindowAttrs a;
  std::vector<Value*> out;
  for (OpKind k : {OpKind::hann_window, OpKind::hamming_window, OpKind::blackman_window}) out.push_back(g.op(k, {n}, a));
  g.check(out, Bound::range(8));
}

}  // namespace weft::backend_test::recurrent
