// Casts between all types against the reference evaluator.
#include "ir/ops/pointwise.h"
#include "tests/backend/support.h"

namespace weft::backend_test {

TEST(BackendPointwise, CastsBetweenAllTypes) {
  const std::vector<DType> types = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::f8e4m3fn, DType::f8e4m3fnuz,
      DType::f8e5m2, DType::f8e5m2fnuz, DType::f4e2m1, DType::i64, DType::i32, DType::i16, DType::i8, DType::i4,
      DType::i2, DType::u64, DType::u32, DType::u16, DType::u8, DType::u4, DType::u2, DType::b1};
  for (DType from : types) {
    TestGraph g;
    Value* x = g.input(from, {3, 23}, -9, 9);
    std::vector<Value*> outputs;
    for (DType to : types) {
      if (to == from) continue;
      CastAttrs a;
      a.to = to;
      outputs.push_back(g.op(OpKind::cast, {x}, a));
    }
    SCOPED_TRACE(dtype_name(from));
    g.check(outputs);
  }
}

TEST(BackendPointwise, CastsToPowersOfTwo) {
  for (const char* mode : {"up", "down", "nearest"}) {
    TestGraph g;
    CastAttrs a;
    a.to = DType::f8e8m0;
    a.round_mode = mode;
    CastAttrs back;
    Value* y = g.op(OpKind::cast, {g.input(DType::f32, {67}, 0.01, 40)}, a);
    g.check({y, g.op(OpKind::cast, {y}, back)});
  }
}

}  // namespace weft::backend_test
