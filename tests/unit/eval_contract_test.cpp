// contract: specs of every kind, broadcasting, scales, result types; its matrix product against plain loops.
#include "ir/ops/contract.h"

#include "ir/ops/gemm.h"
#include "tests/unit/infer_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

ContractAttrs spec(const char* s) {
  ContractAttrs a;
  a.spec = s;
  return a;
}
Doubles counting(int64_t n, double from = 1) {
  Doubles v(n);
  for (int64_t k = 0; k < n; ++k) v[k] = from + static_cast<double>(k);
  return v;
}

TEST(EvalContract, GemmEveryEdge) {
  for (int64_t m : {1, 3, 4, 9, 130})
    for (int64_t n : {1, 4, 7, 515})
      for (int64_t k : {0, 1, 5, 300}) {
        std::vector<uint64_t> a(m * k), b(k * n), c(m * n, 3), want(m * n, 3);
        for (size_t e = 0; e < a.size(); ++e) a[e] = e * 7 % 31 - 15;  // some wrap below zero
        for (size_t e = 0; e < b.size(); ++e) b[e] = e * 5 % 29;
        gemm<uint64_t>(m, n, k, {a.data(), k}, {b.data(), n}, {c.data(), n});
        for (int64_t i = 0; i < m; ++i)
          for (int64_t p = 0; p < k; ++p)
            for (int64_t j = 0; j < n; ++j) want[i * n + j] += a[i * k + p] * b[p * n + j];
        ASSERT_EQ(c, want) << m << "x" << n << "x" << k;
      }
}

TEST(EvalContract, RoundsFactorsToTf32) {
  const double third = 0x1.555556p-2, rounded = 0x1.554p-2;  // of f32 and tf32
  ContractAttrs a = spec("mk,kn->mn");
  a.tf32 = true;
  EXPECT_EQ(doubles(run_op(OpKind::contract, {f32({1, 1}, {third}), f32({1, 1}, {third})}, a)), Doubles{rounded * rounded});
  EXPECT_EQ(doubles(run_op(OpKind::contract, {f32({1, 1}, {third}), f32({1, 1}, {1})}, spec("mk,kn->mn"))), Doubles{third});
  Net n;
  auto wrong = n.try_op(OpKind::contract, {n.input("f16[2,3]"), n.input("f16[3,2]", "y")}, a);
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().message, "contract rounds f16 and f16 to tf32, which only f32 can be");
}

TEST(EvalContract, MatrixProductsWithBatchesBiasAndAlpha) {
  Tensor a = f32({2, 3}, counting(6)), b = f32({3, 2}, counting(6));
  EXPECT_EQ(doubles(run_op(OpKind::contract, {a, b}, spec("mk,kn->mn"))), (Doubles{22, 28, 49, 64}));
  EXPECT_EQ(doubles(run_op(OpKind::contract, {a, b}, spec("mk,kn->nm"))), (Doubles{22, 49, 28, 64}));
  ContractAttrs scaled = spec("mk,kn->mn");
  scaled.alpha = 0.5;
  EXPECT_EQ(doubles(run_op(OpKind::contract, {a, b, f32({2}, {1, -1})}, scaled)), (Doubles{12, 13, 25.5, 31}));
  // A batch of one is broadcast, and so is a letter that one input lacks.
  auto batched = run_op(OpKind::contract, {f32({1, 1, 2}, {1, 2}), f32({2, 2, 1}, {1, 2, 3, 4})}, spec("bmk,bkn->bmn"));
  EXPECT_EQ(result_of(batched).dims, (Ints{2, 1, 1}));
  EXPECT_EQ(doubles(batched), (Doubles{5, 11}));
  EXPECT_EQ(doubles(run_op(OpKind::contract, {f32({2, 1, 2}, {1, 2, 3, 4}), f32({2, 1}, {1, 2})}, spec("bmk,kn->bmn"))), (Doubles{5, 11}));
  // Nothing is summed; a letter of one input alone is.
  EXPECT_EQ(doubles(run_op(OpKind::contract, {f32({2}, {1, 2}), f32({2}, {3, 4})}, spec("i,j->ij"))), (Doubles{3, 4, 6, 8}));
  EXPECT_EQ(doubles(run_op(OpKind::contract, {f32({2, 2}, counting(4)), f32({2}, {10, 1})}, spec("ix,i->i"))), (Doubles{30, 7}));
  EXPECT_EQ(doubles(run_op(OpKind::contract, {f32({2, 0}, {}), f32({0, 1}, {}), f32({}, {7})}, spec("mk,kn->mn"))), (Doubles{7, 7}));
}

