// The importer's rules for what no case of ONNX's suite reaches: old opsets, products of many operands, com.microsoft.
#include "tests/unit/import_support.h"

namespace weft::import_test {

namespace {

const Input kMatrix{{2, 3}, {1, 2, 3, 4, 5, 6}};

}  // namespace

TEST(ImportRules, OldBroadcastingStandsAtAnAxis) {
  Input x{{2, 2, 1}, {1, 2, 3, 4}}, b{{2}, {10, 20}};
  Message add = node("Add", {"x0", "x1"}, {"y"}, {int_attr("broadcast", 1), int_attr("axis", 0)});
  expect(result(add, {x, b}, 6), {2, 2, 1}, {11, 12, 23, 24});
  Message slope = node("PRelu", {"x0", "x1"}, {"y"});
  expect(result(slope, {{{1, 2, 2}, {-1, -1, -1, 1}}, {{2}, {2, 3}}}, 6), {1, 2, 2}, {-2, -2, -3, 1});
}

TEST(ImportRules, AttributesThatBecameInputs) {
  expect(result(node("Clip", {"x0"}, {"y"}, {float_attr("min", 2)}), {kMatrix}, 6), {2, 3}, {2, 2, 3, 4, 5, 6});
  Message slice = node("Slice", {"x0"}, {"y"}, {ints_attr("starts", {1}), ints_attr("ends", {99}), ints_attr("axes", {1})});
  expect(result(slice, {kMatrix}, 9), {2, 2}, {2, 3, 5, 6});
  expect(result(node("ReduceSum", {"x0"}, {"y"}, {ints_attr("axes", {-1}), int_attr("keepdims", 0)}), {kMatrix}, 11), {2}, {6, 15});
  Message pad = node("Pad", {"x0"}, {"y"}, {ints_attr("pads", {0, 1, 0, 0}), float_attr("value", 9)});
  expect(result(pad, {kMatrix}, 2), {2, 4}, {9, 1, 2, 3, 9, 4, 5, 6});
  expect(result(node("Unsqueeze", {"x0"}, {"y"}, {ints_attr("axes", {0, 3})}), {kMatrix}, 11), {1, 2, 3, 1}, kMatrix.values);
  expect(result(node("Reshape", {"x0"}, {"y"}, {ints_attr("shape", {3, -1})}), {kMatrix}, 1), {3, 2}, kMatrix.values);
  expect(result(node("TopK", {"x0"}, {"y", "at"}, {int_attr("k", 1)}), {kMatrix}, 1), {2, 1}, {3, 6});
  expect(result(node("Upsample", {"x0"}, {"y"}, {floats_attr("scales", {1, 2})}), {{{1, 2}, {1, 2}}}, 7), {1, 4}, {1, 1, 2, 2});
}

// Below opset 13 the dims from the axis on are one, so a softmax along axis 0 sums to 1 over everything.
TEST(ImportRules, OldSoftmaxIsOverAllTrailingDims) {
  Input y = result(node("Softmax", {"x0"}, {"y"}, {int_attr("axis", 0)}), {kMatrix}, 11);
  double sum = 0;
  for (double v : y.values) sum += v;
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_EQ(y.dims, (std::vector<int64_t>{2, 3}));
}

TEST(ImportRules, EinsumOfManyOperandsDiagonalsAndSums) {
  auto einsum = [](const std::string& equation, const Names& in) { return node("Einsum", in, {"y"}, {text_attr("equation", equation)}); };
  Input square{{2, 2}, {1, 2, 3, 4}}, v{{2}, {10, 100}};
  expect(result(einsum("ii", {"x0"}), {square}, 12), {}, {5});
  expect(result(einsum("ii->i", {"x0"}), {square}, 12), {2}, {1, 4});
  expect(result(einsum("ij,j,i->", {"x0", "x1", "x1"}), {square, v}, 12), {}, {1 * 100 + 2 * 1000 + 3 * 1000 + 4 * 10000});
  expect(result(einsum("ij,k->kji", {"x0", "x1"}), {square, v}, 12), {2, 2, 2}, {10, 30, 20, 40, 100, 300, 200, 400});
  expect(result(einsum("...j, j -> ...", {"x0", "x1"}), {square, v}, 12), {2}, {210, 430});
  EXPECT_EQ(import_error(one_node(einsum("ij->ik", {"x0"}), {square}, 12)).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(one_node(einsum("ijk->i", {"x0"}), {square}, 12)).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(one_node(einsum("ij,ij->i", {"x0"}), {square}, 12)).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(one_node(einsum("ii", {"x0"}), {kMatrix}, 12)).code, Code::kInvalidModel);
}

TEST(ImportRules, MicrosoftProducts) {
  Message fused = node("FusedMatMul", {"x0", "x0"}, {"y"}, {int_attr("transB", 1), float_attr("alpha", 0.5f)}, "com.microsoft");
  expect(result(fused, {kMatrix}, 17), {2, 2}, {7, 16, 16, 38.5});
  // One row of 16 numbers of 4 bits: 0, 1, ... 15, less the zero point 8, times 2.
  std::vector<uint8_t> packed;
  for (int i = 0; i < 8; ++i) packed.push_back(static_cast<uint8_t>(2 * i | (2 * i + 1) << 4));
  std::vector<Message> sizes{int_attr("K", 16), int_attr("N", 1), int_attr("bits", 4), int_attr("block_size", 16)};
  Message bits = node("MatMulNBits", {"x0", "w", "s"}, {"y"}, sizes, "com.microsoft");
  Input ones{{1, 16}, std::vector<double>(16, 1)};
  expect(result(bits, {ones}, 17, {tensor("w", 2, {1, 1, 8}, packed), floats("s", {1}, {2})}), {1, 1}, {-16});
}

// A cache that only grows is plain attention behind a past, which a state can be; a window that all tokens are in means the
// same and takes the other way.
TEST(ImportRules, MicrosoftGroupQueryAttention) {
  auto numbers = [](const std::vector<int64_t>& dims, double step) {
    Input in{dims, {}};
    int64_t n = 1;
    for (int64_t d : dims) n *= d;
    for (int64_t i = 0; i < n; ++i) in.values.push_back(std::sin(step * static_cast<double>(i)));
    return in;
  };
  const std::vector<Input> inputs{numbers({1, 2, 16}, 1), numbers({1, 2, 8}, 2), numbers({1, 2, 8}, 3), numbers({1, 1, 3, 8}, 4), numbers({1, 1, 3, 8}, 5)};
  const std::vector<Message> sizes{tensor("seen", 6, {1}, std::vector<int32_t>{4}), tensor("all", 6, {}, std::vector<int32_t>{5})};
  auto attend = [](int64_t window) {
    return node("GroupQueryAttention", {"x0", "x1", "x2", "x3", "x4", "seen", "all"}, {"y", "pk", "pv"},
                {int_attr("num_heads", 2), int_attr("kv_num_heads", 1), int_attr("local_window_size", window)}, "com.microsoft");
  };
  Input grows = result(attend(-1), inputs, 17, sizes), windowed = result(attend(100), inputs, 17, sizes);
  expect(grows, {1, 2, 16}, windowed.values);
  auto count = [&](int64_t window, OpKind kind) {
    auto m = must_import(one_node(attend(window), inputs, 17, sizes));
    return std::count_if(m->main()->ops.begin(), m->main()->ops.end(), [&](auto& op) { return op->kind == kind; });
  };
  EXPECT_EQ(count(-1, OpKind::tensor_scatter), 0);
  EXPECT_EQ(count(100, OpKind::tensor_scatter), 2);
}

// Two tokens, three experts that are two numbers each: act(x f1 + b1) f2. Scores 0, ln 2, ln 4 give weights 1/7, 2/7, 4/7.
TEST(ImportRules, MicrosoftExperts) {
  const Input x{{2, 1}, {1, -1}};
  const double ln2 = std::log(2.0);
  const Input scores{{2, 3}, {0, ln2, 2 * ln2, 2 * ln2, ln2, 0}};
  const std::vector<Message> weights{floats("f1", {3, 1, 1}, {1, 2, 3}), floats("b1", {3, 1}, {0, 3, 0}), floats("f2", {3, 1, 1}, {1, 2, 4})};
  auto experts = [&](int64_t k, int64_t normalize, const std::string& activation) {
    return node("MoE", {"x0", "x1", "f1", "b1", "f2"}, {"y"},
                {int_attr("k", k), int_attr("normalize_routing_weights", normalize), text_attr("activation_type", activation)}, "com.microsoft");
  };
  expect(result(experts(1, 0, "identity"), {x, scores}, 17, weights), {2, 1}, {12 * 4 / 7.0, -4 / 7.0});
  expect(result(experts(1, 1, "relu"), {x, scores}, 17, weights), {2, 1}, {12, 0});
  expect(result(experts(2, 1, "relu"), {x, scores}, 17, weights), {2, 1}, {(10 * 2 + 12 * 4) / 6.0, 2 * 2 / 6.0});
  EXPECT_EQ(import_error(one_node(experts(2, 1, "mish"), {x, scores}, 17, weights)).code, Code::kUnsupported);
  EXPECT_EQ(import_error(one_node(experts(0, 1, "relu"), {x, scores}, 17, weights)).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(one_node(experts(4, 1, "relu"), {x, scores}, 17, weights)).code, Code::kInvalidModel);
  EXPECT_EQ(import_error(one_node(experts(1, 1, "swiglu"), {x, scores}, 17, weights)).code, Code::kInvalidModel);
}

// SwiGLU's halves, alternating, one behind the other, and as a matrix of their own, are the same; so it is with a limit.
TEST(ImportRules, MicrosoftExpertsOfGatedUnits) {
  const Input x{{1, 2, 2}, {1, 2, -1, 0.5}}, scores{{2, 1}, {0, 0}};
  auto gated = [&](const std::vector<std::string>& in, int64_t fusion) {
    return node("MoE", in, {"y"}, {int_attr("swiglu_fusion", fusion), text_attr("activation_type", "swiglu"), float_attr("swiglu_limit", 1.5f),
                                   float_attr("activation_alpha", 2), float_attr("activation_beta", 1)}, "com.microsoft");
  };
  // Gates x0 + x1 and x0, linear parts x1 and 2 x0.
  const std::vector<Message> alternating{floats("f1", {1, 4, 2}, {1, 1, 0, 1, 1, 0, 2, 0}), floats("f2", {1, 2, 2}, {1, 10, 0, 1})},
      behind{floats("f1", {1, 4, 2}, {1, 1, 1, 0, 0, 1, 2, 0}), floats("f2", {1, 2, 2}, {1, 10, 0, 1})},
      apart{floats("f1", {1, 2, 2}, {1, 1, 1, 0}), floats("f2", {1, 2, 2}, {1, 10, 0, 1}), floats("f3", {1, 2, 2}, {0, 1, 2, 0})};
  auto swiglu = [](double g, double l) {
    g = std::min(g, 1.5), l = std::clamp(l, -1.5, 1.5);
    return g / (1 + std::exp(-2 * g)) * (l + 1);
  };
  std::vector<double> want;
  for (auto [first, second] : {std::pair(swiglu(3, 2), swiglu(1, 2)), std::pair(swiglu(-0.5, 0.5), swiglu(-1, -2))})
    want.insert(want.end(), {first + 10 * second, second});
  expect(result(gated({"x0", "x1", "f1", "", "f2"}, 1), {x, scores}, 17, alternating), {1, 2, 2}, want);
  expect(result(gated({"x0", "x1", "f1", "", "f2"}, 2), {x, scores}, 17, behind), {1, 2, 2}, want);
  expect(result(gated({"x0", "x1", "f1", "", "f2", "", "f3"}, 0), {x, scores}, 17, apart), {1, 2, 2}, want);
  EXPECT_EQ(import_error(one_node(gated({"x0", "x1", "f1", "", "f2"}, 3), {x, scores}, 17, alternating)).code, Code::kInvalidModel);
}

// PyTorch's squeeze(0): the branches differ in rank, so the unknown dim is taken to be 1, and other inputs are refused.
TEST(ImportRules, AnIfThatSqueezesAnUnknownDim) {
  Message yes = graph({{node("Squeeze", {"x", "zero"}, {"a"})}, {}, {value_info("a", kFloat, {})}, {}});
  Message no = graph({{node("Identity", {"x"}, {"b"})}, {}, {value_info("b", kFloat, {})}, {}});
  std::vector<Message> nodes{node("Shape", {"x"}, {"s"}), node("Gather", {"s", "zero"}, {"n"}), node("Equal", {"n", "one"}, {"c"}),
                             node("If", {"c"}, {"y"}, {graph_attr("then_branch", yes), graph_attr("else_branch", no)})};
  GraphParts g{nodes, {value_info("x", kFloat, {"n", "3"})}, {value_info("y", kFloat, {})}, {ints("zero", {1}, {0}), ints("one", {1}, {1})}};
  auto m = must_import(model(graph(g)));
  ASSERT_TRUE(m);
  EXPECT_EQ(m->main()->outputs[0]->type.to_string(), "f32[3]");
  auto squeezed = evaluate(*m->main(), {eval_test::f32({1, 3}, {1, 2, 3})});
  ASSERT_TRUE(squeezed.ok()) << squeezed.error().to_string();
  EXPECT_EQ((*squeezed)[0].tensor.dims, std::vector<int64_t>{3});
  EXPECT_FALSE(evaluate(*m->main(), {eval_test::f32({2, 3}, {1, 2, 3, 4, 5, 6})}).ok());
}

// The other branch would not even be well typed.
TEST(ImportRules, OnlyTheTakenBranchOfAKnownConditionIsRead) {
  Message yes = graph({{node("Neg", {"x"}, {"a"})}, {}, {value_info("a", kFloat, {})}, {}});
  Message no = graph({{node("Concat", {"x", "two"}, {"b"}, {int_attr("axis", 7)})}, {}, {value_info("b", kFloat, {})}, {}});
  std::vector<Message> nodes{node("Constant", {}, {"c"}, {tensor_attr("value", tensor("", kBool, {}, std::vector<uint8_t>{1}))}),
                             node("If", {"c"}, {"y"}, {graph_attr("then_branch", yes), graph_attr("else_branch", no)})};
  auto m = must_import(simple(nodes, {floats("two", {}, {2})}));
  ASSERT_TRUE(m);
  EXPECT_EQ(run(*m, {{1, 2}}), (std::vector<double>{-1, -2}));
}

}  // namespace weft::import_test
