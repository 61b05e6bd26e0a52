// Expansions: an op and what it expands to give the same numbers, and shapes that hold for symbolic dims.
#include "ir/expand/expand.h"

#include <random>

#include "ir/ops/attention.h"
#include "ir/ops/rnn.h"
#include "ir/ops/signal.h"
#include "tests/unit/eval_support.h"

namespace weft::eval_test::expand {
namespace {

struct Arg {
  DType dtype = DType::f32;
  Shape shape;
  std::vector<int64_t> integers;  // contents of an integer operand
  bool fixed = false;             // a constant
  bool absent = false;
  Arg() : absent(true) {}
  Arg(Shape s, DType t = DType::f32) : dtype(t), shape(std::move(s)) {}
  Arg(std::vector<int64_t> v, Shape s, bool fixed = false, DType t = DType::i64)
      : dtype(t), shape(std::move(s)), integers(std::move(v)), fixed(fixed) {}
};

// Random in [-1, 1], or the given integers, under the values of the symbols.
Tensor fill(const Arg& a, const SymbolValues& symbols, std::mt19937& random) {
  std::vector<int64_t> dims;
  for (const Dim& d : a.shape) dims.push_back(*d.eval(symbols));
  Tensor t = *Tensor::make(a.dtype, dims);
  if (!a.integers.empty()) return ints(a.dtype, dims, a.integers);
  std::vector<double> v(t.numel());
  for (double& x : v) x = std::uniform_real_distribution<double>(-1, 1)(random);
  if (is_float(a.dtype)) return floats(a.dtype, dims, v);
  std::vector<int64_t> bits;
  for (double x : v) bits.push_back(x > -0.3);
  return ints(a.dtype, dims, bits);
}

// Every result of the op against that of its expansion; nothing of the op may be left.
void check(OpKind kind, const std::vector<Arg>& args, std::unique_ptr<Attrs> attrs, int results, const SymbolValues& symbols, double bound) {
  Module m;
  Graph* g = m.add_graph("main");
  Builder b(g);
  std::mt19937 random(7);
  std::vector<Value*> operands;
  std::vector<HostValue> inputs;
  for (const Arg& a : args) {
    if (a.absent) {
      operands.push_back(nullptr);
      continue;
    }
    Tensor t = fill(a, symbols, random);
    if (a.fixed) {
      operands.push_back(add_operand(b, fixed(t)));
      continue;
    }
    operands.push_back(g->add_input(Type::tensor(a.dtype, a.shape), "x"));
    inputs.push_back(std::move(t));
  }
  auto op = b.create(kind, operands, std::move(attrs), results);
  ASSERT_TRUE(op.ok()) << op.error().to_string();
  for (int r = 0; r < results; ++r) g->outputs.push_back((*op)->result(r));
  std::vector<Type> types;
  for (const Value* v : g->outputs) types.push_back(v->type);
  auto want = evaluate(*g, inputs);
  ASSERT_TRUE(want.ok()) << want.error().to_string();
  auto changed = expand_composites(*g);
  ASSERT_TRUE(changed.ok()) << changed.error().to_string();
  ASSERT_TRUE(*changed) << op_name(kind) << " was left alone";
  auto got = evaluate(*g, inputs);
  ASSERT_TRUE(got.ok()) << got.error().to_string();
  for (int r = 0; r < results; ++r) {
    EXPECT_EQ(g->outputs[r]->type.dtype, types[r].dtype);
    EXPECT_EQ(result_of(got, r).dims, result_of(want, r).dims);
    expect_near(doubles(got, r), doubles(want, r), bound);
  }
}
template <class A>
void check(OpKind kind, const std::vector<Arg>& args, const A& attrs, int results, const SymbolValues& symbols = {}, double bound = 1e-5) {
  check(kind, args, attrs.clone(), results, symbols, bound);
}

const Dim B = Dim::symbol("b"), S = Dim::symbol("s"), P = Dim::symbol("p");
const SymbolValues kSizes{{"b", 2}, {"s", 3}, {"p", 4}};

TEST(Expand, AttentionPackedCausalWithPast) {
  AttentionAttrs a;
  a.is_causal = true;
  a.q_num_heads = 4;
  a.kv_num_heads = 2;
  a.softcap = 0.5;
  check(OpKind::attention, {Arg({B, S, 32}), Arg({B, S, 16}), Arg({B, S, 10}), Arg(), Arg({B, 2, P, 8}), Arg({B, 2, P, 5})}, a, 4, kSizes);
}
TEST(Expand, AttentionMasksWindowsLengths) {
  AttentionAttrs a;
  a.qk_matmul_output_mode = 2;
  Arg q({B, 4, S, 8}), k({B, 2, P, 8}), v({B, 2, P, 8});
  check(OpKind::attention, {q, k, v, Arg({4, S, P})}, a, 4, kSizes);
  check(OpKind::attention, {q, k, v, Arg({S, Dim(3)}, DType::b1)}, a, 4, kSizes);
  a.qk_matmul_output_mode = 3;
  a.is_causal = true;
  a.left_window_size = 1;
  check(OpKind::attention, {q, k, v, Arg({B, 1, S, P}, DType::b1), Arg(), Arg(), Arg({4, 1}, {B})}, a, 4, kSizes);
  a = AttentionAttrs();
  a.right_window_size = 0;
  a.has_scale = true;
  a.scale = 3;
  check(OpKind::attention, {Arg({B, 2, S, 8}, DType::f16), Arg({B, 2, P, 8}, DType::f16), Arg({B, 2, P, 8}, DType::f16)}, a, 3, kSizes, 2e-3);
}
TEST(Expand, Rotary) {
  RotaryAttrs a;
  a.num_heads = 2;
  a.rotary_embedding_dim = 4;
  Arg ids({0, 2, 1, 3, 3, 0}, {B, S});
  check(OpKind::rotary_embedding, {Arg({B, S, 12}), Arg({4, 2}), Arg({4, 2}), ids}, a, 1, kSizes);
  a.interleaved = true;
  check(OpKind::rotary_embedding, {Arg({B, S, 12}), Arg({4, 2}), Arg({4, 2}), ids}, a, 1, kSizes);
  check(OpKind::rotary_embedding, {Arg({B, 3, S, 8}), Arg({1, S, 4}), Arg({1, S, 4})}, RotaryAttrs(), 1, kSizes);
}
TEST(Expand, LinearAttention) {
  LinearAttentionAttrs a;
  a.q_num_heads = 4;
  a.kv_num_heads = 2;
  Arg q({B, S, 12}), k({B, S, 6}), v({B, S, 10}), past({B, 2, 3, 5});
  check(OpKind::linear_attention, {q, k, v, past, Arg({B, S, 6}), Arg({B, S, 1})}, a, 2, kSizes);
  check(OpKind::linear_attention, {q, k, v, Arg(), Arg({B, S, 2}), Arg({B, S, 2})}, a, 2, kSizes);
  a.update_rule = "linear";
  check(OpKind::linear_attention, {q, k, v}, a, 2, kSizes);
}
TEST(Expand, CausalConv) {
  CausalConvAttrs a;
  a.activation = "swish";
  check(OpKind::causal_conv_with_state, {Arg({B, 3, S}), Arg({3, 1, 4}), Arg({3}), Arg({B, 3, 3})}, a, 2, kSizes);
  check(OpKind::causal_conv_with_state, {Arg({B, 3, S}), Arg({3, 1, 5})}, CausalConvAttrs(), 2, kSizes);
  check(OpKind::causal_conv_with_state, {Arg({B, 3, S}), Arg({3, 1, 1})}, CausalConvAttrs(), 2, kSizes);
}

TEST(Expand, Lstm) {
  RnnAttrs a;
  a.direction = "bidirectional";
  Arg x({S, B, 3}), w({2, 20, 3}), r({2, 20, 5}), b({2, 40}), h({2, B, 5}), p({2, 15});
  check(OpKind::lstm, {x, w, r, b, Arg({3, 1}, {B}, false, DType::i32), h, h, p}, a, 3, kSizes);
  a.direction = "reverse";
  a.layout = 1;
  a.input_forget = true;
  a.clip = 0.4;
  check(OpKind::lstm, {Arg({B, S, 3}), Arg({1, 20, 3}), Arg({1, 20, 5})}, a, 3, kSizes);
}
TEST(Expand, GruAndRnn) {
  RnnAttrs a;
  a.direction = "bidirectional";
  a.layout = 1;
  Arg x({B, S, 3}), w({2, 15, 3}), r({2, 15, 5}), b({2, 30}), h({B, 2, 5});
  check(OpKind::gru, {x, w, r, b, Arg({2, 3}, {B}, false, DType::i32), h}, a, 2, kSizes);
  a.linear_before_reset = true;
  check(OpKind::gru, {x, w, r, b, Arg(), h}, a, 2, kSizes);
  a = RnnAttrs();
  for (const char* f : {"Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus", "Softsign", "Tanh",
                        "ThresholdedRelu"}) {
    a.activations = {f};
    a.activation_alpha = {0.3};
    a.activation_beta = {0.2};
    check(OpKind::rnn, {Arg({S, B, 3}), Arg({1, 4, 3}), Arg({1, 4, 4})}, a, 2, kSizes);
  }
}

TEST(Expand, Fourier) {
  DftAttrs a;
  check(OpKind::dft, {Arg({B, 7, 2}), Arg({5}, {}, true)}, a, 1, kSizes);
  a.onesided = true;
  check(OpKind::dft, {Arg({6, B, 1}), Arg({8}, {}, true), Arg({0}, {}, true)}, a, 1, kSizes);
  Arg length({5}, {}, false), axis({-3}, {}, false);
  for (bool onesided : {false, true}) {
    DftAttrs open;
    open.onesided = onesided;
    check(OpKind::dft, {Arg({3, 2, 4, 2}), Arg(), axis}, open, 1, kSizes);
    check(OpKind::dft, {Arg({B, S, 1}), length}, open, 1, kSizes);
    open.inverse = true;
    check(OpKind::dft, {Arg({3, 4, 4, 2}), length, axis}, open, 1, kSizes);
  }
  a.inverse = true;
  check(OpKind::dft, {Arg({B, 5, 2})}, a, 1, kSizes);
  check(OpKind::dft, {Arg({B, 5, 2}), Arg({7}, {}, true)}, a, 1, kSizes);
  a.onesided = false;
  check(OpKind::dft, {Arg({B, 5, 2})}, a, 1, kSizes);
  check(OpKind::stft, {Arg({B, Dim::symbol("l"), 1}), Arg({2}, {}, true), Arg({5})}, StftAttrs(), 1, {{"b", 2}, {"l", 11}});
  StftAttrs both;
  both.onesided = false;
  check(OpKind::stft, {Arg({B, 9, 2}), Arg({3}, {}, true), Arg(), Arg({4}, {}, true)}, both, 1, kSizes);
  check(OpKind::stft, {Arg({B, 9, 2}), Arg({3}, {}, false), Arg(), Arg({4}, {}, false)}, both, 1, kSizes);
  check(OpKind::stft, {Arg({B, 9}), Arg({2}, {}, true), Arg({3}), Arg({5}, {}, true)}, StftAttrs(), 1, kSizes);
}
TEST(Expand, WindowsMelAndDynamicQuantization) {
  SignalWindowAttrs a;
  a.periodic = false;
  for (OpKind k : {OpKind::hann_window, OpKind::hamming_window, OpKind::blackman_window}) check(k, {Arg({9}, {}, true)}, a, 1);
  check(OpKind::dynamic_quantize_linear, {Arg({B, 6})}, NoAttrs(), 3, kSizes);
  Module m;
  Graph* g = m.add_graph("main");
  Builder b(g);
  std::vector<Value*> operands;
  for (double v : {8.0, 16.0, 8192.0}) operands.push_back(b.scalar(DType::i64, v));
  for (double v : {0.0, 4096.0}) operands.push_back(b.scalar(DType::f32, v));
  g->outputs = {b.op(OpKind::mel_weight_matrix, operands)};
  auto want = evaluate(*g, {});
  ASSERT_TRUE(expand_composites(*g).ok());
  EXPECT_EQ(doubles(evaluate(*g, {})), doubles(want));
}

TEST(Expand, LeavesWhatItCannotTake) {
  Module m;
  Graph* g = m.add_graph("main");
  Value* x = g->add_input(Type::tensor(DType::f32, {1, S, Dim::symbol("parts")}), "x");
  g->outputs = {Builder(g).op(OpKind::dft, {x})};
  auto changed = expand_composites(*g);
  ASSERT_TRUE(changed.ok());
  EXPECT_FALSE(*changed);
  EXPECT_EQ(g->ops.size(), 1u);
}

}  // namespace
}  // namespace weft::eval_test::expand
