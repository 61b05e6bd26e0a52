// Products of 16-bit floats: on GPUs tiles on tensor cores, by warpgroups where the chip has them, and for single rows sums that
// blocks of a cluster share.
#include "ir/ops/contract.h"
#include "tests/backend/support.h"

namespace weft::backend_test::product_half {

namespace {

void check(const char* spec, DType type, const Shape& a, const Shape& b, bool constant) {
  SCOPED_TRACE(std::string(spec) + " " + dtype_name(type));
  TestGraph g;
  g.bind("m", 300);
  ContractAttrs attrs;
  attrs.spec = spec;
  std::vector<int64_t> dims;
  for (const Dim& d : b) dims.push_back(d.value());
  Value* y = constant ? g.constant(random_tensor(type, dims, 7, -0.5, 0.5)) : g.input(type, b);
  Value* product = g.op(OpKind::contract, {g.input(type, a), y}, attrs);
  g.check({product, g.op(OpKind::tanh, {product})}, Bound::range(type == DType::f32 ? 64 : 4));
}

}  // namespace

// Neighbours along K or along the rows in either factor; rows, columns and steps that fill no tile.
TEST(ProductHalf, EveryOrderOfTheFactors) {
  for (DType type : {DType::f16, DType::bf16}) {
    check("mk,kn->mn", type, {520, 200}, {200, 392}, false);
    check("mk,nk->mn", type, {520, 200}, {392, 200}, true);
    check("km,kn->mn", type, {200, 520}, {200, 392}, false);
    check("km,nk->mn", type, {200, 520}, {392, 200}, false);
  }
}

TEST(ProductHalf, ManyTiles) {
  check("mk,kn->mn", DType::f16, {1100, 136}, {136, 2304}, true);
  check("mk,kn->mn", DType::bf16, {2048, 64}, {64, 3072}, true);
  check("bmk,bkn->bmn", DType::f16, {3, 400, 72}, {3, 72, 520}, false);
  check("bmk,bnk->bmn", DType::bf16, {9, 260, 128}, {9, 260, 128}, false);
}

TEST(ProductHalf, OpenRows) {
  for (DType type : {DType::f16, DType::bf16}) check("mk,kn->mn", type, {Dim::symbol("m"), 264}, {264, 392}, true);
}

TEST(ProductHalf, LongSumsOfFewTiles) { check("mk,kn->mn", DType::bf16, {128, 2048}, {2048, 256}, true); }

TEST(ProductHalf, SingleRows) {
  for (DType type : {DType::f16, DType::bf16, DType::f32}) {
    check("mk,kn->mn", type, {1, 4096}, {4096, 512}, true);
    check("mk,kn->mn", type, {1, 1500}, {1500, 1030}, true);
  }
}

}  // namespace weft::backend_test::product_half