TEST(EvalContract, IntegersWidenOrWrap) {
  auto bytes = run_op(OpKind::contract, {ints(DType::u8, {1, 2}, {255, 255}), ints(DType::i8, {2, 1}, {-128, 127})}, spec("mk,kn->mn"));
  EXPECT_EQ(result_of(bytes).dtype, DType::i32);
  EXPECT_EQ(integers(bytes), Ints{-255});
  auto wide = run_op(OpKind::contract, {i64({1, 1}, {INT64_MAX}), i64({1, 1}, {2}), i64({1}, {5})}, spec("mk,kn->mn"));
  EXPECT_EQ(integers(wide), Ints{3});
  EXPECT_EQ(integers(run_op(OpKind::contract, {ints(DType::i32, {1, 1}, {1 << 30}), ints(DType::i32, {1, 1}, {4})}, spec("mk,kn->mn"))), Ints{0});
}

TEST(EvalContract, ScalesPerTensorRowAndBlock) {
  Tensor a = ints(DType::i8, {2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), b = ints(DType::i8, {4, 1}, {1, 1, 1, 1});
  ContractAttrs at = spec("mk,kn->mn");
  at.has_out_type = true;
  auto run = [&](Operand sa, Operand sb) { return doubles(run_op(OpKind::contract, {a, b, Operand(), sa, sb}, at)); };
  EXPECT_EQ(run(f32({}, {0.5}), Operand()), (Doubles{5, 13}));
  EXPECT_EQ(run(f32({2}, {1, 10}), f32({1}, {2})), (Doubles{20, 520}));
  EXPECT_EQ(run(f32({2, 2}, {1, 10, 100, 1000}), Operand()), (Doubles{73, 16100}));
  EXPECT_FALSE(run_op(OpKind::contract, {a, b, Operand(), f32({2, 3}, counting(6))}, at).ok());
  EXPECT_FALSE(run_op(OpKind::contract, {a, b, Operand(), f32({3}, counting(3))}, at).ok());
}

TEST(InferContract, TypesShapesAndErrors) {
  Net n;
  Value *a = n.input("f16[b,4,k]"), *b = n.input("f16[k,n]");
  EXPECT_EQ(text_of(n.op(OpKind::contract, {a, b}, spec("bmk,kn->bmn"))), "f16[b,4,n]");
  ContractAttrs out = spec("bmk,kn->bmn");
  out.has_out_type = true;
  EXPECT_EQ(text_of(n.op(OpKind::contract, {a, b}, out)), "f32[b,4,n]");
  EXPECT_EQ(text_of(n.op(OpKind::contract, {n.input("u8[2,3]"), n.input("i8[3,2]")}, spec("mk,kn->mn"))), "i32[2,2]");
  EXPECT_EQ(text_of(n.op(OpKind::contract, {n.input("bf16[2,3]"), n.input("i8[3,2]")}, spec("mk,kn->mn"))), "bf16[2,2]");
  Value *x = n.input("f32[2,3]"), *y = n.input("f32[4,2]");
  for (const char* bad : {"mk,kn->mn", "mm,kn->mn", "mk,kn->mx", "mk,kn", "m,kn->mn", "m1,kn->m"})
    EXPECT_FALSE(n.try_op(OpKind::contract, {x, y}, spec(bad)).ok()) << bad;
  EXPECT_FALSE(n.try_op(OpKind::contract, {n.input("f32[2,3]"), n.input("f16[3,2]")}, spec("mk,kn->mn")).ok());
  EXPECT_FALSE(n.try_op(OpKind::contract, {x, n.input("f32[3,2]"), n.input("f32[3]")}, spec("mk,kn->mn")).ok());
}

}  // namespace
}  // namespace weft::eval_test
