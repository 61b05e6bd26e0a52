// Softmax, normalisations and losses: what ONNX's recorded cases leave out (infinities, broadcast parameters, training
// mode, residual sums, weights that do not fit).
#include "ir/ops/norm.h"

#include "ir/ops/loss.h"
#include "tests/unit/eval_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

TEST(EvalNorm, SoftmaxAlongAnyAxis) {
  SoftmaxAttrs a;
  a.axis = 0;
  Tensor x = f32({2, 2}, {0, 1000, 0, -kInf});
  expect_near(doubles(run_op(OpKind::softmax, {x}, a)), {0.5, 1, 0.5, 0});
  expect_near(doubles(run_op(OpKind::log_softmax, {x}, a)), {-std::log(2.0), 0, -std::log(2.0), -kInf});
  expect_near(doubles(run_op(OpKind::softmax, {f32({2}, {-kInf, -kInf})})), {NAN, NAN});
  EXPECT_EQ(result_of(run_op(OpKind::softmax, {f32({0, 3}, {})})).dims, (Ints{0, 3}));
  EXPECT_EQ(result_of(run_op(OpKind::softmax, {f32({3, 0}, {})})).dims, (Ints{3, 0}));
  a.axis = 2;
  EXPECT_FALSE(run_op(OpKind::softmax, {x}, a).ok());
}

TEST(EvalNorm, HardmaxAndLpOfZero) {
  EXPECT_EQ(doubles(run_op(OpKind::hardmax, {f32({2, 3}, {1, 3, 3, 0, NAN, 9})})), (Doubles{0, 1, 0, 0, 1, 0}));
  LpNormAttrs a;
  a.p = 1;
  expect_near(doubles(run_op(OpKind::lp_normalization, {f32({2, 2}, {-1, 3, 0, 0})}, a)), {-0.25, 0.75, 0, 0});
  a.p = 3;
  EXPECT_EQ(run_op(OpKind::lp_normalization, {f32({1}, {1})}, a).error().code, Code::kInvalidModel);
}

TEST(EvalNorm, BatchInferenceAndTraining) {
  Tensor x = f32({2, 2, 1}, {1, 10, 3, 30}), scale = f32({2}, {1, 2}), bias = f32({2}, {0, 1}), mean = f32({2}, {2, 20}), var = f32({2}, {4, 100});
  BatchNormAttrs a;
  a.epsilon = 0;
  expect_near(doubles(run_op(OpKind::batch_normalization, {x, scale, bias, mean, var}, a)), {-0.5, -1, 0.5, 3});
  a.training_mode = true;
  a.momentum = 0.5;
  auto r = run_op(OpKind::batch_normalization, {x, scale, bias, f32({2}, {0, 0}), f32({2}, {1, 1})}, a, 3);
  expect_near(doubles(r, 0), {-1, -1, 1, 3});
  expect_near(doubles(r, 1), {1, 10});
  expect_near(doubles(r, 2), {1, 50.5});
  EXPECT_FALSE(run_op(OpKind::batch_normalization, {x, f32({3}, {1, 2, 3}), bias, mean, var}, a).ok());
}

TEST(EvalNorm, GroupsAreInstancesWhenAsManyAsChannels) {
  Tensor x = f32({1, 2, 2}, {1, 3, 10, 30}), scale = f32({2}, {1, 2}), bias = f32({2}, {0, 1});
  GroupNormAttrs g;
  g.epsilon = 0;
  g.num_groups = 2;
  InstanceNormAttrs i;
  i.epsilon = 0;
  Doubles want{-1, 1, -1, 3};
  expect_near(doubles(run_op(OpKind::group_normalization, {x, scale, bias}, g)), want);
  expect_near(doubles(run_op(OpKind::instance_normalization, {x, scale, bias}, i)), want);
  g.num_groups = 3;
  EXPECT_FALSE(run_op(OpKind::group_normalization, {x, scale, bias}, g).ok());
}

TEST(EvalNorm, LayerSavesStatistics) {
  Tensor x = f32({2, 2}, {1, 3, 4, 4});
  LayerNormAttrs a;
  a.epsilon = 1;
  auto r = run_op(OpKind::layer_normalization, {x, f32({2}, {1, 10}), f32({1}, {1})}, a, 3);
  double s = 1 / std::sqrt(2.0);
  expect_near(doubles(r, 0), {1 - s, 1 + 10 * s, 1, 1});
  EXPECT_EQ(result_of(r, 1).dims, (Ints{2, 1}));
  expect_near(doubles(r, 1), {2, 4});
  expect_near(doubles(r, 2), {s, 1});
  // A scale that varies along a leading dim.
  expect_near(doubles(run_op(OpKind::layer_normalization, {x, f32({2, 1}, {1, 5}), Operand()}, a)), {-s, s, 0, 0});
  EXPECT_FALSE(run_op(OpKind::layer_normalization, {x, f32({3}, {1, 2, 3})}, a).ok());
}

