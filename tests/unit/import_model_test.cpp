// What a model's parts become: inputs and their dims, initialisers, versions, metadata, order and names of nodes.
#include "tests/unit/import_support.h"

namespace weft::import_test {

namespace {

const Message kNegate = node("Neg", {"x"}, {"y"}, {}, "", "minus");

Message with_inputs(const std::vector<Message>& inputs) {
  return model(graph({{kNegate}, inputs, {value_info("y", kFloat, {})}}));
}

}  // namespace

TEST(ImportModel, NamesProvenanceAndFacts) {
  Message m = model(graph(
      {{kNegate, node("Abs", {"y"}, {"z"})}, {value_info("x", kFloat, {"2"})}, {value_info("z", kFloat, {"2"}), value_info("y", kFloat, {"2"})}}));
  m.add(14, Message().text(1, "character").text(2, "abc"));
  auto module = must_import(m);
  ASSERT_TRUE(module);
  const Graph& g = *module->main();
  EXPECT_EQ(module->name, "g");
  EXPECT_EQ(g.output_names, (std::vector<std::string>{"z", "y"}));
  ASSERT_EQ(g.ops.size(), 2u);
  EXPECT_EQ(g.ops.front()->provenance, std::vector<std::string>{"minus"});
  EXPECT_EQ(g.ops.back()->provenance, std::vector<std::string>{"Abs_1"});
  EXPECT_EQ(g.ops.front()->result()->name, "y");
  EXPECT_EQ(module->metadata["character"], "abc");
  EXPECT_EQ(module->metadata["onnx.ir_version"], "8");
  EXPECT_EQ(module->metadata["onnx.opset.ai.onnx"], "17");
  EXPECT_EQ(module->metadata["onnx.producer_name"], "test");
}

TEST(ImportModel, DimsWithoutNameAreDifferent) {
  auto module = must_import(with_inputs({value_info("x", kFloat, {"-1", "", "?", "?", "n"}), value_info("b", kFloat, {"n", "-1"})}));
  ASSERT_TRUE(module);
  std::set<std::string> names;
  for (auto& v : module->main()->inputs)
    for (const Dim& d : v->type.shape) names.insert(d.to_string());
  EXPECT_EQ(names.size(), 6u) << input_types(*module);  // n twice
  EXPECT_TRUE(module->symbols.count("n"));
}

TEST(ImportModel, DimExpressionsNeedTheirSymbolsAmongTheInputs) {
  auto module =
      must_import(with_inputs({value_info("x", kFloat, {"past + 1", "past", "other+1", "7 seas", "min"}), value_info("b", kFloat, {"other+1"})}));
  ASSERT_TRUE(module);
  EXPECT_EQ(input_types(*module), "x:f32[past+1,past,other_1,d7_seas,min_3] b:f32[other_1]");
}

TEST(ImportModel, ShapesBindSymbolsEverywhere) {
  Message m = with_inputs({value_info("x", kFloat, {"n", "8"}), value_info("b", kFloat, {"n+1"}), value_info("c", kFloat, {"m"})});
  ImportOptions o;
  o.shapes = {{"x", "4x8"}, {"c", "1..32@8"}};
  auto module = must_import(m, o);
  ASSERT_TRUE(module);
  EXPECT_EQ(input_types(*module), "x:f32[4,8] b:f32[5] c:f32[m]");
  EXPECT_EQ(module->symbols["m"], (SymbolInfo{1, 32, 8}));
  o.shapes = {{"x", "4x9"}};
  EXPECT_EQ(import_error(m, o).code, Code::kUsage);
  o.shapes = {{"nothing", "4"}};
  EXPECT_EQ(import_error(m, o).code, Code::kUsage);
}

TEST(ImportModel, AnInitialiserThatIsAnInputIsAConstant) {
  for (int ir : {3, 8}) {
    Message m = model(graph({{node("Add", {"x", "w"}, {"y"})},
                             {value_info("x", kFloat, {"2"}), value_info("w", kFloat, {"2"})},
                             {value_info("y", kFloat, {"2"})},
                             {floats("w", {2}, {10, 20})}}),
                      {}, ir);
    auto module = must_import(m);
    ASSERT_TRUE(module);
    EXPECT_EQ(input_types(*module), "x:f32[2]");
    EXPECT_EQ(run(*module, {{1, 2}}), (std::vector<double>{11, 22}));
    ImportOptions o;
    o.overridable = {"w"};
    module = must_import(m, o);
    ASSERT_TRUE(module);
    EXPECT_EQ(input_types(*module), "x:f32[2] w:f32[2]");
    o.overridable = {"v"};
    EXPECT_EQ(import_error(m, o).code, Code::kUsage);
  }
}

TEST(ImportModel, SparseInitialisersBecomeDense) {
  Message sparse = Message().add(1, floats("w", {2}, {5, 7})).add(2, ints("i", {2}, {0, 2})).num(3, 3);
  Message g = graph({{node("Add", {"x", "w"}, {"y"})}, {value_info("x", kFloat, {"3"})}, {value_info("y", kFloat, {"3"})}});
  g.add(15, sparse);
  auto module = must_import(model(g));
  ASSERT_TRUE(module);
  EXPECT_EQ(run(*module, {{1, 1, 1}}), (std::vector<double>{6, 1, 8}));
}

TEST(ImportModel, NodesMayStandInAnyOrder) {
  auto module = must_import(simple({node("Abs", {"a"}, {"y"}), node("Neg", {"x"}, {"a"})}));
  ASSERT_TRUE(module);
  EXPECT_EQ(run(*module, {{-3, 4}}), (std::vector<double>{3, 4}));
  EXPECT_EQ(import_error(simple({node("Add", {"x", "b"}, {"a"}), node("Neg", {"a"}, {"b"}), node("Neg", {"b"}, {"y"})})).message,
            "the graph has a cycle");
}

TEST(ImportModel, NamesAreDefinedOnce) {
  for (const Message& m : {simple({kNegate, kNegate}), simple({node("Neg", {"x"}, {"x"})}),
                           simple({node("Add", {"x", "w"}, {"y"})}, {floats("w", {1}, {1}), floats("w", {1}, {1})}),
                           with_inputs({value_info("x", kFloat, {}), value_info("x", kFloat, {})}),
                           model(graph({{kNegate}, {value_info("x", kFloat, {})}, {value_info("y", kFloat, {}), value_info("y", kFloat, {})}}))})
    EXPECT_EQ(import_error(m).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(simple({node("Neg", {"nowhere"}, {"y"})})).tensor, "nowhere");
  EXPECT_EQ(import_error(simple({node("LeakyRelu", {"x"}, {"y"}, {float_attr("alpha", 1), float_attr("alpha", 2)})})).code, Code::kInvalidModel);
}

TEST(ImportModel, Versions) {
  Message g = graph({{kNegate}, {value_info("x", kFloat, {})}, {value_info("y", kFloat, {})}});
  EXPECT_EQ(import_error(model(g, {}, 2)).code, Code::kUnsupported);
  EXPECT_EQ(import_error(model(g, {}, 15)).code, Code::kUnsupported);
  EXPECT_EQ(import_error(model(g, {}, 14)).code, Code::kOk);
  EXPECT_EQ(import_error(model(g, {}, 8, {})).message, "the model imports no opset of the default domain");
  EXPECT_EQ(import_error(model(g, {}, 8, {opset("", 29)})).code, Code::kUnsupported);
  EXPECT_EQ(import_error(model(g, {}, 8, {opset("", 0)})).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(model(g, {}, 8, {opset("", 17), opset("ai.onnx", 18)})).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(model(g, {}, 8, {opset("ai.onnx", 13)})).code, Code::kOk);
}

TEST(ImportModel, OneErrorNamesAllThatIsMissing) {
  Error e = import_error(simple({node("Foo", {"x"}, {"a"}, {}, "", "first"), node("Neg", {"a"}, {"b"}), node("Bar", {"b"}, {"c"}, {}, "local"),
                                 node("Foo", {"x"}, {"d"}, {}, "", "second"), node("Bar", {"x"}, {"y"}, {}, "local", "third")}));
  EXPECT_EQ(e.code, Code::kUnsupported);
  EXPECT_EQ(e.message, "the model holds 3 nodes that cannot be imported:\n  no definition of op Foo (opset 17): `first`, `second`\n"
                       "  no definition of op local::Bar (opset 1): `third`");
  EXPECT_EQ(import_error(simple({node("Neg", {"x"}, {"y"}, {int_attr("strange", 1)})})).code, Code::kUnsupported);
}

TEST(ImportModel, ValuesOtherThanTensors) {
  Message sequence = Message().text(1, "s").add(2, Message().add(4, Message().add(1, tensor_type(kFloat, {"n"}))));
  Message optional = Message().text(1, "o").add(2, Message().add(9, Message().add(1, tensor_type(kFloat, {"2"}))));
  auto module = must_import(model(graph({{node("SequenceLength", {"s"}, {"y"})}, {sequence, optional}, {value_info("y", kInt64, {})}})));
  ASSERT_TRUE(module);
  EXPECT_EQ(input_types(*module), "s:seq(f32[_]) o:opt(f32[2])");
  EXPECT_EQ(import_error(with_inputs({Message().text(1, "x")})).code, Code::kInvalidModel);
}

}  // namespace weft::import_test
