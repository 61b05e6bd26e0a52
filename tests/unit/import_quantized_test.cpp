// Rules of quantised operators: what ONNX Runtime has no CPU kernel for, and what is refused. The rest is held against it in
// tests/models/quantized_test.cpp.
#include "tests/unit/import_support.h"

namespace weft::import_test {

namespace {

constexpr int kUint8 = 2, kInt8 = 3, kInt32 = 6;
const char* kMicrosoft = "com.microsoft";

Message bytes(const std::string& name, const std::vector<int64_t>& dims, const std::vector<uint8_t>& v) { return tensor(name, kUint8, dims, v); }

// Why a node of that many f32[2, 16] inputs and these constants is refused.
Error refused(const Message& n, const std::vector<Message>& constants, int inputs = 1) {
  const Input x{{2, 16}, std::vector<double>(32, 1)};
  return import_error(one_node(n, std::vector<Input>(inputs, x), 21, constants));
}

}  // namespace

// What cannot be built is an Error where the rule looks at it next, too.
TEST(ImportQuantized, OperandsOfWrongTypesAndDims) {
  const std::vector<Message> weights{floats("f", {2, 16, 8}, std::vector<float>(256, 1)), floats("s", {2, 16}, std::vector<float>(32, 1)),
                                     floats("scores", {2, 2}, {0, 1, 1, 0}), bytes("b", {2, 3}, {0, 0, 0, 0, 0, 0}), floats("one", {}, {1}),
                                     tensor("mask", kInt32, {2}, std::vector<int32_t>{1, 1}), bytes("x", {1, 2, 5}, std::vector<uint8_t>(10, 1))};
  EXPECT_EQ(refused(node("QMoE", {"x0", "scores", "f", "s", "", "f", "s"}, {"y"}, {}, kMicrosoft), weights).code, Code::kInvalidModel);
  const Message attend = node("QAttention", {"x", "b", "s", "one", "one", "mask"}, {"y"}, {int_attr("num_heads", 1)}, kMicrosoft);
  EXPECT_EQ(refused(attend, weights).code, Code::kInvalidModel);
  const Message gather = node("GatherBlockQuantized", {"b", "mask", "s"}, {"y"}, {int_attr("block_size", 0), int_attr("bits", 8)}, kMicrosoft);
  EXPECT_EQ(refused(gather, weights).code, Code::kInvalidModel);
}

// (1 + 2 + 3 + 6) / 4 in units of 1 / 2.
TEST(ImportQuantized, ReduceMean) {
  const std::vector<Message> constants{floats("one", {}, {1}), bytes("zero", {}, {7}), floats("half", {}, {0.5f}), bytes("three", {}, {3})};
  std::vector<Message> nodes{
      node("QuantizeLinear", {"x", "one", "zero"}, {"q"}),
      node("QLinearReduceMean", {"q", "one", "zero", "half", "three"}, {"m"}, {ints_attr("axes", {0}), int_attr("keepdims", 1)}, kMicrosoft),
      node("DequantizeLinear", {"m", "half", "three"}, {"y"})};
  auto m = must_import(model(graph({nodes, {value_info("x", kFloat, {"4"})}, {value_info("y", kFloat, {"1"})}, constants}), {}, 8,
                             {opset("", 21), opset(kMicrosoft, 1)}));
  ASSERT_TRUE(m);
  EXPECT_EQ(run(*m, {{1, 2, 3, 6}}), std::vector<double>{3});
}

// Elements 0, 2, 4, ... take block 1's scale and zero point, the others block 0's. (ONNX Runtime forgets the zero points here.)
TEST(ImportQuantized, ProductOfGroupsWithZeroPoints) {
  std::vector<int32_t> group;
  for (int k = 0; k < 32; ++k) group.push_back(1 - k % 2);
  const std::vector<Message> constants{bytes("w", {1, 2, 8}, std::vector<uint8_t>(16, 0x35)), floats("s", {1, 2}, {2, 10}), bytes("z", {1, 1}, {0x41}),
                                       tensor("g", kInt32, {32}, group)};
  Message bits = node("MatMulNBits", {"x0", "w", "s", "z", "g"}, {"y"}, {int_attr("K", 32), int_attr("N", 1), int_attr("bits", 4), int_attr("block_size", 16)},
                      kMicrosoft);
  // Low nibbles come first: 16 times (5 - 4) * 10, 16 times (3 - 1) * 2.
  expect(result(bits, {{{1, 32}, std::vector<double>(32, 1)}}, 21, constants), {1, 1}, {16 * 10 + 16 * 4});
}

// Packed weights stay where they are in the file, under another type; what is no constant is unpacked by ops, to the same numbers.
TEST(ImportQuantized, PackedConstantsAreRetyped) {
  std::vector<uint8_t> packed;
  for (int i = 0; i < 8; ++i) packed.push_back(static_cast<uint8_t>(2 * i | (2 * i + 1) << 4));
  const std::vector<Message> constants{bytes("w", {1, 1, 8}, packed), floats("s", {1}, {0.5f}), floats("x", {1, 16}, std::vector<float>(16, 1))};
  auto product = [](const char* w) {
    return node("MatMulNBits", {"x", w, "s"}, {"y"}, {int_attr("K", 16), int_attr("N", 1), int_attr("bits", 4), int_attr("block_size", 16)}, kMicrosoft);
  };
  auto shifts = [](const Module& m) {
    return std::count_if(m.main()->ops.begin(), m.main()->ops.end(), [](auto& op) { return op->kind == OpKind::bit_shift; });
  };
  auto constant = must_import(one_node(product("w"), {}, 21, constants));
  ASSERT_TRUE(constant);
  EXPECT_EQ(shifts(*constant), 0);
  GraphParts g{{product("v")}, {value_info("v", kUint8, {"1", "1", "8"})}, {value_info("y", kFloat, {})}, constants};
  auto computed = must_import(model(graph(g), {}, 8, {opset("", 21), opset(kMicrosoft, 1)}));
  ASSERT_TRUE(computed);
  EXPECT_GT(shifts(*computed), 0);
  std::vector<int64_t> values(packed.begin(), packed.end());
  auto a = evaluate(*constant->main(), {}), b = evaluate(*computed->main(), {eval_test::ints(DType::u8, {1, 1, 8}, values)});
  ASSERT_TRUE(a.ok() && b.ok()) << (a.ok() ? b : a).error().to_string();
  EXPECT_EQ(load_all<double>((*a)[0].tensor), std::vector<double>{-4});
  EXPECT_EQ(load_all<double>((*b)[0].tensor), std::vector<double>{-4});
}

// Numbers that the cache can hold: attention over it is what it is over floats, and so is the cache.
TEST(ImportQuantized, CachesOfEightBits) {
  constexpr int kFp8 = 17;
  const std::vector<float> held{1, -2, 0.5f, 1, 2, -1, 0, 0.5f};
  const std::vector<uint8_t> as_fp8{0x38, 0xC0, 0x30, 0x38, 0x40, 0xB8, 0, 0x30};
  const std::vector<int8_t> as_halves{2, -4, 1, 2, 4, -2, 0, 1};
  const std::vector<Input> rows{{{1, 1, 8}, {0.3, -1, 2, 0.7, 1, 0.1, -0.4, 1}},
                                {{1, 1, 8}, {1, 2, -0.5, 1, 0.5, 1, -1, 2}},
                                {{1, 1, 8}, {2, 1, 0.5, -1, 1, 0, 0.5, -2}}};
  auto attend = [&](const std::string& quantised, int64_t bits, const Message& past, float scale) {
    Names in{"x0", "x1", "x2", "past", "past", "seen", "all"};
    std::vector<Message> attrs{int_attr("num_heads", 1), int_attr("kv_num_heads", 1)};
    if (bits) {
      for (const char* name : {"", "", "", "", "", "scale", "scale"}) in.push_back(name);
      for (const char* name : {"k_quant_type", "v_quant_type"}) attrs.push_back(text_attr(name, quantised));
      attrs.push_back(int_attr("kv_cache_bit_width", bits));
    }
    const std::vector<Message> constants{past, floats("scale", {1}, {scale}), tensor("seen", kInt32, {1}, std::vector<int32_t>{1}),
                                         tensor("all", kInt32, {}, std::vector<int32_t>{2})};
    return one_node(node("GroupQueryAttention", in, {"y", "k", "v"}, attrs, kMicrosoft), rows, 21, constants);
  };
  auto run_it = [&](const Message& m) {
    auto module = must_import(m);
    std::vector<HostValue> in;
    for (const Input& i : rows) in.push_back(eval_test::f32(i.dims, i.values));
    auto out = evaluate(*module->main(), std::move(in));
    EXPECT_TRUE(out.ok()) << out.error().to_string();
    return out.ok() ? load_all<double>((*out)[0].tensor) : std::vector<double>();
  };
  const std::vector<double> want = run_it(attend("NONE", 0, floats("past", {1, 1, 1, 8}, held), 1));
  EXPECT_EQ(run_it(attend("PER_TENSOR", 8, tensor("past", kFp8, {1, 1, 1, 8}, as_fp8), 1)), want);
  EXPECT_EQ(run_it(attend("PER_TENSOR", 8, tensor("past", kInt8, {1, 1, 1, 8}, as_halves), 0.5f)), want);
  EXPECT_EQ(import_error(attend("PER_TENSOR", 3, tensor("past", kInt8, {1, 1, 1, 8}, as_halves), 1)).code, Code::kUnsupported);
  EXPECT_EQ(import_error(attend("NONE", 8, tensor("past", kInt8, {1, 1, 1, 8}, as_halves), 1)).code, Code::kUnsupported);
}

TEST(ImportQuantized, ProductsThatAreRefused) {
  auto bits = [](int64_t k, int64_t bits, int64_t block) {
    return node("MatMulNBits", {"x0", "w", "s"}, {"y"},
                {int_attr("K", k), int_attr("N", 1), int_attr("bits", bits), int_attr("block_size", block)}, kMicrosoft);
  };
  const std::vector<Message> weights{bytes("w", {1, 1, 8}, std::vector<uint8_t>(8, 0)), floats("s", {1}, {1})};
  EXPECT_EQ(refused(bits(16, 3, 16), weights).code, Code::kUnsupported);
  EXPECT_EQ(refused(bits(16, 4, 0), weights).code, Code::kInvalidModel);
  EXPECT_NE(refused(bits(48, 4, 16), weights).code, Code::kOk);  // of 16 elements
  auto codes = [](int64_t k, int64_t kind) {
    return node("MatMulBnb4", {"x0", "w", "s"}, {"y"},
                {int_attr("K", k), int_attr("N", 1), int_attr("quant_type", kind), int_attr("block_size", 16)}, kMicrosoft);
  };
  EXPECT_EQ(refused(codes(16, 2), weights).code, Code::kInvalidModel);
  EXPECT_EQ(refused(codes(int64_t{1} << 50, 0), weights).code, Code::kInvalidModel);
  EXPECT_NE(refused(codes(48, 0), weights).code, Code::kOk);
  EXPECT_EQ(refused(node("QOrderedMatMul", {"x0", "s", "w", "s", "s"}, {"y"}, {}, kMicrosoft), weights).code, Code::kUnsupported);
}

TEST(ImportQuantized, ExpertsThatAreRefused) {
  const std::vector<Message> weights{bytes("w", {2, 16, 8}, std::vector<uint8_t>(256, 0x88)), floats("s", {2, 16}, std::vector<float>(32, 1))};
  auto experts = [](std::vector<Message> attrs, const Names& more = {}) {
    Names in{"x0", "scores", "w", "s", "", "w", "s"};
    in.insert(in.end(), more.begin(), more.end());
    return node("QMoE", in, {"y"}, attrs, kMicrosoft);
  };
  auto code = [&](const Message& n) {
    std::vector<Message> all = weights;
    all.push_back(floats("scores", {2, 2}, {0, 1, 1, 0}));
    return refused(n, all).code;
  };
  EXPECT_EQ(code(experts({})), Code::kOk);
  EXPECT_EQ(code(experts({text_attr("quant_type", "fp4")})), Code::kUnsupported);
  EXPECT_EQ(code(experts({int_attr("weights_prepacked", 1)})), Code::kUnsupported);
  EXPECT_EQ(code(experts({int_attr("expert_weight_bits", 3)})), Code::kUnsupported);
  EXPECT_EQ(code(experts({int_attr("block_size", 16)})), Code::kInvalidModel);  // scales of rows
  EXPECT_EQ(code(experts({}, {"", "", "", "", "", "", "", "", "s"})), Code::kUnsupported);
}

TEST(ImportQuantized, LookupsAndCellsThatAreRefused) {
  const std::vector<Message> table{bytes("w", {4, 8}, std::vector<uint8_t>(32, 0)), floats("s", {4, 1}, {1, 1, 1, 1}), floats("v", {4}, {1, 1, 1, 1}),
                                   tensor("at", 7, {1}, std::vector<int64_t>{2})};
  auto gather = [](const char* scales, const std::vector<Message>& attrs) {
    return node("GatherBlockQuantized", {"w", "at", scales}, {"y"}, attrs, kMicrosoft);
  };
  EXPECT_EQ(refused(gather("s", {int_attr("block_size", 16)}), table, 0).code, Code::kOk);
  EXPECT_EQ(refused(gather("v", {int_attr("block_size", 16)}), table, 0).code, Code::kInvalidModel);
  EXPECT_EQ(refused(gather("s", {int_attr("block_size", -1)}), table, 0).code, Code::kInvalidModel);
  EXPECT_EQ(refused(gather("s", {int_attr("bits", 5)}), table, 0).code, Code::kUnsupported);
  EXPECT_EQ(refused(gather("s", {int_attr("quantize_axis", 0)}), table, 0).code, Code::kUnsupported);
  EXPECT_EQ(refused(gather("s", {int_attr("gather_axis", 9)}), table, 0).code, Code::kInvalidModel);
  const Message cell = node("DynamicQuantizeLSTM", {"x0", "w", "w", "", "", "", "", "", "s", "w", "s", "w"}, {"y"}, {}, kMicrosoft);
  EXPECT_EQ(refused(cell, table).code, Code::kInvalidModel);
  EXPECT_EQ(refused(node("QLinearConcat", {"v", "v"}, {"y"}, {int_attr("axis", 0)}, kMicrosoft), table).code, Code::kInvalidModel);
  EXPECT_EQ(refused(node("QLinearAdd", {"x0"}, {"y"}, {}, kMicrosoft), table).code, Code::kInvalidModel);
  EXPECT_EQ(refused(node("QGemm", {"v", "v", "", "v", "v"}, {"y"}, {}, kMicrosoft), table).code, Code::kInvalidModel);
  EXPECT_EQ(refused(node("QLinearSoftmax", {"w", "v", "", "v", ""}, {"y"}, {}, kMicrosoft), table).code, Code::kInvalidModel);
}

}  // namespace weft::import_test
