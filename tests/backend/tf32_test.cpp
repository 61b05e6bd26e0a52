// Products and convolutions that round their factors to tf32: the evaluator, the processor and, on GPUs, tiles on tensor cores or
// kernels for single rows round alike. What is left are the sums in f32, a tenth of what factors as they are would differ by.
#include "ir/ops/contract.h"
#include "ir/ops/conv.h"
#include "tests/backend/support.h"

namespace weft::backend_test::tf32 {

namespace {

const Bound kSums = Bound::range(256), kChain = Bound::range(2048);

void check(const char* spec, const Shape& a, const Shape& b, bool constant) {
  SCOPED_TRACE(spec);
  TestGraph g;
  g.bind("m", 300);
  ContractAttrs attrs;
  attrs.spec = spec;
  attrs.tf32 = true;
  std::vector<int64_t> dims;
  for (const Dim& d : b) dims.push_back(d.value());
  Value* y = constant ? g.constant(random_tensor(DType::f32, dims, 7, -0.5, 0.5)) : g.input(DType::f32, b);
  Value* product = g.op(OpKind::contract, {g.input(DType::f32, a), y}, attrs);
  g.check({product, g.op(OpKind::tanh, {product})}, kSums);
}

ConvAttrs window(int64_t size, int64_t stride) {
  ConvAttrs a;
  a.kernel_shape = {size, size};
  a.strides = {stride, stride};
  a.pads.assign(4, size / 2);
  a.tf32 = true;
  return a;
}

}  // namespace

// Neighbours along K or along the rows in either factor; rows, columns and steps that fill no tile; odd ones, whose accesses are
// single elements.
TEST(Tf32, EveryOrderOfTheFactors) {
  check("mk,kn->mn", {520, 200}, {200, 392}, false);
  check("mk,nk->mn", {520, 200}, {392, 200}, true);
  check("km,kn->mn", {200, 520}, {200, 392}, false);
  check("km,nk->mn", {200, 520}, {392, 200}, false);
  check("mk,kn->mn", {130, 67}, {67, 135}, false);
  check("km,nk->mn", {67, 130}, {135, 67}, false);
}

TEST(Tf32, TilesOfEverySize) {
  check("mk,kn->mn", {1100, 136}, {136, 2304}, true);
  check("bmk,bkn->bmn", {3, 400, 72}, {3, 72, 520}, false);
  check("bmk,bnk->bmn", {9, 260, 128}, {9, 260, 128}, false);
  check("mk,kn->mn", {Dim::symbol("m"), 264}, {264, 392}, true);
  for (int64_t rows : {1, 2, 16, 40}) check("mk,kn->mn", {rows, 640}, {640, 520}, true);
}

// On GPUs with clusters, blocks share K.
TEST(Tf32, LongSumsOfFewTiles) {
  check("mk,kn->mn", {16, 2048}, {2048, 256}, true);
  check("mk,nk->mn", {128, 2048}, {256, 2048}, true);
}

TEST(Tf32, Convolutions) {
  struct Case {
    Shape x;
    std::vector<int64_t> w;
    int64_t stride, group;
  };
  const Case cases[] = {{{2, 16, 30, 22}, {24, 16, 3, 3}, 1, 1}, {{2, 16, 30, 22}, {24, 16, 1, 1}, 1, 1}, {{1, 3, 31, 23}, {17, 3, 7, 7}, 2, 1},
                        {{2, 16, 14, 14}, {16, 1, 3, 3}, 1, 16}};
  for (const Case& c : cases) {
    TestGraph g;
    ConvAttrs a = window(c.w[2], c.stride);
    a.group = c.group;
    Value* w = g.constant(random_tensor(DType::f32, c.w, 5, -0.2, 0.2));
    g.check({g.op(OpKind::conv, {g.input(DType::f32, c.x), w}, a)}, kSums);
  }
}

// A factor that was rounded in the other direction, because it differed by its last place, counts for 2^-10 of a term.
TEST(Tf32, ChainOfConvolutions) {
  TestGraph g;
  g.bind("n", 2);
  auto weights = [&](int64_t out, int64_t in, int64_t size) {
    return g.constant(random_tensor(DType::f32, {out, in, size, size}, static_cast<uint64_t>(out * in + size), -0.2, 0.2));
  };
  Value* x = g.input(DType::f32, {Dim::symbol("n"), 3, 30, 22});
  Value* a = g.op(OpKind::relu, {g.op(OpKind::conv, {x, weights(16, 3, 3)}, window(3, 2))});
  Value* b = g.op(OpKind::relu, {g.op(OpKind::conv, {a, weights(24, 16, 1)}, window(1, 1))});
  Value* c = g.op(OpKind::conv, {b, weights(16, 24, 3)}, window(3, 1));
  g.check({g.op(OpKind::relu, {g.op(OpKind::add, {a, c})})}, kChain);
}

// A factor that is computed as it is read.
TEST(Tf32, ComputedFactors) {
  TestGraph g;
  ContractAttrs attrs;
  attrs.spec = "mk,kn->mn";
  attrs.tf32 = true;
  Value* x = g.op(OpKind::tanh, {g.input(DType::f32, {64, 96})});
  g.check({g.op(OpKind::contract, {x, g.input(DType::f32, {96, 72})}, attrs)}, kChain);
}

}  // namespace weft::backend_test::tf32
