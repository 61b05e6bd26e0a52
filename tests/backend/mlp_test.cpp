// The thin line: contraction, bias, relu, softmax over a symbolic batch, through every stage after the passes.
#include "ir/ops/contract.h"
#include "ir/ops/conv.h"
#include "ir/ops/norm.h"
#include "ir/ops/pointwise.h"
#include "tests/backend/support.h"

namespace weft::backend_test {

TEST(Mlp, SymbolicBatch) {
  for (int64_t batch : {1, 3, 33}) {
    TestGraph g;
    g.bind("batch", batch);
    ContractAttrs mm;
    mm.spec = "ij,jk->ik";
    Value* x = g.input(DType::f32, {Dim::symbol("batch"), 19});
    Value* w1 = g.constant(random_tensor(DType::f32, {19, 37}, 11));
    Value* b1 = g.constant(random_tensor(DType::f32, {37}, 12));
    Value* w2 = g.constant(random_tensor(DType::f32, {37, 10}, 13));
    Value* h = g.op(OpKind::relu, {g.op(OpKind::add, {g.op(OpKind::contract, {x, w1}, mm), b1})});
    Value* y = g.op(OpKind::softmax, {g.op(OpKind::contract, {h, w2}, mm)}, SoftmaxAttrs{});
    g.check({y, h}, Bound::range(16));
  }
}

// Weights narrower than the sums they go into: the prepared right factor keeps their type, a left one has the sum's. Single
// rows, few, and more than a block of them; columns and steps that fill no tile.
TEST(Mlp, NarrowConstantWeights) {
  for (DType t : {DType::f16, DType::bf16})
    for (bool left : {false, true})
      for (int64_t rows : {1, 5, 70}) {
        TestGraph g;
        ContractAttrs mm;
        mm.spec = "ij,jk->ik";
        Value* x = left ? g.input(t, {300, rows}) : g.input(t, {rows, 300});
        Value* w = left ? g.constant(random_tensor(t, {90, 300}, 14)) : g.constant(random_tensor(t, {300, 90}, 15));
        g.check({g.op(OpKind::contract, left ? std::vector{w, x} : std::vector{x, w}, mm)}, Bound::range(1));
      }
}

// A run-time number of rows, whose last ones are done one by one.
TEST(Mlp, NarrowWeightsOfOpenRows) {
  for (DType t : {DType::f16, DType::bf16}) {
    TestGraph g;
    g.bind("rows", 23);
    ContractAttrs mm;
    mm.spec = "ij,jk->ik";
    g.check({g.op(OpKind::contract, {g.input(t, {Dim::symbol("rows"), 100}), g.constant(random_tensor(t, {100, 150}, 16))}, mm)}, Bound::range(1));
  }
}

// On processors both are laid out when the model is loaded.
TEST(Mlp, NarrowWeightsArePrepared) {
  const std::string text = R"(weft.module 1 "halves"
const @w : bf16[300,90] = splat(0.5)
const @k : f16[32,32,3,3] = splat(0.25)
graph @main(%x: bf16[1,300], %i: f16[1,32,20,20]) -> (y = %y, z = %z) {
  %w = constant @w : bf16[300,90]
  %k = constant @k : f16[32,32,3,3]
  %y = contract(%x, %w) {spec="ij,jk->ik"}
  %z = conv(%i, %k) {pads=[1,1,1,1]}
}
)";
  api::CompileOptions o;
  o.target = "cpu:x86-64-v3";
  Compilation compilation(o);
  ASSERT_TRUE(compilation.load_bytes(std::as_bytes(std::span(text))).ok() && compilation.apply_shapes().ok());
  ASSERT_TRUE(compilation.optimise().ok() && compilation.lower().ok());
  std::vector<DType> forms;
  for (const KernelSpec& s : compilation.lowered().specs)
    for (const SpecOperand& operand : s.operands)
      if (operand.tile) forms.push_back(operand.dtype);
  EXPECT_EQ(forms, (std::vector<DType>{DType::bf16, DType::f32}));
}

// A cast that loses something before a product is no part of how its elements are read.
TEST(Mlp, LossyCastsBeforeAConvolution) {
  for (DType t : {DType::i32, DType::f16}) {
    TestGraph g;
    CastAttrs narrow, wide;
    narrow.to = t;
    Value* x = g.op(OpKind::cast, {g.op(OpKind::cast, {g.input(DType::f32, {1, 32, 16, 16})}, narrow)}, wide);
    g.check({g.op(OpKind::conv, {x, g.constant(random_tensor(DType::f32, {32, 32, 1, 1}, 17))}, ConvAttrs{})}, Bound::range(16));
  }
}

}  // namespace weft::backend_test
