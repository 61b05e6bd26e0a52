// Elementwise ops: values at the edges, types that do not fit, contents that inference follows.
#include "ir/ops/pointwise.h"

#include "tests/unit/eval_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

struct UnaryCase {
  OpKind kind;
  double (*want)(double);
  double lo, hi;
};

// Composed functions against libm over a range, in f64 so that only the formula's own error shows.
TEST(EvalPointwise, UnaryMathMatchesLibm) {
  const UnaryCase cases[] = {
      {OpKind::sinh, std::sinh, -700, 700},   {OpKind::cosh, std::cosh, -700, 700}, {OpKind::tan, std::tan, -1.5, 1.5},
      {OpKind::asin, std::asin, -1, 1},       {OpKind::acos, std::acos, -1, 1},     {OpKind::asinh, std::asinh, -1e6, 1e6},
      {OpKind::acosh, std::acosh, 1, 1e6},    {OpKind::atanh, std::atanh, -1, 1},   {OpKind::sinh, std::sinh, -1e-3, 1e-3},
      {OpKind::asinh, std::asinh, -1e-3, 1e-3}, {OpKind::atanh, std::atanh, -1e-3, 1e-3}, {OpKind::acosh, std::acosh, 1, 1.001}};
  for (const UnaryCase& c : cases) {
    std::vector<double> x, want;
    for (int k = 0; k <= 64; ++k) x.push_back(c.lo + (c.hi - c.lo) * k / 64);
    for (double v : x) want.push_back(c.want(v));
    auto got = doubles(run_op(c.kind, {floats(DType::f64, {65}, x)}));
    for (size_t k = 0; k < x.size(); ++k) {
      if (std::isinf(want[k])) EXPECT_EQ(got[k], want[k]);
      else EXPECT_NEAR(got[k], want[k], 1e-8 * std::fabs(want[k]) + 1e-300) << op_name(c.kind) << "(" << x[k] << ")";
    }
  }
}

TEST(EvalPointwise, ActivationsAtTheEdges) {
  Tensor x = f32({4}, {-kInf, kInf, NAN, 0});
  expect_near(doubles(run_op(OpKind::relu, {x})), {0, kInf, NAN, 0});
  expect_near(doubles(run_op(OpKind::sigmoid, {x})), {0, 1, NAN, 0.5});
  expect_near(doubles(run_op(OpKind::softplus, {x})), {0, kInf, NAN, std::log(2.0)});
  expect_near(doubles(run_op(OpKind::elu, {x})), {-1, kInf, NAN, 0});
  expect_near(doubles(run_op(OpKind::hard_sigmoid, {x})), {0, 1, NAN, 0.5});
  expect_near(doubles(run_op(OpKind::erf, {x})), {-1, 1, NAN, 0});
  expect_near(doubles(run_op(OpKind::softplus, {f32({1}, {1e5})})), {1e5});
}

TEST(EvalPointwise, GeluHasTwoForms) {
  Tensor x = f32({2}, {1, -2});
  GeluAttrs tanh_form;
  tanh_form.approximate = "tanh";
  expect_near(doubles(run_op(OpKind::gelu, {x})), {0.841344746, -0.045500264});
  expect_near(doubles(run_op(OpKind::gelu, {x}, tanh_form)), {0.841191990, -0.045402306});
  GeluAttrs other;
  other.approximate = "fast";
  EXPECT_EQ(run_op(OpKind::gelu, {x}, other).error().code, Code::kInvalidModel);
}

TEST(EvalPointwise, ClipAndItsBounds) {
  Tensor x = f32({3}, {-5, 0.5, 5});
  expect_near(doubles(run_op(OpKind::clip, {x, f32({}, {-1}), f32({}, {1})})), {-1, 0.5, 1});
  expect_near(doubles(run_op(OpKind::clip, {x, f32({}, {2}), f32({}, {1})})), {1, 1, 1});
  expect_near(doubles(run_op(OpKind::clip, {x})), {-5, 0.5, 5});
  EXPECT_EQ(integers(run_op(OpKind::clip, {i64({2}, {-5, 9}), i64({}, {0})})), (Ints{0, 9}));
  EXPECT_FALSE(run_op(OpKind::clip, {x, f32({3}, {1, 2, 3})}).ok());
}

TEST(EvalPointwise, OperandTypesMustAgree) {
  Tensor f = f32({1}, {1}), i = i64({1}, {1}), b = ints(DType::b1, {1}, {1});
  EXPECT_EQ(run_op(OpKind::add, {f, i}).error().code, Code::kInvalidModel);
  EXPECT_EQ(run_op(OpKind::sqrt, {i}).error().code, Code::kInvalidModel);
  EXPECT_EQ(run_op(OpKind::and_, {i, i}).error().code, Code::kInvalidModel);
  EXPECT_EQ(run_op(OpKind::bitwise_and, {b, b}).error().code, Code::kInvalidModel);
  EXPECT_EQ(run_op(OpKind::where, {f, f, f}).error().code, Code::kInvalidModel);
  EXPECT_EQ(run_op(OpKind::mod, {f, f}).error().code, Code::kInvalidModel);
  // One operand leaves the body nothing to reject.
  EXPECT_EQ(run_op(OpKind::clip, {strings({1}, {"a"})}).error().code, Code::kInvalidModel);
  EXPECT_EQ(run_op(OpKind::max, {strings({1}, {"a"})}).error().code, Code::kInvalidModel);
}

