// top_k, unique, non_max_suppression and the random ops.
#include "ir/ops/random.h"
#include "ir/ops/sort.h"
#include "kernels/host/random.h"
#include "kernels/host/sort.h"
#include "tests/unit/eval_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

TEST(EvalSort, TopKOrdersTiesByIndexAndNaNAsGreatest) {
  Tensor x = f32({2, 4}, {3, 1, 3, 2, NAN, 0, 5, 0});
  TopKAttrs a;
  auto r = run_op(OpKind::top_k, {x, fixed(i64({1}, {3}))}, a, 2);
  expect_near(doubles(r, 0), {3, 3, 2, NAN, 5, 0});
  EXPECT_EQ(integers(r, 1), (Ints{0, 2, 3, 0, 2, 1}));
  a.largest = false;
  a.axis = 0;
  auto s = run_op(OpKind::top_k, {x, i64({1}, {1})}, a, 2);
  expect_near(doubles(s, 0), {3, 0, 3, 0});
  EXPECT_EQ(integers(s, 1), (Ints{0, 1, 0, 1}));
  EXPECT_EQ(result_of(run_op(OpKind::top_k, {x, fixed(i64({1}, {0}))})).dims, (Ints{2, 0}));
  EXPECT_FALSE(run_op(OpKind::top_k, {x, fixed(i64({1}, {5}))}).ok());
  EXPECT_FALSE(run_op(OpKind::top_k, {x, i64({1}, {5})}).ok());
}

TEST(EvalSort, TopKOfUnsignedBeyondInt64) {
  Tensor x = ints(DType::u64, {2}, {1, -1});
  EXPECT_EQ(integers(run_op(OpKind::top_k, {x, fixed(i64({1}, {1}))}, TopKAttrs(), 2), 1), Ints{1});
}

TEST(EvalSort, TopKReadsStridedViews) {
  // The columns of a 2x3 array read as a transposed [3,2] view.
  std::vector<float> data{1, 5, 2, 4, 3, 6}, values(3);
  std::vector<int64_t> indices(3);
  TensorView x{data.data(), DType::f32, {3, 2}, {1, 3}}, v{values.data(), DType::f32, {3, 1}, {1, 1}}, i{indices.data(), DType::i64, {3, 1}, {1, 1}};
  host_top_k(x, 1, true, v, i);
  EXPECT_EQ(values, (std::vector<float>{4, 5, 6}));
  EXPECT_EQ(indices, (Ints{1, 0, 1}));
}

TEST(EvalSort, UniqueOfStringsSlicesAndNaN) {
  UniqueAttrs a;
  a.sorted = false;
  auto s = run_op(OpKind::unique, {strings({4}, {"b", "a", "b", "c"})}, a, 4);
  EXPECT_EQ(*result_of(s).strings, (std::vector<std::string>{"b", "a", "c"}));
  EXPECT_EQ(integers(s, 1), (Ints{0, 1, 3}));
  EXPECT_EQ(integers(s, 2), (Ints{0, 1, 0, 2}));
  EXPECT_EQ(integers(s, 3), (Ints{2, 1, 1}));
  auto n = run_op(OpKind::unique, {f32({4}, {NAN, 1, NAN, -1})}, UniqueAttrs(), 2);
  expect_near(doubles(n, 0), {-1, 1, NAN});
  EXPECT_EQ(integers(n, 1), (Ints{3, 1, 0}));
  a.has_axis = true;
  a.axis = -1;
  a.sorted = true;
  auto c = run_op(OpKind::unique, {i64({2, 3}, {2, 1, 2, 0, 5, 0})}, a, 3);
  EXPECT_EQ(result_of(c).dims, (Ints{2, 2}));
  EXPECT_EQ(integers(c, 0), (Ints{1, 2, 5, 0}));
  EXPECT_EQ(integers(c, 2), (Ints{1, 0, 1}));
  EXPECT_EQ(result_of(run_op(OpKind::unique, {f32({0}, {})})).dims, Ints{0});
}

