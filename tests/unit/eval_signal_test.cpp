// Fourier transforms against sums written out, windows and mel filters against values known by hand.
#include "ir/ops/signal.h"

#include "tests/unit/eval_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

TEST(EvalSignal, DftOfShortSignals) {
  Tensor x = f32({1, 4, 1}, {1, 2, 3, 4});
  auto r = run_op(OpKind::dft, {x});
  EXPECT_EQ(result_of(r).dims, (Ints{1, 4, 2}));
  expect_near(doubles(r), {10, 0, -2, 2, -2, 0, -2, -2});
  DftAttrs one;
  one.onesided = true;
  expect_near(doubles(run_op(OpKind::dft, {x, fixed(i64({}, {3}))}, one)), {6, 0, -1.5, std::sqrt(3.0) / 2});
  DftAttrs inverse;
  inverse.inverse = true;
  Tensor spectrum = f32({1, 4, 2}, {10, 0, -2, 2, -2, 0, -2, -2});
  expect_near(doubles(run_op(OpKind::dft, {spectrum}, inverse)), {1, 0, 2, 0, 3, 0, 4, 0});
  inverse.onesided = true;
  auto real = run_op(OpKind::dft, {f32({1, 3, 2}, {10, 0, -2, 2, -2, 0})}, inverse);
  EXPECT_EQ(result_of(real).dims, (Ints{1, 4, 1}));
  expect_near(doubles(real), {1, 2, 3, 4});
}

TEST(EvalSignal, DftAlongAnotherAxis) {
  Tensor x = f32({2, 2, 1}, {1, 2, 3, 5});
  expect_near(doubles(run_op(OpKind::dft, {x, {}, fixed(i64({}, {0}))})), {4, 0, 7, 0, -2, 0, -3, 0});
  EXPECT_FALSE(run_op(OpKind::dft, {x, {}, fixed(i64({}, {2}))}).ok());
  expect_near(doubles(run_op(OpKind::dft, {x, {}, i64({}, {-3})})), {4, 0, 7, 0, -2, 0, -3, 0});
  EXPECT_FALSE(run_op(OpKind::dft, {x, i64({}, {0})}).ok());
}

TEST(EvalSignal, StftFramesAndWindow) {
  Tensor x = f32({1, 5, 1}, {1, 2, 3, 4, 5}), window = f32({2}, {1, 10});
  auto r = run_op(OpKind::stft, {x, fixed(i64({}, {2})), window});
  EXPECT_EQ(result_of(r).dims, (Ints{1, 2, 2, 2}));
  expect_near(doubles(r), {21, 0, -19, 0, 43, 0, -37, 0});
  StftAttrs both;
  both.onesided = false;
  EXPECT_EQ(result_of(run_op(OpKind::stft, {x, fixed(i64({}, {1})), {}, fixed(i64({}, {4}))}, both)).dims, (Ints{1, 2, 4, 2}));
}

TEST(EvalSignal, Windows) {
  SignalWindowAttrs symmetric;
  symmetric.periodic = false;
  expect_near(doubles(run_op(OpKind::hann_window, {fixed(i64({}, {4}))})), {0, 0.5, 1, 0.5});
  expect_near(doubles(run_op(OpKind::hann_window, {fixed(i64({}, {3}))}, symmetric)), {0, 1, 0});
  expect_near(doubles(run_op(OpKind::hamming_window, {i64({}, {2})})), {4.0 / 46, 1});
  expect_near(doubles(run_op(OpKind::blackman_window, {fixed(i64({}, {3}))}, symmetric)), {0, 1, 0});
  EXPECT_FALSE(run_op(OpKind::hann_window, {i64({}, {-1})}).ok());
}

TEST(EvalSignal, MelTrianglesStayInside) {
  auto r = run_op(OpKind::mel_weight_matrix, {fixed(i64({}, {8})), fixed(i64({}, {16})), i64({}, {8192}), f32({}, {0}), f32({}, {4096})});
  ASSERT_EQ(result_of(r).dims, (Ints{9, 8}));
  Doubles v = doubles(r);
  // As ONNX's documentation prints it: row 0 and row 4.
  EXPECT_EQ(Doubles(v.begin(), v.begin() + 8), (Doubles{1, 1, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(Doubles(v.begin() + 32, v.begin() + 40), (Doubles{0, 0, 0, 0, 0, 0, 1, 0}));
  EXPECT_TRUE(run_op(OpKind::mel_weight_matrix, {i64({}, {2}), i64({}, {4}), i64({}, {1}), f32({}, {-1e30}), f32({}, {1e30})}).ok());
}

}  // namespace
}  // namespace weft::eval_test
