// The scalar interpreter: wrapping, conversions, broadcasting, chunks.
#include "tests/unit/eval_support.h"

namespace weft::eval_test {
namespace {

Tensor run_program(const ScalarProgram& p, const std::vector<const Tensor*>& in, const std::vector<int64_t>& dims) {
  std::vector<DType> types;
  for (int o : p.outputs) types.push_back(p.type(o));
  auto r = evaluate_scalar(p, in, dims, types);
  EXPECT_TRUE(r.ok());
  return r.value()[0];
}

Tensor unary(Prim q, const Tensor& x) {
  ScalarProgram p;
  p.outputs = {p.add(q, p.input(0, x.dtype))};
  return run_program(p, {&x}, x.dims);
}
Tensor binary(Prim q, const Tensor& x, const Tensor& y) {
  ScalarProgram p;
  p.outputs = {p.add(q, p.input(0, x.dtype), p.input(1, y.dtype))};
  return run_program(p, {&x, &y}, x.dims);
}
Tensor cast(const Tensor& x, DType t, bool saturate = true) {
  ScalarProgram p;
  p.outputs = {p.cast(p.input(0, x.dtype), t, saturate)};
  return run_program(p, {&x}, x.dims);
}
using Ints = std::vector<int64_t>;
using Doubles = std::vector<double>;

TEST(EvalScalar, IntegersWrapToTheirType) {
  Tensor a = ints(DType::i8, {4}, {127, -128, 100, -1}), b = ints(DType::i8, {4}, {1, -1, 3, -128});
  EXPECT_EQ(load_all<int64_t>(binary(Prim::add, a, b)), (Ints{-128, 127, 103, 127}));
  EXPECT_EQ(load_all<int64_t>(binary(Prim::mul, a, b)), (Ints{127, -128, 44, -128}));
  EXPECT_EQ(load_all<int64_t>(unary(Prim::neg, a)), (Ints{-127, -128, -100, 1}));
  EXPECT_EQ(load_all<int64_t>(unary(Prim::abs, a)), (Ints{127, -128, 100, 1}));
  Tensor u = ints(DType::u16, {2}, {0, 65535});
  EXPECT_EQ(load_all<int64_t>(binary(Prim::sub, u, ints(DType::u16, {2}, {1, 65535}))), (Ints{65535, 0}));
  EXPECT_EQ(load_all<int64_t>(unary(Prim::bit_not, u)), (Ints{65535, 0}));
}

TEST(EvalScalar, IntegerDivisionIsTotal) {
  Tensor a = ints(DType::i32, {6}, {7, -7, 7, -7, 5, INT32_MIN}), b = ints(DType::i32, {6}, {2, 2, -2, -2, 0, -1});
  EXPECT_EQ(load_all<int64_t>(binary(Prim::div, a, b)), (Ints{3, -3, -3, 3, 0, INT32_MIN}));
  EXPECT_EQ(load_all<int64_t>(binary(Prim::mod, a, b)), (Ints{1, 1, -1, -1, 0, 0}));
  EXPECT_EQ(load_all<int64_t>(binary(Prim::rem, a, b)), (Ints{1, -1, 1, -1, 0, 0}));
  Tensor m = i64({1}, {INT64_MIN}), one = i64({1}, {-1});
  EXPECT_EQ(load_all<int64_t>(binary(Prim::div, m, one)), Ints{INT64_MIN});
  EXPECT_EQ(load_all<int64_t>(binary(Prim::rem, m, one)), Ints{0});
}

TEST(EvalScalar, ShiftsAndPowers) {
  Tensor a = ints(DType::u8, {3}, {0x81, 0x81, 0x81}), n = ints(DType::u8, {3}, {1, 7, 8});
  EXPECT_EQ(load_all<int64_t>(binary(Prim::shl, a, n)), (Ints{2, 128, 0}));
  EXPECT_EQ(load_all<int64_t>(binary(Prim::shr, a, n)), (Ints{64, 1, 0}));
  Tensor b = i64({6}, {2, -2, 3, 2, -1, 0}), e = i64({6}, {10, 3, 0, -1, -3, -2});
  EXPECT_EQ(load_all<int64_t>(binary(Prim::pow, b, e)), (Ints{1024, -8, 1, 0, -1, 0}));
}

TEST(EvalScalar, FloatModulo) {
  Tensor a = f32({5}, {5.5, -5.5, 5.5, -5.5, 4}), b = f32({5}, {2, 2, -2, -2, kInf});
  expect_near(load_all<double>(binary(Prim::mod, a, b)), {1.5, 0.5, -0.5, -1.5, 4});
  expect_near(load_all<double>(binary(Prim::rem, a, b)), {1.5, -1.5, 1.5, -1.5, 4});
}

TEST(EvalScalar, MinMaxPropagateNaN) {
  Tensor a = f32({3}, {NAN, 1, 2}), b = f32({3}, {1, NAN, 3});
  expect_near(load_all<double>(binary(Prim::min, a, b)), {NAN, NAN, 2});
  expect_near(load_all<double>(binary(Prim::max, a, b)), {NAN, NAN, 3});
  EXPECT_EQ(load_all<int64_t>(binary(Prim::lt, a, b)), (Ints{0, 0, 1}));
  EXPECT_EQ(load_all<int64_t>(binary(Prim::ne, a, a)), (Ints{1, 0, 0}));
}

TEST(EvalScalar, RoundsToTf32WithTiesAwayFromZero) {
  const double unit = 0x1p-10, almost = 0x1.ffp-12;  // beside 1: the last place of tf32; less than half of it
  Tensor x = f32({9}, {1 + unit / 2, -1 - unit / 2, 1 + almost, 1.5, 3.4e38f, -0.0, -kInf, NAN, 0x1p-126});
  Tensor y = unary(Prim::round_tf32, x);
  expect_near(load_all<double>(y), {1 + unit, -1 - unit, 1, 1.5, 0x1.ff8p127, -0.0, -kInf, NAN, 0x1p-126}, 0);
  EXPECT_TRUE(std::signbit(load_all<double>(y)[5]));
  EXPECT_EQ(load_all<double>(unary(Prim::round_tf32, f32({1}, {std::numeric_limits<float>::max()})))[0], kInf);
  ScalarProgram p;
  p.outputs = {p.add(Prim::round_tf32, p.input(0, DType::f64))};
  EXPECT_EQ(p.verify().error().message, "round_tf32 does not take f64");
}

TEST(EvalScalar, RoundsTiesToEven) {
  expect_near(load_all<double>(unary(Prim::round, f32({5}, {0.5, 1.5, 2.5, -0.5, -1.5}))), {0, 2, 2, 0, -2});
  expect_near(load_all<double>(unary(Prim::trunc, f32({2}, {1.9, -1.9}))), {1, -1});
  expect_near(load_all<double>(unary(Prim::sign, f32({4}, {-3, 0, 2, NAN}))), {-1, 0, 1, NAN});
}

TEST(EvalScalar, FloatToIntegerTruncatesAndSaturates) {
  Tensor x = f32({8}, {1.9, -1.9, 300, -300, NAN, kInf, -kInf, 0});
  EXPECT_EQ(load_all<int64_t>(cast(x, DType::i8)), (Ints{1, -1, 127, -128, 0, 127, -128, 0}));
  EXPECT_EQ(load_all<int64_t>(cast(x, DType::u8)), (Ints{1, 0, 255, 0, 0, 255, 0, 0}));
  EXPECT_EQ(load_all<int64_t>(cast(x, DType::i64)), (Ints{1, -1, 300, -300, 0, INT64_MAX, INT64_MIN, 0}));
  EXPECT_EQ(load_all<uint64_t>(cast(f32({1}, {kInf}), DType::u64)), std::vector<uint64_t>{UINT64_MAX});
  EXPECT_EQ(load_all<int64_t>(cast(x, DType::b1)), (Ints{1, 1, 1, 1, 1, 1, 1, 0}));
  // As ONNX's recorded cases have it.
  EXPECT_EQ(load_all<int64_t>(cast(f32({4}, {-9, 8, 7, 15}), DType::i4)), (Ints{7, -8, 7, -1}));
  EXPECT_EQ(load_all<int64_t>(cast(f32({3}, {-9, -3, 15}), DType::u4)), (Ints{7, 13, 15}));
}

TEST(EvalScalar, IntegerConversionsWrap) {
  EXPECT_EQ(load_all<int64_t>(cast(i64({3}, {200, -1, 256}), DType::i8)), (Ints{-56, -1, 0}));
  EXPECT_EQ(load_all<int64_t>(cast(i64({2}, {-1, 65537}), DType::u16)), (Ints{65535, 1}));
  EXPECT_EQ(load_all<int64_t>(cast(i64({3}, {2, 0, -1}), DType::b1)), (Ints{1, 0, 1}));
}

TEST(EvalScalar, IntegersRoundOnceToFloat) {
  // 2^53 + 1 and a bf16 tie broken by a bit that f64 cannot hold.
  Tensor x = i64({2}, {(int64_t{1} << 53) + 1, (int64_t{0x101} << 54) + 1});
  EXPECT_EQ(load_all<double>(cast(x, DType::bf16)), (Doubles{9007199254740992.0, std::ldexp(0x102, 54)}));
  EXPECT_EQ(load_all<double>(cast(i64({1}, {INT64_MAX}), DType::f64)), Doubles{9223372036854775808.0});
}

TEST(EvalScalar, Float8InfinityIsKeptUnlessACastSaturates) {
  Tensor x = f32({2}, {kInf, 1e6});
  EXPECT_EQ(load_all<double>(cast(x, DType::f8e5m2)), (Doubles{57344, 57344}));
  Tensor open = cast(x, DType::f8e5m2, false);
  EXPECT_EQ(load_all<double>(open), (Doubles{kInf, kInf}));
  EXPECT_EQ(load_all<double>(unary(Prim::neg, open)), (Doubles{-kInf, -kInf}));
}

TEST(EvalScalar, IntermediatesStayWide) {
  // 2048 + 1 is not an f16; the sum is only rounded at the end.
  Tensor x = floats(DType::f16, {1}, {2048});
  ScalarProgram p;
  int in = p.input(0, DType::f16), one = p.constant(DType::f16, 1);
  int sum = p.add(Prim::add, in, one);
  p.outputs = {p.add(Prim::sub, sum, in)};
  EXPECT_EQ(load_all<double>(run_program(p, {&x}, {1})), Doubles{1});
  p.outputs = {p.add(Prim::sub, p.cast(p.cast(sum, DType::f32), DType::f16), in)};
  EXPECT_EQ(load_all<double>(run_program(p, {&x}, {1})), Doubles{0});
}

TEST(EvalScalar, BroadcastsOverChunks) {
  // [3,700,2] from [700,1], [3,1,2] and a scalar: several chunks, rows of two elements.
  std::vector<double> a(700), b(6);
  for (size_t k = 0; k < a.size(); ++k) a[k] = static_cast<double>(k);
  for (size_t k = 0; k < b.size(); ++k) b[k] = 1000.0 * static_cast<double>(k);
  Tensor x = f32({700, 1}, a), y = f32({3, 1, 2}, b), z = f32({}, {0.5});
  ScalarProgram p;
  p.outputs = {p.add(Prim::add, p.add(Prim::add, p.input(0, DType::f32), p.input(1, DType::f32)), p.input(2, DType::f32))};
  std::vector<double> got = load_all<double>(run_program(p, {&x, &y, &z}, {3, 700, 2}));
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 700; ++j)
      for (int64_t k = 0; k < 2; ++k) ASSERT_EQ(got[(i * 700 + j) * 2 + k], a[j] + b[i * 2 + k] + 0.5);
}

TEST(EvalScalar, EmptyAndScalarShapes) {
  Tensor empty = f32({0, 3}, {}), scalar = f32({}, {2});
  EXPECT_EQ(binary(Prim::add, empty, scalar).numel(), 0);
  EXPECT_EQ(load_all<double>(binary(Prim::mul, scalar, scalar)), Doubles{4});
}

TEST(EvalScalar, BitcastKeepsBits) {
  ScalarProgram p;
  Tensor x = f32({2}, {1, -2});
  p.outputs = {p.bitcast(p.input(0, DType::f32), DType::u32)};
  EXPECT_EQ(load_all<int64_t>(run_program(p, {&x}, {2})), (Ints{0x3f800000, 0xc0000000}));
  ScalarProgram q;
  Tensor n = ints(DType::i4, {2}, {-1, 5});
  q.outputs = {q.bitcast(q.input(0, DType::i4), DType::u4)};
  EXPECT_EQ(load_all<int64_t>(run_program(q, {&n}, {2})), (Ints{15, 5}));
}

TEST(EvalScalar, ComplexNumbers) {
  std::vector<std::complex<double>> v{{1, 2}, {0, -1}};
  Tensor x = store_all(DType::c64, {2}, v).value();
  EXPECT_EQ(load_all<std::complex<double>>(binary(Prim::mul, x, x)), (std::vector<std::complex<double>>{{-3, 4}, {-1, 0}}));
  EXPECT_EQ(load_all<double>(cast(x, DType::f32)), (Doubles{1, 0}));
}

TEST(ScalarProgram, RejectsTypesThatAPrimitiveDoesNotTake) {
  auto fails = [](auto build) {
    ScalarProgram p;
    build(p);
    return !p.verify().ok();
  };
  EXPECT_TRUE(fails([](ScalarProgram& p) { p.add(Prim::add, p.input(0, DType::f32), p.input(1, DType::i32)); }));
  EXPECT_TRUE(fails([](ScalarProgram& p) { p.add(Prim::exp, p.input(0, DType::i32)); }));
  EXPECT_TRUE(fails([](ScalarProgram& p) { p.add(Prim::lt, p.input(0, DType::c64), p.input(1, DType::c64)); }));
  EXPECT_TRUE(fails([](ScalarProgram& p) { p.add(Prim::select, p.input(0, DType::i32), p.input(1, DType::f32), p.input(2, DType::f32)); }));
  EXPECT_TRUE(fails([](ScalarProgram& p) { p.bitcast(p.input(0, DType::f32), DType::i64); }));
  EXPECT_FALSE(fails([](ScalarProgram& p) { p.add(Prim::select, p.input(0, DType::b1), p.input(1, DType::str), p.input(2, DType::str)); }));
}

}  // namespace
}  // namespace weft::eval_test
