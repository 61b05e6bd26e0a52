// Attention as one kernel: head sizes, types, few and many rows, shared heads, and all that hides keys.
#include "ir/ops/attention.h"
#include "tests/backend/support.h"

namespace weft::backend_test::attention {

namespace {

const Dim B = Dim::symbol("b"), S = Dim::symbol("s"), T = Dim::symbol("t"), P = Dim::symbol("p");

struct Sizes {
  int64_t batch, heads, kv_heads, queries, keys, head, v_head;
};

struct AttentionGraph : TestGraph {
  explicit AttentionGraph(const Sizes& z, bool fixed) : z(z) {
    b = fixed ? Dim(z.batch) : B;
    s = fixed ? Dim(z.queries) : S;
    t = fixed ? Dim(z.keys) : T;
    bind("b", z.batch);
    bind("s", z.queries);
    bind("t", z.keys);
  }
  std::vector<Value*> operands(DType type) {
    return {input(type, {b, z.heads, s, z.head}), input(type, {b, z.kv_heads, t, z.head}), input(type, {b, z.kv_heads, t, z.v_head})};
  }
  Sizes z;
  Dim b, s, t;
};

// Of weights rounded to the type before they meet the values.
Bound bound_of(DType t) { return Bound::range(t == DType::f32 ? 64 : 4); }

}  // namespace

TEST(AttentionKernel, HeadSizes) {
  for (DType type : {DType::f32, DType::f16, DType::bf16})
    for (auto [head, v_head] : {std::pair{8, 8}, {20, 12}, {64, 64}, {80, 80}, {128, 64}, {128, 128}, {192, 128}, {256, 256}}) {
      AttentionGraph g({1, 4, 2, 37, 83, head, v_head}, true);
      g.check({g.op(OpKind::attention, g.operands(type))}, bound_of(type));
    }
}

TEST(AttentionKernel, FewAndManyRows) {
  for (DType type : {DType::f32, DType::f16})
    for (int64_t queries : {1, 3, 16, 17, 64, 150})
      for (bool fixed : {false, true}) {
        AttentionGraph g({2, 6, 2, queries, 300, 64, 64}, fixed);
        AttentionAttrs a;
        a.is_causal = a.queries_last = true;
        g.check({g.op(OpKind::attention, g.operands(type), a)}, bound_of(type));
      }
}

TEST(AttentionKernel, WhatHidesKeys) {
  for (DType type : {DType::f32, DType::bf16})
    for (int64_t queries : {2, 70})
      for (int form = 0; form < 5; ++form) {
        AttentionGraph g({2, 4, 2, queries, 200, 32, 32}, false);
        AttentionAttrs a;
        std::vector<Value*> in = g.operands(type);
        if (form == 0) a.left_window_size = 20, a.right_window_size = 5;
        if (form == 1) a.is_causal = true, a.left_window_size = 9, a.queries_last = true;
        if (form == 2) in.push_back(g.input(DType::b1, {g.b, 1, 1, g.t}));
        if (form == 3) in.push_back(g.input(type, {g.s, 111}));
        if (form == 4) {
          a.is_causal = true;
          a.softcap = 3;
          in.resize(6);
          in.push_back(g.input(tensor_of_values<int64_t>(DType::i64, {2}, {1, 163}), Shape{g.b}));
        }
        g.check({g.op(OpKind::attention, in, a)}, bound_of(type));
      }
}

TEST(AttentionKernel, PackedHeadsAndEpilogue) {
  for (DType type : {DType::f32, DType::f16}) {
    TestGraph g;
    g.bind("b", 2);
    g.bind("s", 45);
    AttentionAttrs a;
    a.q_num_heads = 6;
    a.kv_num_heads = 2;
    Value* y = g.op(OpKind::attention, {g.input(type, {B, S, 6 * 64}), g.input(type, {B, S, 2 * 64}), g.input(type, {B, S, 2 * 64})}, a);
    g.check({g.op(OpKind::add, {g.op(OpKind::relu, {y}), g.input(type, {6 * 64})})}, bound_of(type));
  }
}

TEST(AttentionKernel, PastBecomesPartOfTheKeys) {
  for (int64_t past : {0, 1, 129}) {
    TestGraph g;
    g.bind("s", 4);
    g.bind("p", past);
    AttentionAttrs a;
    a.is_causal = true;
    auto in = [&](int64_t heads, const Dim& length) { return g.input(DType::f16, {1, heads, length, 64}); };
    Op* op = g.make(OpKind::attention, {in(8, S), in(2, S), in(2, S), nullptr, in(2, P), in(2, P)}, a, 3);
    g.check({op->result(0), op->result(1), op->result(2)}, Bound::range(4));
  }
}

}  // namespace weft::backend_test::attention
