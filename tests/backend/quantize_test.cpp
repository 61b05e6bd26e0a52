// Quantisation on the CPU: scales of every form, narrow types, dynamic ranges.
#include "ir/ops/quantize.h"
#include "tests/backend/support.h"

namespace weft::backend_test::quantize {

TEST(Quantize, PerTensorAxisAndBlocks) {
  for (DType t : {DType::u8, DType::i8, DType::u16, DType::i16}) {
    TestGraph g;
    g.bind("n", 5);
    Value* x = g.input(DType::f32, {Dim::symbol("n"), 6}, -300, 300);
    QuantizeAttrs axis, blocks;
    axis.axis = -1;
    blocks.block_size = 4;
    Value* one = g.op(OpKind::quantize_linear, {x, g.constant(random_tensor(DType::f32, {}, 1, 0.5, 2)), g.input(t, {})});
    Value* per_axis = g.op(OpKind::quantize_linear, {x, g.input(DType::f32, {6}, 0.5, 2), g.input(t, {6})}, axis);
    Shape by_block{Dim::symbol("n"), 2};
    Value* blocked = g.op(OpKind::quantize_linear, {x, g.input(DType::f32, by_block, 0.5, 2), g.input(t, by_block)}, blocks);
    Value* back = g.op(OpKind::dequantize_linear, {per_axis, g.input(DType::f32, {6}), g.input(t, {6})}, [] {
      DequantizeAttrs a;
      a.axis = 1;
      return a;
    }());
    // A reciprocal or a fused step would move a tie by one.
    g.check({one, per_axis, blocked, back}, Bound::ulps(1));
  }
}

TEST(Quantize, NarrowTypesAndPrecisions) {
  for (DType t : {DType::i4, DType::u4, DType::i2, DType::u2, DType::f8e4m3fn, DType::f8e5m2, DType::f8e4m3fnuz, DType::f8e5m2fnuz, DType::f4e2m1}) {
    TestGraph g;
    QuantizeAttrs a;
    a.has_output_dtype = true;
    a.output_dtype = t;
    Value* x = g.input(DType::f16, {4, 7}, -20, 20);
    Value* y = g.op(OpKind::quantize_linear, {x, g.input(DType::f16, {}, 0.5, 2)}, a);
    Value* z = g.op(OpKind::dequantize_linear, {y, g.input(DType::f32, {}, 0.5, 2)});
    g.check({y, z}, Bound::ulps(1));
  }
}

TEST(Quantize, IntegersAndNan) {
  TestGraph g;
  Value* x = g.input(tensor_of_values<double>(DType::f32, {4}, {NAN, INFINITY, -INFINITY, 2.5}));
  Value* zero = g.input(tensor_of_values<int64_t>(DType::i8, {}, {3}));
  Value* y = g.op(OpKind::quantize_linear, {x, g.input(tensor_of_values<double>(DType::f32, {}, {1})), zero});
  Value* big = g.input(tensor_of_values<int64_t>(DType::i32, {2}, {16777217, -2147483647}));
  Value* z = g.op(OpKind::dequantize_linear, {big, g.input(tensor_of_values<double>(DType::f32, {}, {0.5}))});
  g.check({y, z}, Bound::ulps(1));
}

TEST(Quantize, DynamicRange) {
  for (int64_t n : {1, 40}) {
    TestGraph g;
    g.bind("n", n);
    Op* op = g.make(OpKind::dynamic_quantize_linear, {g.input(DType::f32, {Dim::symbol("n"), 3})}, NoAttrs(), 3);
    g.check({op->result(0), op->result(1), op->result(2)});
  }
}

// What is dequantised when the model is loaded, and nothing but an output reads it.
TEST(Quantize, AnOutputOfConstantsAlone) {
  for (DType t : {DType::u4, DType::i8}) {
    TestGraph g;
    Value* scale = g.constant(random_tensor(DType::f32, {5}, 3, 0.5, 2));
    Value* y = g.op(OpKind::dequantize_linear, {g.constant(random_tensor(t, {3, 5, 7}, 1)), scale, g.constant(random_tensor(t, {5}, 2))}, DequantizeAttrs());
    g.check({y, g.input(DType::f32, {2})}, Bound::exact(), 2);
  }
}

}  // namespace weft::backend_test::quantize