TEST(EvalSort, NmsDefaultsAndThresholds) {
  // Two equal boxes and one apart.
  Tensor boxes = f32({1, 3, 4}, {0, 0, 1, 1, 1, 1, 0, 0, 2, 2, 3, 3}), scores = f32({1, 1, 3}, {0.5, 0.9, 0.1});
  EXPECT_EQ(result_of(run_op(OpKind::non_max_suppression, {boxes, scores})).dims, (Ints{0, 3}));
  EXPECT_EQ(integers(run_op(OpKind::non_max_suppression, {boxes, scores, i64({}, {9}), f32({}, {0.5})})), (Ints{0, 0, 1, 0, 0, 2}));
  EXPECT_EQ(integers(run_op(OpKind::non_max_suppression, {boxes, scores, i64({1}, {9}), f32({1}, {1}), f32({1}, {0.4})})), (Ints{0, 0, 1, 0, 0, 0}));
  EXPECT_FALSE(run_op(OpKind::non_max_suppression, {boxes, f32({1, 1, 2}, {1, 2})}).ok());
}

TEST(EvalRandom, TheStreamIsTheKnownOne) {
  // First numbers of MT19937 seeded with 0, as 53-bit reals.
  RandomStream s(0);
  EXPECT_NEAR(s.uniform(), 0.5488135039273248, 1e-16);
  EXPECT_NEAR(s.uniform(), 0.7151893663724195, 1e-16);
  RandomStream n(0);
  EXPECT_NEAR(n.normal(), 1.764052345967664, 1e-14);
  EXPECT_NEAR(n.normal(), 0.4001572083672233, 1e-14);
}

TEST(EvalRandom, SameSeedSameNumbers) {
  RandomNormalAttrs a;
  a.seed = 3;
  a.mean = 10;
  a.shape = {1000};
  auto first = doubles(run_op(OpKind::random_normal, {}, a));
  EXPECT_EQ(first, doubles(run_op(OpKind::random_normal, {}, a)));
  double mean = 0;
  for (double v : first) mean += v / 1000;
  EXPECT_NEAR(mean, 10, 0.2);
  a.seed = 4;
  EXPECT_NE(first, doubles(run_op(OpKind::random_normal, {}, a)));
  RandomUniformAttrs u;
  u.low = -2;
  u.high = -1;
  u.has_dtype = true;
  u.dtype = DType::f16;
  auto like = run_op(OpKind::random_uniform_like, {i64({50}, Ints(50))}, u);
  EXPECT_EQ(result_of(like).dtype, DType::f16);
  for (double v : doubles(like)) EXPECT_TRUE(v >= -2 && v <= -1);
  EXPECT_FALSE(run_op(OpKind::random_uniform_like, {i64({1}, {0})}).ok());
}

TEST(EvalRandom, BernoulliAndMultinomialFollowTheirProbabilities) {
  BernoulliAttrs a;
  a.has_dtype = true;
  a.dtype = DType::i32;
  int64_t ones = 0;
  for (int64_t v : integers(run_op(OpKind::bernoulli, {f32({2000}, Doubles(2000, 0.25))}, a))) ones += v;
  EXPECT_NEAR(static_cast<double>(ones), 500, 60);
  EXPECT_EQ(integers(run_op(OpKind::bernoulli, {f32({2}, {0, 1})}, a)), (Ints{0, 1}));
  MultinomialAttrs m;
  m.sample_size = 1000;
  int64_t counts[3] = {};
  for (int64_t v : integers(run_op(OpKind::multinomial, {f32({1, 3}, {std::log(0.2), -INFINITY, std::log(0.6)})}, m))) ++counts[v];
  EXPECT_NEAR(static_cast<double>(counts[0]), 250, 50);
  EXPECT_EQ(counts[1], 0);
}

TEST(EvalRandom, DropoutIsTheIdentityUnlessTraining) {
  Tensor x = f32({1000}, Doubles(1000, 3)), ratio = f32({}, {0.25}), yes = ints(DType::b1, {}, {1});
  auto idle = run_op(OpKind::dropout, {x, ratio}, DropoutAttrs(), 2);
  EXPECT_EQ(doubles(idle, 0), load_all<double>(x));
  EXPECT_EQ(integers(idle, 1), Ints(1000, 1));
  auto r = run_op(OpKind::dropout, {x, ratio, yes}, DropoutAttrs(), 2);
  int64_t kept = 0;
  for (size_t k = 0; k < 1000; ++k) {
    EXPECT_EQ(doubles(r, 0)[k], integers(r, 1)[k] ? 4.0 : 0.0);
    kept += integers(r, 1)[k];
  }
  EXPECT_NEAR(static_cast<double>(kept), 750, 60);
  EXPECT_FALSE(run_op(OpKind::dropout, {x, f32({}, {1}), yes}).ok());
}

}  // namespace
}  // namespace weft::eval_test
