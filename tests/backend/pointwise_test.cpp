// Elementwise ops and casts against the reference evaluator, over odd sizes, broadcast and symbolic dims.
#include "ir/ops/pointwise.h"
#include "tests/backend/support.h"

namespace weft::backend_test {

struct PointwiseRow {
  OpKind kind;
  int operands;
  double ulps;              // f32; narrower types round once more, f64 has up to kWide
  double lo = -4, hi = 4;
  std::vector<DType> types = {DType::f32, DType::f64, DType::f16, DType::bf16};
};
static constexpr double kWide = 6;  // ULPs of a transcendental function in f64
static const std::vector<DType> kIntegers = {DType::i8, DType::u8, DType::i16, DType::i32, DType::u32, DType::i64, DType::u64};

// ULPs by op. exp and its kin are within 2 of the true value; sums of several such terms within the sum of theirs.
static const std::vector<PointwiseRow>& pointwise_rows() {
  static const std::vector<PointwiseRow> rows = {
      {OpKind::add, 2, 0.5}, {OpKind::sub, 2, 0.5}, {OpKind::mul, 2, 0.5}, {OpKind::div, 2, 0.5}, {OpKind::neg, 1, 0}, {OpKind::abs, 1, 0},
      {OpKind::sqrt, 1, 0.5, 0, 9}, {OpKind::exp, 1, 2}, {OpKind::log, 1, 2, 0.1, 9}, {OpKind::tanh, 1, 2}, {OpKind::erf, 1, 2}, {OpKind::sigmoid, 1, 2},
      {OpKind::sin, 1, 2}, {OpKind::cos, 1, 2}, {OpKind::floor, 1, 0}, {OpKind::ceil, 1, 0}, {OpKind::round, 1, 0}, {OpKind::relu, 1, 0},
      {OpKind::max, 2, 0}, {OpKind::min, 2, 0}, {OpKind::reciprocal, 1, 0.5, 0.5, 4}, {OpKind::softplus, 1, 4},
      {OpKind::pow, 2, 2, 0.2, 4},
      {OpKind::add, 2, 0, 0, 1, kIntegers}, {OpKind::mul, 2, 0, 0, 1, kIntegers}, {OpKind::div, 2, 0, 0, 1, kIntegers}, {OpKind::max, 2, 0, 0, 1, kIntegers},
      {OpKind::less, 2, 0, -4, 4, {DType::f32, DType::i32, DType::u64}}, {OpKind::equal, 2, 0, -4, 4, {DType::f32, DType::i64, DType::b1}},
  };
  return rows;
}

TEST(BackendPointwise, WithinItsBound) {
  for (const PointwiseRow& row : pointwise_rows())
    for (DType t : row.types) {
      TestGraph g;
      g.bind("n", 3);
      Dim n = Dim::symbol("n");
      std::vector<Value*> operands{g.input(t, {n, 1, 37}, row.lo, row.hi)};
      if (row.operands > 1) operands.push_back(g.input(t, {5, 37}, row.lo, row.hi));
      SCOPED_TRACE(std::string(op_name(row.kind)) + " " + dtype_name(t));
      g.check({g.op(row.kind, operands)}, Bound::ulps(t == DType::f32 ? row.ulps : t == DType::f64 ? (row.ulps > 1 ? kWide : row.ulps) : 1));
    }
}

TEST(BackendPointwise, CastsBetweenAllTypes) {
  const std::vector<DType> types = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::f8e4m3fn, DType::f8e4m3fnuz, DType::f8e5m2, DType::f8e5m2fnuz, DType::f4e2m1,
                                    DType::i64, DType::i32, DType::i16, DType::i8, DType::i4, DType::i2, DType::u64, DType::u32, DType::u16, DType::u8, DType::u4, DType::u2, DType::b1};
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
