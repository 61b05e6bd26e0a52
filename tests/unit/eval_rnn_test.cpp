// Recurrent ops of one hidden number, against their formulas.
#include "ir/ops/rnn.h"

#include "tests/unit/eval_support.h"

namespace weft::eval_test::rnn {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(EvalRnn, LstmWithPeepholesAndStates) {
  // i o f c
  Tensor x = f32({2, 1, 1}, {1, -2}), w = f32({1, 4, 1}, {0.5, -0.25, 0.75, 1}), r = f32({1, 4, 1}, {0.1, 0.2, 0.3, 0.4});
  Tensor b = f32({1, 8}, {0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08});
  Tensor h0 = f32({1, 1, 1}, {0.3}), c0 = f32({1, 1, 1}, {-0.7}), p = f32({1, 3}, {0.2, 0.3, 0.4});
  double h = 0.3, c = -0.7;
  Doubles want;
  for (double e : {1.0, -2.0}) {
    double i = sigmoid(0.5 * e + 0.1 * h + 0.06 + 0.2 * c), f = sigmoid(0.75 * e + 0.3 * h + 0.1 + 0.4 * c);
    double g = std::tanh(e + 0.4 * h + 0.12), next = f * c + i * g, o = sigmoid(-0.25 * e + 0.2 * h + 0.08 + 0.3 * next);
    c = next;
    h = o * std::tanh(c);
    want.push_back(h);
  }
  auto out = run_op(OpKind::lstm, {x, w, r, b, {}, h0, c0, p}, RnnAttrs(), 3);
  expect_near(doubles(out, 0), want);
  EXPECT_EQ(result_of(out, 0).dims, (Ints{2, 1, 1, 1}));
  expect_near(doubles(out, 1), {h});
  expect_near(doubles(out, 2), {c});
}

TEST(EvalRnn, GruResetBeforeAndAfter) {
  // z r h
  Tensor x = f32({1, 1, 1}, {2}), w = f32({1, 3, 1}, {0.1, 0.2, 0.3}), r = f32({1, 3, 1}, {0.4, 0.5, 0.6});
  Tensor b = f32({1, 6}, {0, 0, 0.1, 0, 0, 0.2}), h0 = f32({1, 1, 1}, {0.5});
  double z = sigmoid(0.2 + 0.2), reset = sigmoid(0.4 + 0.25);
  RnnAttrs a;
  auto out = run_op(OpKind::gru, {x, w, r, b, {}, h0}, a, 2);
  expect_near(doubles(out), {(1 - z) * std::tanh(0.6 + 0.6 * reset * 0.5 + 0.3) + z * 0.5});
  a.linear_before_reset = true;
  out = run_op(OpKind::gru, {x, w, r, b, {}, h0}, a, 2);
  expect_near(doubles(out), {(1 - z) * std::tanh(0.6 + 0.1 + reset * (0.3 + 0.2)) + z * 0.5});
}

TEST(EvalRnn, DirectionsLengthsAndBatchFirst) {
  // h' = x + 10 h
  RnnAttrs a;
  a.activations = {"Affine", "affine"};
  a.activation_alpha = {1, 1};
  a.activation_beta = {0, 0};
  a.direction = "bidirectional";
  a.layout = 1;
  Tensor x = f32({2, 3, 1}, {1, 2, 3, 4, 5, 6}), w = f32({2, 1, 1}, {1, 1}), r = f32({2, 1, 1}, {10, 10}), lengths = ints(DType::i32, {2}, {3, 2});
  auto out = run_op(OpKind::rnn, {x, w, r, {}, lengths}, a, 2);
  EXPECT_EQ(result_of(out).dims, (Ints{2, 3, 2, 1}));
  EXPECT_EQ(doubles(out), (Doubles{1, 321, 12, 32, 123, 3, 4, 54, 45, 5, 0, 0}));
  EXPECT_EQ(doubles(out, 1), (Doubles{123, 321, 45, 54}));
  a.direction = "reverse";
  a.layout = 0;
  out = run_op(OpKind::rnn, {f32({3, 1, 1}, {1, 2, 3}), f32({1, 1, 1}, {1}), f32({1, 1, 1}, {10})}, a, 2);
  EXPECT_EQ(doubles(out), (Doubles{321, 32, 3}));
}

TEST(EvalRnn, AnInputOfUnknownRankHasThreeDims) {
  Module m;
  Graph* g = m.add_graph("main");
  auto x = [&](Type t) { return g->add_input(std::move(t), "x"); };
  Value *w = x(Type::tensor(DType::f32, {1, 8, 3})), *r = x(Type::tensor(DType::f32, {1, 8, 2}));
  auto op = Builder(g).create(OpKind::lstm, {x(Type::unranked(DType::f32)), w, r}, nullptr, 2);
  ASSERT_TRUE(op.ok()) << op.error().to_string();
  const Shape &y = (*op)->result(0)->type.shape, &h = (*op)->result(1)->type.shape;
  ASSERT_EQ(y.size(), 4u);
  EXPECT_EQ(y[3], 2);
  EXPECT_EQ(h, (Shape{1, y[2], 2}));
}

TEST(EvalRnn, ActivationParametersAndClip) {
  RnnAttrs a;
  a.clip = 2;
  a.activations = {"HardSigmoid", "LeakyRelu", "ScaledTanh"};
  a.activation_alpha = {0.25, 0.5};
  auto f = rnn_activations(OpKind::lstm, a);
  ASSERT_TRUE(f.ok());
  EXPECT_EQ((*f)[0].alpha, 0.25);
  EXPECT_EQ((*f)[0].beta, 0.5);
  EXPECT_EQ((*f)[1].alpha, 0.5);
  EXPECT_EQ((*f)[2].alpha, 1);
  a.activations = {"Relu"};
  EXPECT_EQ(doubles(run_op(OpKind::rnn, {f32({1, 1, 1}, {5}), f32({1, 1, 1}, {1}), f32({1, 1, 1}, {1})}, a)), (Doubles{2}));
  EXPECT_FALSE(rnn_activations(OpKind::gru, a).ok());
  a.activations = {"Swoosh"};
  EXPECT_EQ(rnn_activations(OpKind::rnn, a).error().code, Code::kInvalidModel);
  EXPECT_FALSE(run_op(OpKind::rnn, {f32({1, 1, 2}, {5, 5}), f32({1, 1, 1}, {1}), f32({1, 1, 1}, {1})}).ok());
}

}  // namespace
}  // namespace weft::eval_test::rnn