TEST(EvalNorm, RmsHasTheScalesType) {
  LayerNormAttrs a;
  a.epsilon = 0;
  auto r = run_op(OpKind::rms_normalization, {floats(DType::f16, {2}, {3, 4}), f32({2}, {1, 2})}, a);
  EXPECT_EQ(result_of(r).dtype, DType::f32);
  expect_near(doubles(r), {3 / std::sqrt(12.5), 8 / std::sqrt(12.5)});
}

TEST(EvalNorm, SkipAddsBeforeNormalising) {
  Tensor x = f32({1, 2, 2}, {1, 2, 3, 4}), skip = f32({1, 2, 2}, {0, 1, -3, 0}), gamma = f32({2}, {1, 2}),
         beta = f32({2}, {0, 10}), bias = f32({2}, {1, 0});
  SkipLayerNormAttrs a;
  a.epsilon = 0;
  auto r = run_op(OpKind::skip_layer_normalization, {x, skip, gamma, beta, bias}, a, 4);
  expect_near(doubles(r, 3), {2, 3, 1, 4});
  expect_near(doubles(r, 0), {-1, 12, -1, 12});
  expect_near(doubles(r, 1), {2.5, 2.5});
  expect_near(doubles(r, 2), {2, 1 / 1.5});
  a.simplified = true;
  auto rms = run_op(OpKind::skip_layer_normalization, {x, skip, gamma}, a);
  double q = 1 / std::sqrt(5.0);
  expect_near(doubles(rms), {q, 6 * q, 0, 2 * std::sqrt(2.0)});
}

TEST(EvalNorm, LrnWindowOfEvenSize) {
  LrnAttrs a;
  a.size = 2;
  a.alpha = 2;
  a.beta = 1;
  // Channel c sees c and c + 1.
  expect_near(doubles(run_op(OpKind::lrn, {f32({1, 3, 1}, {1, 2, 3})}, a)), {1.0 / 6, 2.0 / 14, 3.0 / 10});
}

TEST(EvalLoss, WeightsAndIgnoredTargets) {
  Tensor log_p = f32({3, 2}, {-1, -2, -3, -4, -5, -6}), weight = f32({2}, {1, 3});
  LossAttrs a;
  Tensor target = i64({3}, {0, 1, 1});
  expect_near(doubles(run_op(OpKind::negative_log_likelihood_loss, {log_p, target}, a)), {11.0 / 3});
  expect_near(doubles(run_op(OpKind::negative_log_likelihood_loss, {log_p, target, weight}, a)), {(1 + 12 + 18) / 7.0});
  a.has_ignore_index = true;
  a.ignore_index = -7;
  Tensor ignoring = i64({3}, {0, -7, 1});
  expect_near(doubles(run_op(OpKind::negative_log_likelihood_loss, {log_p, ignoring, weight}, a)), {(1 + 18) / 4.0});
  a.reduction = "none";
  expect_near(doubles(run_op(OpKind::negative_log_likelihood_loss, {log_p, ignoring}, a)), {1, 0, 6});
  EXPECT_EQ(run_op(OpKind::negative_log_likelihood_loss, {log_p, i64({3}, {0, 2, 0})}, a).error().code, Code::kInvalidModel);
  a.reduction = "sum";
  auto r = run_op(OpKind::softmax_cross_entropy_loss, {f32({1, 2}, {0, 0}), i64({1}, {1})}, a, 2);
  expect_near(doubles(r, 0), {std::log(2.0)});
  expect_near(doubles(r, 1), {-std::log(2.0), -std::log(2.0)});
}

TEST(InferNorm, CostCountsElementsSymbolically) {
  Module m;
  Graph* g = m.add_graph("main");
  Value* x = g->add_input(Type::tensor(DType::f32, {Dim::symbol("n"), 10}), "x");
  Value* y = Builder(g).op(OpKind::softmax, {x});
  Cost c = op_cost(*y->def);
  EXPECT_EQ(c.flops, Dim::symbol("n") * Dim(120));
  EXPECT_EQ(c.bytes, Dim::symbol("n") * Dim(80));
}

}  // namespace
}  // namespace weft::eval_test
