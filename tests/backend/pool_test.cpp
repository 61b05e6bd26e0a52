// Pools on a CPU: every kind, padding on both sides, ceil_mode, dilations, indices, symbolic dims, types.
#include "ir/ops/pool.h"

#include "tests/backend/support.h"

namespace weft::backend_test {
namespace {

const Dim kHeight = Dim::symbol("h");

// Windows that overlap, stand apart, reach into the padding and beyond it.
template <class A>
std::vector<A> windows() {
  std::vector<A> all(4);
  all[0].kernel_shape = {3, 2};
  all[1].kernel_shape = {3, 3};
  all[1].pads = {1, 1, 1, 1};
  all[1].strides = {2, 2};
  all[2].kernel_shape = {2, 3};
  all[2].dilations = {2, 1};
  all[2].pads = {1, 0, 0, 2};
  all[2].strides = {3, 2};
  all[2].ceil_mode = true;
  all[3].kernel_shape = {3, 2};
  all[3].auto_pad = "SAME_LOWER";
  all[3].strides = {2, 1};
  return all;
}

template <class A>
void check_pool(OpKind kind, const A& a, DType t, const Bound& bound, int results = 1) {
  TestGraph g;
  g.bind("h", 7);
  Op* op = g.make(kind, {g.input(t, {2, 3, kHeight, 9})}, a, results);
  std::vector<Value*> out;
  for (auto& r : op->results) out.push_back(r.get());
  g.check(out, bound);
}

TEST(Pool, Max) {
  for (const MaxPoolAttrs& a : windows<MaxPoolAttrs>())
    for (DType t : {DType::f32, DType::f16, DType::u8, DType::i8}) check_pool(OpKind::max_pool, a, t, Bound::exact());
}
TEST(Pool, MaxIndices) {
  for (MaxPoolAttrs a : windows<MaxPoolAttrs>())
    for (int64_t order : {0, 1}) {
      a.storage_order = order;
      check_pool(OpKind::max_pool, a, DType::f32, Bound::exact(), 2);
      check_pool(OpKind::max_pool, a, DType::u8, Bound::exact(), 2);  // with ties
    }
}
TEST(Pool, Average) {
  for (AveragePoolAttrs a : windows<AveragePoolAttrs>())
    for (bool with_padding : {false, true}) {
      a.count_include_pad = with_padding;
      check_pool(OpKind::average_pool, a, DType::f32, Bound::range(4));
      check_pool(OpKind::average_pool, a, DType::f64, Bound::range(8));
    }
  check_pool(OpKind::average_pool, windows<AveragePoolAttrs>()[1], DType::bf16, Bound::range(1));
}
TEST(Pool, Lp) {
  for (LpPoolAttrs a : windows<LpPoolAttrs>())
    for (int64_t p : {1, 2, 3}) {
      a.p = p;
      check_pool(OpKind::lp_pool, a, DType::f32, Bound::range(8));
    }
}
TEST(Pool, LineAndVolume) {
  TestGraph g;
  MaxPoolAttrs line;
  line.kernel_shape = {3};
  line.strides = {2};
  AveragePoolAttrs volume;
  volume.kernel_shape = {2, 2, 3};
  volume.pads = {0, 1, 0, 0, 1, 1};
  Value* y = g.op(OpKind::max_pool, {g.input(DType::f32, {2, 2, 17})}, line);
  Value* z = g.op(OpKind::average_pool, {g.input(DType::f32, {1, 2, 3, 4, 5})}, volume);
  g.check({y, z}, Bound::range(4));
}
TEST(Pool, Global) {
  for (OpKind kind : {OpKind::global_average_pool, OpKind::global_max_pool, OpKind::global_lp_pool})
    for (DType t : {DType::f32, DType::f16}) {
      TestGraph g;
      g.bind("h", 5);
      Value* y = g.op(kind, {g.input(t, {2, 3, kHeight, 6})});
      g.check({y}, Bound::range(8));
    }
}

}  // namespace
}  // namespace weft::backend_test
