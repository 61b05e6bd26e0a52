// Convolutions of 16-bit floats: on GPUs products of matrices on tensor cores, with channels beside each other in memory.
#include "ir/ops/conv.h"
#include "ir/ops/pool.h"
#include "tests/backend/support.h"

namespace weft::backend_test::conv_half {

namespace {

ConvAttrs window(int64_t size, int64_t stride) {
  ConvAttrs a;
  a.kernel_shape = {size, size};
  a.strides = {stride, stride};
  a.pads.assign(4, size / 2);
  return a;
}

}  // namespace

TEST(ConvHalf, ChainOfABottleneck) {
  for (DType type : {DType::f16, DType::bf16}) {
    TestGraph g;
    g.bind("n", 2);
    Value* x = g.input(type, {Dim::symbol("n"), 3, 30, 22});
    auto weights = [&](int64_t out, int64_t in, int64_t size) {
      return g.constant(random_tensor(type, {out, in, size, size}, static_cast<uint64_t>(out * in + size), -0.2, 0.2));
    };
    Value* stem = g.op(OpKind::relu, {g.op(OpKind::conv, {x, weights(16, 3, 7)}, window(7, 2))});
    MaxPoolAttrs pool;
    pool.kernel_shape = {3, 3};
    pool.strides = {2, 2};
    pool.pads = {1, 1, 1, 1};
    Value* a = g.op(OpKind::max_pool, {stem}, pool);
    Value* b = g.op(OpKind::relu, {g.op(OpKind::conv, {a, weights(24, 16, 1)}, window(1, 1))});
    b = g.op(OpKind::relu, {g.op(OpKind::conv, {b, weights(24, 24, 3)}, window(3, 1))});
    b = g.op(OpKind::conv, {b, weights(16, 24, 1)}, window(1, 1));
    Value* y = g.op(OpKind::relu, {g.op(OpKind::add, {a, b})});
    Value* down = g.op(OpKind::conv, {y, weights(20, 16, 3)}, window(3, 2));
    g.check({y, g.op(OpKind::global_average_pool, {down})}, Bound::range(4));
  }
}

TEST(ConvHalf, RanksGroupsAndOddChannels) {
  TestGraph g;
  ConvAttrs line;
  line.kernel_shape = {5};
  line.pads = {2, 2};
  auto weights = [&](int64_t out, int64_t in) { return g.constant(random_tensor(DType::f16, {out, in, 5}, static_cast<uint64_t>(out), -0.2, 0.2)); };
  Value* x = g.input(DType::f16, {2, 16, 40});
  Value* a = g.op(OpKind::conv, {x, weights(12, 16)}, line);
  Value* b = g.op(OpKind::conv, {a, weights(8, 12)}, line);
  line.group = 4;
  Value* c = g.op(OpKind::conv, {b, weights(8, 2)}, line);
  g.check({b, c}, Bound::range(4));
}

}  // namespace weft::backend_test::conv_half
