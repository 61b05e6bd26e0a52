// Products of 16-bit floats: on GPUs tiles on tensor cores, by warpgroups where the chip has them, and for single rows sums that
// blocks of a cluster share.
#include "ir/ops/contract.h"
#include "ir/ops/conv.h"
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

// Sums whose steps are no pairs: of matrices, and of windows over an odd number of channels.
TEST(ProductHalf, OddSteps) {
  for (DType type : {DType::f16, DType::bf16}) {
    for (bool constant : {false, true}) {
      check("mk,kn->mn", type, {37, 131}, {131, 70}, constant);
      check("mk,nk->mn", type, {1, 131}, {70, 131}, constant);
      check("km,kn->mn", type, {77, 40}, {77, 50}, constant);
    }
    for (int64_t window : {1, 3}) {
      TestGraph g;
      Value* w = g.constant(random_tensor(type, {20, 13, window, window}, 8, -0.5, 0.5));
      g.check({g.op(OpKind::conv, {g.input(type, {1, 13, 15, 15}), w, nullptr}, ConvAttrs{})}, Bound::range(4), 2);
    }
  }
}

// Two steps of bf16 are one instruction where the target has it; f16 has none.
TEST(ProductHalf, PairsOfBf16) {
  const std::string text = R"(weft.module 1 "halves"
const @v : bf16[301,90] = splat(0.5)
const @w : f16[301,90] = splat(0.5)
graph @main(%x: bf16[40,301], %h: f16[40,301]) -> (y = %y, z = %z) {
  %v = constant @v : bf16[301,90]
  %w = constant @w : f16[301,90]
  %y = contract(%x, %v) {spec="ij,jk->ik"}
  %z = contract(%h, %w) {spec="ij,jk->ik"}
}
)";
  for (const bool pairs : {false, true}) {
    api::CompileOptions o;
    o.target = pairs ? "cpu:x86-64-v4+avx512bf16" : "cpu:x86-64-v4";
    Compilation compilation(o);
    ASSERT_TRUE(compilation.load_bytes(std::as_bytes(std::span(text))).ok() && compilation.apply_shapes().ok());
    ASSERT_TRUE(compilation.optimise().ok() && compilation.lower().ok());
    std::vector<int64_t> dots;
    for (const KernelSpec& s : compilation.lowered().specs)
      if (s.config.name == "contraction") dots.push_back(s.config.dot);
    EXPECT_EQ(dots, (std::vector<int64_t>{pairs ? 2 : 0, 0}));
  }
}

TEST(ProductHalf, LongSumsOfFewTiles) { check("mk,kn->mn", DType::bf16, {128, 2048}, {2048, 256}, true); }

TEST(ProductHalf, SingleRows) {
  for (DType type : {DType::f16, DType::bf16, DType::f32}) {
    check("mk,kn->mn", type, {1, 4096}, {4096, 512}, true);
    check("mk,kn->mn", type, {1, 1500}, {1500, 1030}, true);
  }
}

}  // namespace weft::backend_test::product_half
