// Pools: values, indices, padding counted or not, ceil_mode, dilations, NaN, empty windows, integers.
#include "ir/ops/pool.h"

#include "tests/unit/infer_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

Tensor square(int64_t n) {
  Doubles v(n * n);
  for (int64_t k = 0; k < n * n; ++k) v[k] = static_cast<double>(k + 1);
  return f32({1, 1, n, n}, v);
}

TEST(EvalPool, MaxWithIndicesInBothOrders) {
  MaxPoolAttrs a;
  a.kernel_shape = {2, 2};
  a.strides = {2, 2};
  auto r = run_op(OpKind::max_pool, {square(4)}, a, 2);
  EXPECT_EQ(doubles(r), (Doubles{6, 8, 14, 16}));
  EXPECT_EQ(integers(r, 1), (Ints{5, 7, 13, 15}));
  a.storage_order = 1;
  EXPECT_EQ(integers(run_op(OpKind::max_pool, {square(4)}, a, 2), 1), (Ints{5, 13, 7, 15}));
  // Indices count through all planes; the first of equals wins.
  MaxPoolAttrs line;
  line.kernel_shape = {2};
  auto two = run_op(OpKind::max_pool, {f32({1, 2, 3}, {1, 1, 0, 4, 5, 5})}, line, 2);
  EXPECT_EQ(integers(two, 1), (Ints{0, 1, 4, 4}));
}

TEST(EvalPool, MaxPaddingDilationCeil) {
  MaxPoolAttrs a;
  a.kernel_shape = {2, 2};
  a.dilations = {2, 2};
  EXPECT_EQ(doubles(run_op(OpKind::max_pool, {square(4)}, a)), (Doubles{11, 12, 15, 16}));
  MaxPoolAttrs line;
  line.kernel_shape = {3};
  line.strides = {2};
  line.ceil_mode = true;
  EXPECT_EQ(doubles(run_op(OpKind::max_pool, {f32({1, 1, 4}, {4, 3, 2, 1})}, line)), (Doubles{4, 2}));
  line.ceil_mode = false;
  line.kernel_shape = {2};
  line.pads = {2, 0};
  EXPECT_EQ(doubles(run_op(OpKind::max_pool, {f32({1, 1, 3}, {-4, NAN, -2})}, line)).size(), 2u);
  expect_near(doubles(run_op(OpKind::max_pool, {f32({1, 1, 3}, {-4, NAN, -2})}, line)), {-kInf, NAN});
  EXPECT_EQ(integers(run_op(OpKind::max_pool, {ints(DType::i8, {1, 1, 3}, {-4, 3, -2})}, line)), (Ints{-128, 3}));
  EXPECT_EQ(integers(run_op(OpKind::max_pool, {ints(DType::u8, {1, 1, 3}, {4, 3, 200})}, line)), (Ints{0, 4}));
}

TEST(EvalPool, AverageCountsPaddingOnRequest) {
  AveragePoolAttrs a;
  a.kernel_shape = {2};
  a.pads = {1, 1};
  Tensor x = f32({1, 1, 3}, {2, 4, 8});
  EXPECT_EQ(doubles(run_op(OpKind::average_pool, {x}, a)), (Doubles{2, 3, 6, 8}));
  a.count_include_pad = true;
  EXPECT_EQ(doubles(run_op(OpKind::average_pool, {x}, a)), (Doubles{1, 3, 6, 4}));
  // What ceil_mode adds beyond the padding is never counted.
  a.pads = {};
  a.strides = {2};
  a.ceil_mode = true;
  EXPECT_EQ(doubles(run_op(OpKind::average_pool, {x}, a)), (Doubles{3, 8}));
}

TEST(EvalPool, LpAndGlobal) {
  LpPoolAttrs a;
  a.kernel_shape = {2};
  expect_near(doubles(run_op(OpKind::lp_pool, {f32({1, 1, 3}, {3, -4, 0})}, a)), {5, 4});
  a.p = 1;
  expect_near(doubles(run_op(OpKind::lp_pool, {f32({1, 1, 3}, {3, -4, 0})}, a)), {7, 4});
  a.p = 3;
  expect_near(doubles(run_op(OpKind::lp_pool, {f32({1, 1, 2}, {1, -2})}, a)), {std::cbrt(9.0)});
  Tensor x = f32({1, 2, 2, 2}, {1, 2, 3, 4, -1, -2, -2, -3});
  auto mean = run_op(OpKind::global_average_pool, {x});
  EXPECT_EQ(result_of(mean).dims, (Ints{1, 2, 1, 1}));
  EXPECT_EQ(doubles(mean), (Doubles{2.5, -2}));
  EXPECT_EQ(doubles(run_op(OpKind::global_max_pool, {x})), (Doubles{4, -1}));
  expect_near(doubles(run_op(OpKind::global_lp_pool, {x})), {std::sqrt(30.0), std::sqrt(18.0)});
}

TEST(EvalPool, Errors) {
  EXPECT_FALSE(run_op(OpKind::max_pool, {square(2)}, MaxPoolAttrs{}).ok());
  MaxPoolAttrs a;
  a.kernel_shape = {3, 3};
  EXPECT_FALSE(run_op(OpKind::max_pool, {square(2)}, a).ok());
  a.kernel_shape = {2};
  EXPECT_FALSE(run_op(OpKind::max_pool, {square(2)}, a).ok());
  AveragePoolAttrs v;
  v.kernel_shape = {1};
  EXPECT_FALSE(run_op(OpKind::average_pool, {i64({1, 1, 1}, {1})}, v).ok());
}

}  // namespace
}  // namespace weft::eval_test
