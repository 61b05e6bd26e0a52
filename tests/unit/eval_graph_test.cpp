// Graph evaluation: order, lifetimes, checks of inputs and results, fused bodies, constants as tensors.
#include "tests/unit/eval_support.h"

namespace weft::eval_test {
namespace {

using Doubles = std::vector<double>;

TEST(EvalTensor, MakeRejectsHugeAndNegativeDims) {
  EXPECT_EQ(Tensor::make(DType::f32, {int64_t{1} << 40}).error().code, Code::kResources);
  EXPECT_EQ(Tensor::make(DType::f32, {int64_t{1} << 62, int64_t{1} << 62, 0}).error().code, Code::kResources);
  EXPECT_EQ(Tensor::make(DType::f32, {-1}).error().code, Code::kInvalidModel);
  EXPECT_EQ(load_all<double>(Tensor::make(DType::f64, {2, 2}).value()), (Doubles{0, 0, 0, 0}));
  EXPECT_EQ(Tensor::make(DType::str, {3}).value().strings->size(), 3u);
}

TEST(EvalTensor, RowsConvertBetweenCarriers) {
  Tensor u = ints(DType::u8, {2}, {255, 3});
  EXPECT_EQ(load_all<double>(u), (Doubles{255, 3}));
  EXPECT_EQ(load_all<int64_t>(ints(DType::i4, {2}, {-8, 7})), (std::vector<int64_t>{-8, 7}));
  EXPECT_EQ(load_all<double>(ints(DType::b1, {2}, {1, 0})), (Doubles{1, 0}));
}

TEST(EvalTensor, ConstantsOfEverySource) {
  ConstantPool pool;
  float half = 0.5f;
  int splat = pool.add_splat("s", DType::f32, {3}, &half);
  EXPECT_EQ(load_all<double>(tensor_of(pool[splat]).value()), (Doubles{0.5, 0.5, 0.5}));
  int bytes = pool.add_i64("i", {2}, {4, 5});
  Tensor t = tensor_of(pool[bytes]).value();
  EXPECT_EQ(load_all<int64_t>(t), (std::vector<int64_t>{4, 5}));
  int text = pool.add_strings("t", {1}, {"a"});
  EXPECT_EQ(tensor_of(pool[text])->strings->at(0), "a");
}

TEST(EvalGraph, RunsOpsAndFreesValues) {
  Module m;
  Graph* g = m.add_graph("main");
  Builder b(g);
  Value* x = g->add_input(Type::tensor(DType::f32, {Dim::symbol("n")}), "x");
  Value* y = b.op(OpKind::add, {x, x});
  y = b.op(OpKind::mul, {y, y});
  g->outputs = {y, x, y};
  Tensor in = f32({2}, {1, -3});
  std::weak_ptr<std::byte> alive = in.data;
  std::vector<HostValue> inputs{in};
  in = Tensor();
  struct Seen {
    int ops = 0;
    std::vector<OpKind> kinds;
  } seen;
  EvalOptions options;
  options.observe = [](const Op& op, const std::vector<HostValue>&, void* s) { static_cast<Seen*>(s)->kinds.push_back(op.kind); };
  options.observe_state = &seen;
  auto r = evaluate(*g, std::move(inputs), options);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(doubles(r, 0), (Doubles{4, 36}));
  EXPECT_EQ(doubles(r, 1), (Doubles{1, -3}));
  EXPECT_EQ(doubles(r, 2), (Doubles{4, 36}));
  EXPECT_EQ(seen.kinds, (std::vector<OpKind>{OpKind::add, OpKind::mul}));
  EXPECT_FALSE(alive.expired());
  r = std::vector<HostValue>{};
  EXPECT_TRUE(alive.expired());
}

TEST(EvalGraph, ValuesDieAfterTheirLastUse) {
  Module m;
  Graph* g = m.add_graph("main");
  Builder b(g);
  Value* v = g->add_input(Type::tensor(DType::f32, {1}), "x");
  for (int k = 0; k < 3; ++k) v = b.op(OpKind::neg, {v});
  g->outputs = {v};
  Tensor in = f32({1}, {1});
  struct State {
    std::weak_ptr<std::byte> input;
    int ops = 0;
  } state{in.data};
  EvalOptions options;
  options.observe = [](const Op&, const std::vector<HostValue>&, void* p) {
    State& s = *static_cast<State*>(p);
    // Dropped once the first op is done.
    if (s.ops++ > 0) { EXPECT_TRUE(s.input.expired()); }
  };
  options.observe_state = &state;
  std::vector<HostValue> inputs{std::move(in)};
  ASSERT_TRUE(evaluate(*g, std::move(inputs), options).ok());
  EXPECT_EQ(state.ops, 3);
}

TEST(EvalGraph, InputsMustFitTheirTypes) {
  Module m;
  Graph* g = m.add_graph("main");
  Dim n = Dim::symbol("n");
  Value* a = g->add_input(Type::tensor(DType::f32, {n, 2}), "a");
  Value* b = g->add_input(Type::tensor(DType::f32, {n, 1}), "b");
  g->outputs = {Builder(g).op(OpKind::add, {a, b})};
  Tensor two = f32({2, 2}, {1, 2, 3, 4}), fit = f32({2, 1}, {1, 1}), wrong = f32({3, 1}, {1, 1, 1});
  EXPECT_TRUE(evaluate(*g, {two, fit}).ok());
  EXPECT_EQ(evaluate(*g, {two, wrong}).error().code, Code::kUsage);
  EXPECT_EQ(evaluate(*g, {two}).error().code, Code::kUsage);
  EXPECT_EQ(evaluate(*g, {two, i64({2, 1}, {1, 1})}).error().tensor, "b");
}

TEST(EvalGraph, UnprovedBroadcastIsCheckedAtRunTime) {
  Module m;
  Graph* g = m.add_graph("main");
  Value* a = g->add_input(Type::tensor(DType::f32, {Dim::symbol("n")}), "a");
  Value* b = g->add_input(Type::tensor(DType::f32, {Dim::symbol("m")}), "b");
  g->outputs = {Builder(g).op(OpKind::add, {a, b})};
  EXPECT_TRUE(evaluate(*g, {f32({2}, {1, 2}), f32({2}, {1, 2})}).ok());
  auto bad = evaluate(*g, {f32({2}, {1, 2}), f32({3}, {1, 2, 3})});
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, Code::kInvalidModel);
  EXPECT_NE(bad.error().node.find("add"), std::string::npos);
}

TEST(EvalGraph, AnOpWithoutRuleIsUnsupported) {
  Op op;
  op.kind = OpKind::recv;
  op.attrs = std::make_unique<NoAttrs>();
  EXPECT_EQ(evaluate_op(op, {}).error().code, Code::kUnsupported);
}

TEST(EvalGraph, AbsentOperandsMayBeNull) {
  Module m;
  Graph* g = m.add_graph("main");
  Value* x = g->add_input(Type::tensor(DType::f32, {3}), "x");
  Value* hi = g->add_input(Type::tensor(DType::f32, {}), "hi");
  Op* clip = Builder(g).create(OpKind::clip, {x, nullptr, hi}).value();
  HostValue a = f32({3}, {-1, 2, 9}), top = f32({}, {3}), none;
  EXPECT_EQ(doubles(evaluate_op(*clip, {&a, nullptr, &top})), (Doubles{-1, 2, 3}));
  EXPECT_EQ(doubles(evaluate_op(*clip, {&a, &none, &top})), (Doubles{-1, 2, 3}));
}

}  // namespace
}  // namespace weft::eval_test
