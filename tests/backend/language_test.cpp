// Attention and its relatives on the CPU, with symbolic batch, sequence and past.
#include "ir/ops/attention.h"
#include "tests/backend/support.h"

namespace weft::backend_test::language {

namespace {

const Dim B = Dim::symbol("b"), S = Dim::symbol("s"), P = Dim::symbol("p");

struct Language : TestGraph {
  Language(int64_t b, int64_t s, int64_t p) {
    bind("b", b);
    bind("s", s);
    bind("p", p);
  }
};

}  // namespace

TEST(Attention, PackedGroupsCausalWithPast) {
  for (auto [b, s, p] : {std::array<int64_t, 3>{1, 1, 7}, {2, 5, 3}, {1, 4, 0}}) {
    Language g(b, s, p);
    AttentionAttrs a;
    a.is_causal = true;
    a.q_num_heads = 6;
    a.kv_num_heads = 2;
    a.softcap = 2;
    Op* op = g.make(OpKind::attention, {g.input(DType::f32, {B, S, 48}), g.input(DType::f32, {B, S, 16}), g.input(DType::f32, {B, S, 12}), nullptr,
                                        g.input(DType::f32, {B, 2, P, 8}), g.input(DType::f32, {B, 2, P, 6})}, a, 4);
    g.check({op->result(0), op->result(1), op->result(2), op->result(3)}, Bound::range(64));
  }
}
TEST(Attention, MasksWindowsAndLengths) {
  for (DType mask : {DType::f32, DType::b1}) {
    Language g(2, 3, 9);
    AttentionAttrs a;
    a.left_window_size = 4;
    a.is_causal = mask == DType::b1;
    a.qk_matmul_output_mode = 3;
    Value* lengths = g.input(tensor_of_values<int64_t>(DType::i64, {2}, {2, 9}), Shape{B});
    Op* op = g.make(OpKind::attention, {g.input(DType::f32, {B, 2, S, 8}), g.input(DType::f32, {B, 2, P, 8}), g.input(DType::f32, {B, 2, P, 8}),
                                        g.input(mask, {S, 7}), nullptr, nullptr, lengths}, a, 4);
    g.check({op->result(0), op->result(3)}, Bound::range(64));
  }
}
TEST(Attention, Half) {
  Language g(1, 4, 6);
  Value* q = g.input(DType::f16, {B, 2, S, 8});
  g.check({g.op(OpKind::attention, {q, g.input(DType::f16, {B, 1, P, 8}), g.input(DType::f16, {B, 1, P, 8})})}, Bound::range(2));
}

TEST(Rotary, AllForms) {
  for (bool interleaved : {false, true}) {
    Language g(2, 5, 16);
    RotaryAttrs a;
    a.interleaved = interleaved;
    a.num_heads = 3;
    a.rotary_embedding_dim = 6;
    Value* ids = g.input(DType::i64, {B, S});
    Value *x = g.input(DType::f32, {B, S, 24}), *cos = g.input(DType::f32, {P, 3}), *sin = g.input(DType::f32, {P, 3});
    Value* packed = g.op(OpKind::rotary_embedding, {x, cos, sin, ids}, a);
    RotaryAttrs whole;
    whole.interleaved = interleaved;
    x = g.input(DType::f32, {B, 2, S, 8});
    Value* heads = g.op(OpKind::rotary_embedding, {x, g.input(DType::f32, {1, S, 4}), g.input(DType::f32, {1, S, 4})}, whole);
    g.check({packed, heads}, Bound::range(4));
  }
}

TEST(LinearAttention, RulesAndStates) {
  Language g(2, 5, 1);
  LinearAttentionAttrs a;
  a.q_num_heads = 4;
  a.kv_num_heads = 2;
  auto in = [&](int64_t width) { return g.input(DType::f32, {B, S, width}, -0.5, 0.5); };
  Op* op = g.make(OpKind::linear_attention, {in(12), in(6), in(10), g.input(DType::f32, {B, 2, 3, 5}), in(6), in(1)}, a, 2);
  g.check({op->result(0), op->result(1)}, Bound::range(32));
}
TEST(CausalConv, StateAndActivation) {
  for (bool past : {false, true}) {
    Language g(2, 5, 1);
    CausalConvAttrs a;
    a.activation = "silu";
    Op* op = g.make(OpKind::causal_conv_with_state, {g.input(DType::f32, {B, 3, S}), g.input(DType::f32, {3, 1, 4}), g.input(DType::f32, {3}),
                                                     past ? g.input(DType::f32, {B, 3, 3}) : nullptr}, a, 2);
    g.check({op->result(0), op->result(1)}, Bound::range(16));
  }
}

}  // namespace weft::backend_test::language
