// Quantisation: rounding, limits, scales per tensor, axis and block, narrow types.
#include "ir/ops/quantize.h"

#include "tests/unit/eval_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

TEST(EvalQuantize, TiesToEvenAndLimits) {
  Tensor x = f32({6}, {0.5, 1.5, -0.5, 1000, -1000, NAN}), scale = f32({}, {1}), zero = ints(DType::i8, {}, {3});
  EXPECT_EQ(integers(run_op(OpKind::quantize_linear, {x, scale, zero})), (Ints{3, 5, 3, 127, -128, 3}));
  EXPECT_EQ(result_of(run_op(OpKind::quantize_linear, {x, scale})).dtype, DType::u8);
  QuantizeAttrs a;
  a.has_output_dtype = true;
  a.output_dtype = DType::i4;
  EXPECT_EQ(integers(run_op(OpKind::quantize_linear, {x, scale}, a)), (Ints{0, 2, 0, 7, -8, 0}));
  EXPECT_FALSE(run_op(OpKind::quantize_linear, {x, scale, zero}, a).ok());
}

TEST(EvalQuantize, AxisAndBlocks) {
  QuantizeAttrs a;
  a.axis = 0;
  Tensor x = f32({2, 3}, {2, 4, 6, 2, 4, 6});
  EXPECT_EQ(integers(run_op(OpKind::quantize_linear, {x, f32({2}, {1, 2}), ints(DType::u8, {2}, {0, 10})}, a)), (Ints{2, 4, 6, 11, 12, 13}));
  a.axis = -1;
  a.block_size = 2;  // the last block is short
  EXPECT_EQ(integers(run_op(OpKind::quantize_linear, {x, f32({2, 2}, {1, 2, 0.5, 0.25})}, a)), (Ints{2, 4, 3, 4, 8, 24}));
  EXPECT_FALSE(run_op(OpKind::quantize_linear, {x, f32({2, 3}, {1, 1, 1, 1, 1, 1})}, a).ok());
}

TEST(EvalQuantize, DivisionHasAPrecision) {
  // 2049 has no f16.
  Tensor x = f32({1}, {2049}), scale = floats(DType::f16, {}, {1});
  QuantizeAttrs a;
  a.has_output_dtype = true;
  a.output_dtype = DType::i16;
  EXPECT_EQ(integers(run_op(OpKind::quantize_linear, {x, scale}, a)), (Ints{2048}));
  a.has_precision = true;
  EXPECT_EQ(integers(run_op(OpKind::quantize_linear, {x, scale}, a)), (Ints{2049}));
}

TEST(EvalQuantize, NarrowFloats) {
  QuantizeAttrs a;
  a.has_output_dtype = true;
  a.output_dtype = DType::f8e4m3fn;
  Tensor x = f32({2}, {1e6, 2.1}), scale = f32({}, {2});
  expect_near(doubles(run_op(OpKind::quantize_linear, {x, scale}, a)), {448, 1});
  a.saturate = false;
  EXPECT_TRUE(std::isnan(doubles(run_op(OpKind::quantize_linear, {x, scale}, a))[0]));
}

TEST(EvalQuantize, DequantizeTakesAllTypes) {
  Tensor scale = f32({}, {0.5});
  EXPECT_EQ(doubles(run_op(OpKind::dequantize_linear, {ints(DType::i2, {2}, {-2, 1}), scale, ints(DType::i2, {}, {1})})), (Doubles{-1.5, 0}));
  EXPECT_EQ(doubles(run_op(OpKind::dequantize_linear, {ints(DType::i32, {1}, {-100000}), scale})), (Doubles{-50000}));
  EXPECT_EQ(doubles(run_op(OpKind::dequantize_linear, {floats(DType::f4e2m1, {2}, {6, -0.5}), scale})), (Doubles{3, -0.25}));
  DequantizeAttrs a;
  a.has_output_dtype = true;
  a.output_dtype = DType::f16;
  Tensor y = result_of(run_op(OpKind::dequantize_linear, {ints(DType::u4, {1}, {15}), floats(DType::f8e8m0, {}, {4})}, a));
  EXPECT_EQ(y.dtype, DType::f16);
  EXPECT_EQ(load_all<double>(y), (Doubles{60}));
}

TEST(EvalQuantize, DynamicRangeHoldsZero) {
  auto r = run_op(OpKind::dynamic_quantize_linear, {f32({3}, {-1, 0, 1.55})}, NoAttrs(), 3);
  expect_near(doubles(r, 1), {static_cast<double>((1.55f + 1) / 255)});
  EXPECT_EQ(integers(r, 2), (Ints{100}));
  EXPECT_EQ(integers(r, 0), (Ints{0, 100, 255}));
  r = run_op(OpKind::dynamic_quantize_linear, {f32({2}, {0.5, 2})}, NoAttrs(), 3);
  EXPECT_EQ(integers(r, 2), (Ints{0}));
  EXPECT_EQ(integers(r, 0), (Ints{64, 255}));
  r = run_op(OpKind::dynamic_quantize_linear, {f32({0}, {})}, NoAttrs(), 3);
  EXPECT_TRUE(r.ok());
}

}  // namespace
}  // namespace weft::eval_test
