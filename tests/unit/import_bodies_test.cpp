// Functions and sub-graphs: expansion, attributes, captures, and limits on what they may cost.
#include "tests/unit/import_support.h"

namespace weft::import_test {

namespace {

// y = x * factor, the factor an attribute.
Message scaled(const std::vector<Message>& defaults = {}) {
  return function({"Scaled", {"a"}, {"b"}, defaults.empty() ? Names{"factor"} : Names{},
                   {node("Constant", {}, {"f"}, {ref_attr("value_float", "factor", 1)}), node("Mul", {"a", "f"}, {"b"})}, defaults});
}
Message body(const std::vector<Message>& nodes, const Names& outputs, const std::vector<Message>& inputs = {}) {
  std::vector<Message> out;
  for (const std::string& o : outputs) out.push_back(value_info(o, kFloat, {}));
  return graph({nodes, inputs, out});
}
const Op* find(const Graph& g, OpKind kind) {
  for (auto& op : g.ops)
    if (op->kind == kind) return op.get();
  return nullptr;
}
// y = If(sum(x) > 0): the condition is not known before the model runs.
std::vector<Message> branches(const Message& yes, const Message& no) {
  return {node("Constant", {}, {"zero"}, {tensor_attr("value", floats("", {}, {0}))}), node("ReduceSum", {"x"}, {"s"}, {int_attr("keepdims", 0)}),
          node("Greater", {"s", "zero"}, {"cond"}), node("Neg", {"x"}, {"minus"}),
          node("If", {"cond"}, {"y"}, {graph_attr("then_branch", yes), graph_attr("else_branch", no)})};
}

}  // namespace

TEST(ImportFunctions, AttributesAndTheirDefaults) {
  auto module = must_import(simple({node("Scaled", {"x"}, {"y"}, {float_attr("factor", 3)}, "local", "call")}, {}, {scaled()}));
  ASSERT_TRUE(module);
  EXPECT_EQ(run(*module, {{1, 2}}), (std::vector<double>{3, 6}));
  const Op& mul = *module->main()->ops.back();
  EXPECT_EQ(mul.provenance, std::vector<std::string>{"call/Mul_1"});
  EXPECT_EQ(mul.result()->name, "y");

  Message fallback = scaled({float_attr("factor", 5)});
  EXPECT_EQ(run(*must_import(simple({node("Scaled", {"x"}, {"y"}, {}, "local")}, {}, {fallback})), {{1}}), std::vector<double>{5});
  EXPECT_EQ(run(*must_import(simple({node("Scaled", {"x"}, {"y"}, {float_attr("factor", 2)}, "local")}, {}, {fallback})), {{1}}),
            std::vector<double>{2});
  // An attribute that the function does not have; one too many inputs.
  EXPECT_EQ(import_error(simple({node("Scaled", {"x"}, {"y"}, {float_attr("other", 2)}, "local")}, {}, {fallback})).code, Code::kUnsupported);
  EXPECT_EQ(import_error(simple({node("Scaled", {"x", "x"}, {"y"}, {}, "local")}, {}, {fallback})).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(simple({node("Scaled", {"x"}, {"y"}, {}, "local")}, {}, {fallback, fallback})).code, Code::kInvalidModel);
}

TEST(ImportFunctions, AttributesPassThroughCalls) {
  Message outer =
      function({"Outer", {"a"}, {"b"}, {"k"}, {node("Scaled", {"a"}, {"t"}, {ref_attr("factor", "k", 1)}, "local"), node("Neg", {"t"}, {"b"})}});
  auto module = must_import(simple({node("Outer", {"x"}, {"y"}, {float_attr("k", 4)}, "local")}, {}, {outer, scaled()}));
  ASSERT_TRUE(module);
  EXPECT_EQ(run(*module, {{1, 2}}), (std::vector<double>{-4, -8}));
}

TEST(ImportFunctions, OptionalInputsMayBeAbsent) {
  Message f = function({"Clamp", {"a", "lo", "hi"}, {"b"}, {}, {node("Clip", {"a", "lo", "hi"}, {"b"})}});
  Message one = floats("one", {}, {1});
  auto module = must_import(simple({node("Clamp", {"x", "", "one"}, {"y"}, {}, "local")}, {one}, {f}));
  ASSERT_TRUE(module);
  EXPECT_EQ(run(*module, {{-5, 5}}), (std::vector<double>{-5, 1}));
}

TEST(ImportFunctions, ComeBeforeOnnxsOwn) {
  Message neg = function({"Neg", {"a"}, {"b"}, {}, {node("Abs", {"a"}, {"b"})}, {}, ""});
  EXPECT_EQ(run(*must_import(simple({node("Neg", {"x"}, {"y"})}, {}, {neg})), {{-2}}), std::vector<double>{2});
}

TEST(ImportFunctions, MustNotCallThemselves) {
  Message a = function({"A", {"a"}, {"b"}, {}, {node("B", {"a"}, {"b"}, {}, "local")}});
  Message b = function({"B", {"a"}, {"b"}, {}, {node("A", {"a"}, {"b"}, {}, "local")}});
  Error e = import_error(simple({node("A", {"x"}, {"y"}, {}, "local")}, {}, {a, b}));
  EXPECT_EQ(e.code, Code::kInvalidModel);
  EXPECT_EQ(e.message, "function local:A: calls itself");
}

TEST(ImportFunctions, ExpansionIsBounded) {
  std::vector<Message> functions;
  for (int k = 0; k < 40; ++k) {
    std::string next = "F" + std::to_string(k + 1);
    functions.push_back(
        function({"F" + std::to_string(k), {"a"}, {"b"}, {}, {node(next, {"a"}, {"t"}, {}, "local"), node(next, {"t"}, {"b"}, {}, "local")}}));
  }
  functions.push_back(function({"F40", {"a"}, {"b"}, {}, {node("Neg", {"a"}, {"b"})}}));
  EXPECT_EQ(import_error(simple({node("F0", {"x"}, {"y"}, {}, "local")}, {}, functions)).code, Code::kResources);
  ImportOptions o;
  o.limits.max_call_depth = 3;
  EXPECT_EQ(import_error(simple({node("F35", {"x"}, {"y"}, {}, "local")}, {}, functions), o).code, Code::kResources);
  EXPECT_EQ(import_error(simple({node("F37", {"x"}, {"y"}, {}, "local")}, {}, functions)).code, Code::kOk);
}

TEST(ImportFunctions, SchemaBodiesKeepTheNodesName) {
  auto module = must_import(model(graph({{node("MeanVarianceNormalization", {"x"}, {"y"}, {}, "", "mvn")},
                                         {value_info("x", kFloat, {"1", "2", "3", "4"})},
                                         {value_info("y", kFloat, {})}})));
  ASSERT_TRUE(module);
  for (auto& op : module->main()->ops)
    if (op->kind != OpKind::constant) {
      EXPECT_EQ(op->provenance, std::vector<std::string>{"mvn"});
    }
}

TEST(ImportBodies, CapturesAreOperandsOfBothBranches) {
  Message yes = body({node("Add", {"x", "minus"}, {"t"}), node("Add", {"t", "x"}, {"out"})}, {"out"});
  Message no = body({node("Identity", {"minus"}, {"out"})}, {"out"});
  auto module = must_import(simple(branches(yes, no)));
  ASSERT_TRUE(module);
  const Op* op = find(*module->main(), OpKind::if_else);
  ASSERT_TRUE(op);
  EXPECT_EQ(op->num_operands(), 3);  // condition, x, minus
  EXPECT_EQ(op->graphs[0]->inputs.size(), 2u);
  EXPECT_EQ(op->graphs[1]->inputs.size(), 2u);
  EXPECT_EQ(run(*module, {{1, 2}}), (std::vector<double>{1, 2}));
  EXPECT_EQ(run(*module, {{-1, -2}}), (std::vector<double>{1, 2}));
}

TEST(ImportBodies, NestedBodiesCaptureThroughEachOther) {
  Message inner = body({node("Mul", {"x", "w"}, {"deep"})}, {"deep"});
  Message yes = body({node("If", {"cond"}, {"out"}, {graph_attr("then_branch", inner), graph_attr("else_branch", inner)})}, {"out"});
  Message no = body({node("Identity", {"minus"}, {"out"})}, {"out"});
  auto module = must_import(simple(branches(yes, no), {floats("w", {1}, {7})}));
  ASSERT_TRUE(module);
  EXPECT_EQ(run(*module, {{1, 2}}), (std::vector<double>{7, 14}));
}

TEST(ImportBodies, AKnownConditionTakesItsBranch) {
  // The other branch would not even be valid.
  Message good = body({node("Abs", {"x"}, {"out"})}, {"out"}), bad = body({node("Concat", {"x"}, {"out"}, {int_attr("axis", 7)})}, {"out"});
  std::vector<Message> nodes = {node("Shape", {"x"}, {"shape"}), node("Size", {"shape"}, {"rank"}),
                                node("Constant", {}, {"one"}, {int_attr("value_int", 1)}), node("Equal", {"rank", "one"}, {"cond"}),
                                node("If", {"cond"}, {"y"}, {graph_attr("then_branch", good), graph_attr("else_branch", bad)})};
  auto module = must_import(simple(nodes));
  ASSERT_TRUE(module);
  EXPECT_FALSE(find(*module->main(), OpKind::if_else));
  EXPECT_EQ(run(*module, {{-1}}), std::vector<double>{1});
}

TEST(ImportBodies, CarriedValuesThatGrow) {
  Message step = graph({{node("Concat", {"v", "x"}, {"w"}, {int_attr("axis", 0)}), node("Identity", {"c"}, {"d"})},
                        {value_info("i", kInt64, {}), value_info("c", kBool, {}), value_info("v", kFloat, {"1"})},
                        {value_info("d", kBool, {}), value_info("w", kFloat, {})}});
  auto module = must_import(simple({node("Loop", {"n3", "", "x"}, {"y"}, {graph_attr("body", step)})}, {ints("n3", {}, {3})}));
  ASSERT_TRUE(module);
  EXPECT_EQ(run(*module, {{4}}), (std::vector<double>{4, 4, 4, 4}));
}

TEST(ImportBodies, WhatIsRefusedInsideIsNamed) {
  Message strange = body({node("Foo", {"x"}, {"out"}, {}, "", "inside")}, {"out"}), plain = body({node("Abs", {"x"}, {"out"})}, {"out"});
  Error e = import_error(simple(branches(strange, plain)));
  EXPECT_EQ(e.code, Code::kUnsupported);
  EXPECT_EQ(e.node, "inside");
}

// --shapes may leave one branch that makes sense; the other is refused when it is taken.
TEST(ImportBodies, BranchesOfOtherDims) {
  auto to = [](int64_t a, int64_t b) {
    return body({node("Reshape", {"x", a == 2 ? "dims23" : "dims44"}, {"out"}), node("ReduceSum", {"out"}, {"total"}, {int_attr("keepdims", 0)})}, {"total"});
  };
  Message m = simple(branches(to(2, 3), to(4, 4)), {ints("dims23", {2}, {2, 3}), ints("dims44", {2}, {4, 4})});
  ImportOptions six;
  six.shapes["x"] = "6";
  auto module = must_import(m, six);
  ASSERT_TRUE(module);
  EXPECT_EQ(run(*module, {{1, 2, 3, 4, 5, 6}}), std::vector<double>{21});
  auto refused = evaluate(*module->main(), {eval_test::f32({6}, {-1, -2, -3, -4, -5, -6})});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kInvalidModel);
  EXPECT_NE(refused.error().message.find("a branch is taken that is for other dims: "), std::string::npos) << refused.error().to_string();
  // Neither branch, or no dims at all that rule one out.
  ImportOptions seven;
  seven.shapes["x"] = "7";
  EXPECT_EQ(import_error(m, seven).code, Code::kInvalidModel);
}

}  // namespace weft::import_test