TEST(EvalPointwise, PowTakesTheTypeOfItsBase) {
  auto r = run_op(OpKind::pow, {ints(DType::i32, {3}, {2, 3, 9}), f32({3}, {3, 2, 0.5})});
  EXPECT_EQ(result_of(r).dtype, DType::i32);
  EXPECT_EQ(integers(r), (Ints{8, 9, 3}));
  expect_near(doubles(run_op(OpKind::pow, {f32({2}, {2, 2}), i64({2}, {-1, 10})})), {0.5, 1024});
  EXPECT_EQ(integers(run_op(OpKind::pow, {ints(DType::i32, {1}, {3}), ints(DType::u8, {1}, {4})})), Ints{81});
}

TEST(EvalPointwise, VariadicOpsFold) {
  Tensor a = f32({2}, {1, 5}), b = f32({1}, {3}), c = f32({2, 1}, {0, 9});
  expect_near(doubles(run_op(OpKind::max, {a, b, c})), {3, 5, 9, 9});
  expect_near(doubles(run_op(OpKind::min, {a, b, c})), {0, 0, 1, 3});
  expect_near(doubles(run_op(OpKind::sum, {a, b, c})), {4, 8, 13, 17});
  expect_near(doubles(run_op(OpKind::mean, {a, b, c})), {4.0 / 3, 8.0 / 3, 13.0 / 3, 17.0 / 3});
  expect_near(doubles(run_op(OpKind::max, {a})), {1, 5});
}

TEST(EvalPointwise, StringsCompareAndSelect) {
  Tensor a = strings({2}, {"x", "y"}), b = strings({1}, {"y"});
  EXPECT_EQ(integers(run_op(OpKind::equal, {a, b})), (Ints{0, 1}));
  EXPECT_EQ(*result_of(run_op(OpKind::where, {ints(DType::b1, {2, 1}, {1, 0}), a, b})).strings, (std::vector<std::string>{"x", "y", "y", "y"}));
}

TEST(EvalPointwise, CastsOfStrings) {
  CastAttrs to;
  to.to = DType::f32;
  expect_near(doubles(run_op(OpKind::cast, {strings({6}, {"3.14", "1e-5", "+INF", "-inf", "NaN", " 7 "})}, to)), {3.14, 1e-5, kInf, -kInf, NAN, 7});
  EXPECT_EQ(run_op(OpKind::cast, {strings({1}, {"Hello"})}, to).error().code, Code::kInvalidModel);
  to.to = DType::i64;
  EXPECT_EQ(integers(run_op(OpKind::cast, {strings({3}, {"9007199254740993", "-2.7", "1e30"})}, to)), (Ints{9007199254740993, -2, INT64_MAX}));
  to.to = DType::str;
  EXPECT_EQ(*result_of(run_op(OpKind::cast, {f32({5}, {0.1, 100000, 1e-5, NAN, -2})}, to)).strings,
            (std::vector<std::string>{"0.1", "100000.0", "1e-05", "nan", "-2.0"}));
  EXPECT_EQ(*result_of(run_op(OpKind::cast, {floats(DType::f16, {2}, {0.1, 65504})}, to)).strings, (std::vector<std::string>{"0.1", "65500.0"}));
  EXPECT_EQ(*result_of(run_op(OpKind::cast, {ints(DType::u8, {1}, {200})}, to)).strings, (std::vector<std::string>{"200"}));
}

TEST(EvalPointwise, CastToE8m0Rounds) {
  CastAttrs to;
  to.to = DType::f8e8m0;
  Tensor x = f32({3}, {1.1, 1.5, 3.9});
  EXPECT_EQ(doubles(run_op(OpKind::cast, {x}, to)), (Doubles{2, 2, 4}));
  to.round_mode = "down";
  EXPECT_EQ(doubles(run_op(OpKind::cast, {x}, to)), (Doubles{1, 1, 2}));
  to.round_mode = "nearest";
  EXPECT_EQ(doubles(run_op(OpKind::cast, {x}, to)), (Doubles{1, 2, 4}));
}

TEST(EvalPointwise, IsInfBySign) {
  Tensor x = f32({4}, {-kInf, kInf, NAN, 1});
  IsInfAttrs a;
  EXPECT_EQ(integers(run_op(OpKind::is_inf, {x}, a)), (Ints{1, 1, 0, 0}));
  a.detect_negative = false;
  EXPECT_EQ(integers(run_op(OpKind::is_inf, {x}, a)), (Ints{0, 1, 0, 0}));
  a.detect_positive = false;
  EXPECT_EQ(integers(run_op(OpKind::is_inf, {x}, a)), (Ints{0, 0, 0, 0}));
}

TEST(EvalPointwise, ShrinkOfIntegers) {
  ShrinkAttrs a;
  a.lambd = 1.5;
  a.bias = 1;
  EXPECT_EQ(integers(run_op(OpKind::shrink, {ints(DType::i32, {5}, {-3, -1, 0, 1, 4})}, a)), (Ints{-2, 0, 0, 0, 3}));
}

// Shape arithmetic: what is known of small integer tensors flows through elementwise ops.
TEST(InferPointwise, FollowsKnownContents) {
  Module m;
  Graph* g = m.add_graph("main");
  Builder b(g);
  Value* two = b.ints({-7, 8});
  EXPECT_EQ(const_ints(b.op(OpKind::div, {two, b.ints({2})})), (Ints{-3, 4}));
  EXPECT_EQ(const_ints(b.op(OpKind::mul, {two, b.ints({3})})), (Ints{-21, 24}));
  EXPECT_EQ(const_ints(b.op(OpKind::max, {two, b.ints({0})})), (Ints{0, 8}));
  CastAttrs to;
  to.to = DType::i32;
  EXPECT_EQ(const_ints(b.op(OpKind::cast, {two}, to)), (Ints{-7, 8}));
}

}  // namespace
}  // namespace weft::eval_test
