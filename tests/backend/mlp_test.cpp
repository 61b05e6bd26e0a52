// The thin line: contraction, bias, relu, softmax over a symbolic batch, through every stage after the passes.
#include "ir/ops/contract.h"
#include "ir/ops/norm.h"
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

// Weights narrower than the sums they go into are no prepared factors: those are read as the sum's own type.
TEST(Mlp, NarrowConstantWeights) {
  for (DType t : {DType::f16, DType::bf16})
    for (bool left : {false, true}) {
      TestGraph g;
      ContractAttrs mm;
      mm.spec = "ij,jk->ik";
      Value* x = left ? g.input(t, {64, 32}) : g.input(t, {5, 64});
      Value* w = left ? g.constant(random_tensor(t, {32, 64}, 14)) : g.constant(random_tensor(t, {64, 32}, 15));
      g.check({g.op(OpKind::contract, left ? std::vector{w, x} : std::vector{x, w}, mm)}, Bound::range(1));
    }
}

}  // namespace weft::backend_test
