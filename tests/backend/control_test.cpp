// if_else, loop and scan, nested, with dims that change and results that grow.
#include "ir/ops/control.h"
#include "ir/ops/move.h"
#include "ir/ops/reduce.h"
#include "tests/backend/support.h"

namespace weft::backend_test {

using Body = std::unique_ptr<Graph>;

static Tensor scalar_of(DType t, int64_t v) { return tensor_of_values<int64_t>(t, {}, {v}); }

// A body whose inputs have these types; `build` gives its outputs.
static Body body_of(TestGraph& g, const std::vector<Type>& inputs,
    const std::function<std::vector<Value*>(Builder&, const std::vector<Value*>&)>& build) {
  auto body = std::make_unique<Graph>();
  body->module = &g.module();
  std::vector<Value*> in;
  for (size_t k = 0; k < inputs.size(); ++k) in.push_back(body->add_input(inputs[k], "b" + std::to_string(k)));
  Builder b(body.get());
  body->outputs = build(b, in);
  return body;
}
static Op* with_bodies(TestGraph& g, OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs,
    int results, Body first, Body second = nullptr) {
  std::vector<Body> bodies;
  bodies.push_back(std::move(first));
  if (second) bodies.push_back(std::move(second));
  auto op = g.builder().create(kind, std::move(operands), std::move(attrs), results, std::move(bodies));
  EXPECT_TRUE(op.ok()) << op.error().to_string();
  return op.value();
}
static std::unique_ptr<Attrs> carries(int64_t n) {
  auto a = std::make_unique<LoopAttrs>();
  a->num_carried = n;
  return a;
}
static const Type kCount = Type::tensor(DType::i64, {}), kCond = Type::tensor(DType::b1, {});

TEST(BackendControl, IfTakesABranch) {
  for (int64_t yes : {0, 1}) {
    TestGraph g;
    Type t = Type::tensor(DType::f32, {3, 4});
    Value *x = g.input(DType::f32, {3, 4}), *y = g.input(DType::f32, {3, 4});
    auto a = body_of(g, {t, t}, [](Builder& b, auto& in) { return std::vector<Value*>{b.op(OpKind::add, {in[0], in[1]}), in[1]}; });
    auto c = body_of(g, {t, t}, [](Builder& b, auto& in) {
      return std::vector<Value*>{b.op(OpKind::mul, {in[0], in[1]}), b.op(OpKind::neg, {in[0]})};
    });
    Op* op = with_bodies(g, OpKind::if_else, {g.input(scalar_of(DType::b1, yes)), x, y}, nullptr, 2, std::move(a), std::move(c));
    g.check({op->result(0), g.op(OpKind::relu, {op->result(1)})}, Bound::ulps(1));
  }
}

TEST(BackendControl, BranchesOfDifferentDims) {
  for (int64_t yes : {0, 1}) {
    TestGraph g;
    Type t = Type::tensor(DType::f32, {4, 3});
    Value* x = g.input(DType::f32, {4, 3});
    auto whole = body_of(g, {t}, [](Builder& b, auto& in) { return std::vector<Value*>{b.op(OpKind::neg, {in[0]})}; });
    auto part = body_of(g, {t}, [](Builder& b, auto& in) {
      return std::vector<Value*>{b.op(OpKind::slice, {in[0], b.ints({1}), b.ints({3}), b.ints({0})})};
    });
    Op* op = with_bodies(g, OpKind::if_else, {g.input(scalar_of(DType::b1, yes)), x}, nullptr, 1, std::move(whole), std::move(part));
    g.check({op->result(), g.op(OpKind::relu, {op->result()})});
  }
}

TEST(BackendControl, LoopCountsAndCollects) {
  for (int64_t trips : {0, 1, 5, 40}) {
    TestGraph g;
    Type t = Type::tensor(DType::f32, {3});
    auto body = body_of(g, {kCount, kCond, t, t}, [](Builder& b, auto& in) {
      Value* sum = b.op(OpKind::add, {in[2], in[3]});
      return std::vector<Value*>{in[1], sum, b.op(OpKind::mul, {sum, sum}), in[0]};
    });
    Op* op = with_bodies(g, OpKind::loop,
        {g.input(scalar_of(DType::i64, trips)), nullptr, g.input(DType::f32, {3}), g.input(DType::f32, {3})},
        carries(1), 3, std::move(body));
    g.check({op->result(0), op->result(1), op->result(2), g.op(OpKind::neg, {op->result(1)})}, Bound::ulps(2));
  }
}

TEST(BackendControl, LoopStopsByItsCondition) {
  TestGraph g;
  Type t = Type::tensor(DType::i64, {});
  auto body = body_of(g, {kCount, kCond, t}, [](Builder& b, auto& in) {
    Value* twice = b.op(OpKind::add, {in[2], in[2]});
    return std::vector<Value*>{b.op(OpKind::less, {twice, b.scalar(DType::i64, 100)}), twice, twice};
  });
  Op* op = with_bodies(g, OpKind::loop, {nullptr, g.input(scalar_of(DType::b1, 1)), g.input(scalar_of(DType::i64, 3))},
      carries(1), 2, std::move(body));
  g.check({op->result(0), op->result(1)});
}

TEST(BackendControl, CarriedValuesThatGrowAndChangePlaces) {
  TestGraph g;
  Type t = Type::tensor(DType::f32, {2});
  auto body = body_of(g, {kCount, kCond, t, t, t}, [](Builder& b, auto& in) {
    Value* longer = b.op(OpKind::concat, {in[2], in[3]}, ConcatAttrs{});
    return std::vector<Value*>{in[1], longer, in[4], in[3]};
  });
  Op* op = with_bodies(g, OpKind::loop,
      {g.constant(scalar_of(DType::i64, 4)), nullptr, g.input(DType::f32, {2}), g.input(DType::f32, {2}),
          g.input(DType::f32, {2})},
      carries(3), 3, std::move(body));
  g.check({op->result(0), op->result(1), g.op(OpKind::neg, {op->result(2)})});
}

TEST(BackendControl, LoopsInLoopsAndBranches) {
  TestGraph g;
  Type t = Type::tensor(DType::f32, {3});
  auto body = body_of(g, {kCount, kCond, t}, [&](Builder& b, auto& in) {
    auto inner = body_of(g, {kCount, kCond, t, kCount}, [&](Builder& c, auto& v) {
      Value* even = c.op(OpKind::equal, {v[0], v[3]});
      auto yes = body_of(g, {t}, [](Builder& d, auto& w) { return std::vector<Value*>{d.op(OpKind::neg, {w[0]})}; });
      auto no = body_of(g, {t}, [](Builder& d, auto& w) { return std::vector<Value*>{d.op(OpKind::add, {w[0], w[0]})}; });
      std::vector<Body> bodies;
      bodies.push_back(std::move(yes));
      bodies.push_back(std::move(no));
      Op* choice = c.create(OpKind::if_else, {even, v[2]}, nullptr, 1, std::move(bodies)).value();
      return std::vector<Value*>{v[1], choice->result(), choice->result()};
    });
    std::vector<Body> bodies;
    bodies.push_back(std::move(inner));
    Op* loop = b.create(OpKind::loop, {in[0], nullptr, in[2], in[0]}, carries(1), 2, std::move(bodies)).value();
    ReduceAttrs keep;
    keep.keepdims = false;
    return std::vector<Value*>{in[1], loop->result(0), b.op(OpKind::reduce_sum, {loop->result(1), b.ints({0})}, keep)};
  });
  Op* op = with_bodies(g, OpKind::loop, {g.input(scalar_of(DType::i64, 4)), nullptr, g.input(DType::f32, {3})}, carries(1), 2, std::move(body));
  g.check({op->result(0), op->result(1)}, Bound::range(4));
}

TEST(BackendControl, ScanOverAxesBothWays) {
  TestGraph g;
  g.bind("n", 5);
  Type state = Type::tensor(DType::f32, {3}), slice = Type::tensor(DType::f32, {3});
  auto body = body_of(g, {state, slice, slice}, [](Builder& b, auto& in) {
    Value* sum = b.op(OpKind::add, {in[0], in[1]});
    return std::vector<Value*>{sum, b.op(OpKind::mul, {sum, in[2]}), b.op(OpKind::neg, {in[2]})};
  });
  auto a = std::make_unique<ScanAttrs>();
  a->num_carried = 1;
  a->num_scan_inputs = 2;
  a->scan_input_axes = {0, 1};
  a->scan_input_directions = {0, 1};
  a->scan_output_axes = {0, 1};
  a->scan_output_directions = {1, 0};
  Dim n = Dim::symbol("n");
  Op* op =
      with_bodies(g, OpKind::scan, {g.input(DType::f32, {3}), g.input(DType::f32, {n, 3}), g.input(DType::f32, {3, n})},
          std::move(a), 3, std::move(body));
  g.check({op->result(0), op->result(1), op->result(2)}, Bound::ulps(4));
}

}  // namespace weft::backend_test
