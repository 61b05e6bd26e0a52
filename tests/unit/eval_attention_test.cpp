// Attention and the recurrent layers with a state: numbers from the formulas, written out.
#include "ir/ops/attention.h"

#include "tests/unit/eval_support.h"

namespace weft::eval_test::attention {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

// One head of size 1, so that scores are products; softmax of `scores` times `values`.
double weighted(const Doubles& scores, const Doubles& values) {
  double sum = 0, total = 0;
  for (size_t k = 0; k < scores.size(); ++k) {
    sum += std::exp(scores[k]);
    total += std::exp(scores[k]) * values[k];
  }
  return total / sum;
}
Tensor heads(const Doubles& v) { return f32({1, 1, static_cast<int64_t>(v.size()), 1}, v); }

TEST(EvalAttention, CausalWithPast) {
  AttentionAttrs a;
  a.is_causal = true;
  a.qk_matmul_output_mode = 3;
  auto r = run_op(OpKind::attention, {heads({1, 2}), heads({3, 4}), heads({30, 40}), {}, heads({5}), heads({50})}, a, 4);
  expect_near(doubles(r, 0), {weighted({5, 3}, {50, 30}), weighted({10, 6, 8}, {50, 30, 40})});
  EXPECT_EQ(result_of(r, 1).dims, (Ints{1, 1, 3, 1}));
  EXPECT_EQ(doubles(r, 1), (Doubles{5, 3, 4}));
  EXPECT_EQ(doubles(r, 2), (Doubles{50, 30, 40}));
  EXPECT_EQ(doubles(r, 3)[2], 0);
}

TEST(EvalAttention, CapThenMaskThenSoftmax) {
  AttentionAttrs a;
  a.has_scale = true;
  a.scale = 0.5;
  a.softcap = 2;
  a.qk_matmul_output_mode = 1;
  auto cap = [](double s) { return 2 * std::tanh(s / 2); };
  // The mask lacks the last key.
  auto r = run_op(OpKind::attention, {heads({2}), heads({1, 3, 9}), heads({10, 20, 90}), f32({1, 2}, {0.25, -1})}, a, 4);
  expect_near(doubles(r, 0), {weighted({cap(1) + 0.25, cap(3) - 1}, {10, 20})});
  expect_near(doubles(r, 3), {cap(1), cap(3), cap(9)});
}

TEST(EvalAttention, PackedGroupsReadTheirKeyHead) {
  AttentionAttrs a;
  a.q_num_heads = 4;
  a.kv_num_heads = 2;
  auto r = run_op(OpKind::attention, {f32({1, 1, 4}, {1, 2, 3, 4}), f32({1, 1, 2}, {5, 6}), f32({1, 1, 2}, {7, 8})}, a, 2);
  EXPECT_EQ(doubles(r), (Doubles{7, 7, 8, 8}));
  EXPECT_EQ(result_of(r, 1).dims, (Ints{1, 2, 1, 1}));
  a.kv_num_heads = 3;
  EXPECT_FALSE(run_op(OpKind::attention, {f32({1, 1, 4}, {1, 2, 3, 4}), f32({1, 1, 3}, {5, 6, 7}), f32({1, 1, 3}, {7, 8, 9})}, a).ok());
}

TEST(EvalAttention, PaddingWindowsAndNothingToSee) {
  AttentionAttrs a;
  a.is_causal = true;
  a.left_window_size = 1;
  Tensor q = f32({2, 1, 2, 1}, {1, 1, 1, 1}), k = f32({2, 1, 3, 1}, {0, 0, 0, 0, 0, 0}), v = f32({2, 1, 3, 1}, {1, 2, 4, 1, 2, 4});
  // Batch 0 ends at key 3: queries stand at 1 and 2. Batch 1 ends at key 1: they stand at -1 and 0.
  auto r = run_op(OpKind::attention, {q, k, v, {}, {}, {}, i64({2}, {3, 1})}, a);
  expect_near(doubles(r), {1.5, 3, 0, 1});
  a.is_causal = false;
  a.left_window_size = -1;
  a.right_window_size = 0;
  expect_near(doubles(run_op(OpKind::attention, {q, k, v}, a)), {1, 1.5, 1, 1.5});
  Tensor nothing = ints(DType::b1, {2, 1, 1, 3}, {0, 0, 0, 1, 0, 1});
  expect_near(doubles(run_op(OpKind::attention, {q, k, v, nothing}, AttentionAttrs())), {0, 0, 2.5, 2.5});
}

TEST(EvalAttention, SymbolicDims) {
  Module m;
  Graph* g = m.add_graph("main");
  Dim b = Dim::symbol("b"), s = Dim::symbol("s"), p = Dim::symbol("p");
  Builder build(g);
  AttentionAttrs a;
  a.q_num_heads = 4;
  a.kv_num_heads = 2;
  auto x = [&](Shape shape) { return g->add_input(Type::tensor(DType::f32, std::move(shape)), "x"); };
  auto op = build.create(OpKind::attention, {x({b, s, 32}), x({b, s, 16}), x({b, s, 16}), nullptr, x({b, 2, p, 8}), x({b, 2, p, 8})},
                         std::make_unique<AttentionAttrs>(a), 4);
  ASSERT_TRUE(op.ok()) << op.error().to_string();
  EXPECT_EQ((*op)->result(0)->type.to_string(), "f32[b,s,32]");
  EXPECT_EQ((*op)->result(1)->type.to_string(), Type::tensor(DType::f32, {b, 2, p + s, 8}).to_string());
  EXPECT_EQ((*op)->result(3)->type.shape[3], p + s);
}

TEST(EvalRotary, HalvesPairsAndTheRest) {
  // A quarter turn at position 1, none at 0.
  Tensor cos = f32({2, 1}, {1, 0}), sin = f32({2, 1}, {0, 1}), ids = i64({1, 2}, {0, 1});
  RotaryAttrs a;
  a.num_heads = 1;
  a.rotary_embedding_dim = 2;
  Tensor x = f32({1, 2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(doubles(run_op(OpKind::rotary_embedding, {x, cos, sin, ids}, a)), (Doubles{1, 2, 3, -5, 4, 6}));
  // Four channels without positions; caches of batch 1 serve both.
  Tensor y = f32({2, 1, 1, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), c = f32({1, 1, 2}, {0, 1}), s = f32({1, 1, 2}, {1, 0});
  EXPECT_EQ(doubles(run_op(OpKind::rotary_embedding, {y, c, s})), (Doubles{-3, 2, 1, 4, -7, 6, 5, 8}));
  RotaryAttrs pairs;
  pairs.interleaved = true;
  EXPECT_EQ(doubles(run_op(OpKind::rotary_embedding, {y, c, s}, pairs)), (Doubles{-2, 1, 3, 4, -6, 5, 7, 8}));
  EXPECT_EQ(run_op(OpKind::rotary_embedding, {x, cos, sin, i64({1, 2}, {0, 2})}, a).error().code, Code::kInvalidModel);
}

TEST(EvalLinearAttention, GatedDeltaByHand) {
  LinearAttentionAttrs a;
  a.q_num_heads = 2;
  a.kv_num_heads = 1;
  a.scale = 1;
  Tensor q = f32({1, 2, 2}, {1, 2, 3, 4}), k = f32({1, 2, 1}, {0.5, 2}), v = f32({1, 2, 1}, {4, 10}), past = f32({1, 1, 1, 1}, {3});
  Tensor decay = f32({1, 2, 1}, {0, std::log(0.5)}), beta = f32({1, 2, 1}, {1, 0.5});
  double s1 = 3 + 0.5 * (4 - 3 * 0.5), s2 = s1 / 2 + 2 * 0.5 * (10 - s1 / 2 * 2);
  auto r = run_op(OpKind::linear_attention, {q, k, v, past, decay, beta}, a, 2);
  expect_near(doubles(r), {s1, 2 * s1, 3 * s2, 4 * s2});
  expect_near(doubles(r, 1), {s2});
  a.update_rule = "linear";
  EXPECT_FALSE(run_op(OpKind::linear_attention, {q, k, v, past, decay}, a).ok());
}

TEST(EvalCausalConv, StateGoesBefore) {
  Tensor x = f32({1, 1, 2}, {3, 4}), w = f32({1, 1, 3}, {1, 10, 100}), bias = f32({1}, {0.5}), past = f32({1, 1, 2}, {1, 2});
  auto r = run_op(OpKind::causal_conv_with_state, {x, w, bias, past}, CausalConvAttrs(), 2);
  EXPECT_EQ(doubles(r), (Doubles{321.5, 432.5}));
  EXPECT_EQ(doubles(r, 1), (Doubles{3, 4}));
  CausalConvAttrs silu;
  silu.activation = "silu";
  expect_near(doubles(run_op(OpKind::causal_conv_with_state, {x, f32({1, 1, 1}, {1})}, silu)), {3 / (1 + std::exp(-3.0)), 4 / (1 + std::exp(-4.0))});
}

}  // namespace
}  // namespace weft::eval_test::attention
