// Models that are changed and written back: what must not change is held against the evaluator.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "frontend/api/reference.h"
#include "frontend/quantize/methods.h"
#include "tests/support/float_models.h"
#include "tests/support/onnx_writer.h"

namespace weft::quantize {

namespace {

using namespace onnx_test;
using quantize_test::random_floats;

std::string test_folder() {
  const std::string path = testing::TempDir() + "weft-editable-" + testing::UnitTest::GetInstance()->current_test_info()->name();
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

Message ints_of(const std::string& name, const std::vector<int64_t>& v) {
  Message m = Message().text(1, name);
  for (int64_t i : v) m.num(8, i);
  return m.num(20, 7);
}

EditableModel opened(const GraphParts& parts, int version) {
  const std::string path = test_folder() + "/model.onnx";
  std::ofstream(path, std::ios::binary) << onnx_test::model(graph(parts), {}, version < 21 ? 7 : 10, {opset("", version)}).bytes;
  Result<EditableModel> m = EditableModel::open(path);
  EXPECT_TRUE(m.ok()) << m.error().to_string();
  return std::move(*m);
}

std::vector<float> evaluated(const EditableModel& m, const std::vector<int64_t>& dims) {
  size_t n = 1;
  for (int64_t d : dims) n *= static_cast<size_t>(d);
  Result<std::unique_ptr<Module>> module = m.module();
  EXPECT_TRUE(module.ok()) << module.error().to_string();
  if (!module.ok()) return {};
  auto out = evaluate_module(**module, {{"x", *api::Tensor::of(random_floats(n, 9), dims)}});
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  std::vector<float> all;
  if (out.ok())
    for (const auto& t : *out) all.insert(all.end(), t.tensor.data_as<const float>(), t.tensor.data_as<const float>() + t.tensor.numel());
  return all;
}

int count_of(const EditableModel& m, OpKind kind) {
  const Result<std::unique_ptr<Module>> module = m.module();
  if (!module.ok()) return -1;
  const auto& ops = (*module)->main()->ops;
  return static_cast<int>(std::count_if(ops.begin(), ops.end(), [&](const auto& op) { return op->kind == kind; }));
}

void expect_same(const std::vector<float>& got, const std::vector<float>& want, double tolerance = 1e-5) {
  ASSERT_EQ(got.size(), want.size());
  ASSERT_FALSE(want.empty());
  double largest = 0;
  for (float v : want) largest = std::max(largest, std::fabs(static_cast<double>(v)));
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance * largest) << i;
}

// --- opsets -----------------------------------------------------------------------------------------------------------

// Operators whose attributes became inputs, and softmax, which once flattened what is behind its axis.
GraphParts old_operators() {
  GraphParts g;
  g.inputs = {value_info("x", kFloat, {"2", "3", "4"})};
  g.outputs = {value_info("y", kFloat, {}), value_info("z", kFloat, {})};
  g.nodes = {node("Softmax", {"x"}, {"a"}, {int_attr("axis", 1)}),
             node("Unsqueeze", {"a"}, {"b"}, {ints_of("axes", {0})}),
             node("Squeeze", {"b"}, {"c"}, {ints_of("axes", {0})}),
             node("ReduceMean", {"c"}, {"d"}, {ints_of("axes", {2}), int_attr("keepdims", 1)}),
             node("ReduceSum", {"x"}, {"e"}, {ints_of("axes", {1}), int_attr("keepdims", 1)}),
             node("Split", {"x"}, {"f", "g"}, {int_attr("axis", 2), ints_of("split", {1, 3})}),
             node("Dropout", {"g"}, {"h"}, {float_attr("ratio", 0.5f)}),
             node("LogSoftmax", {"h"}, {"i"}, {int_attr("axis", 2)}),
             node("Mul", {"d", "f"}, {"j"}),
             node("Mul", {"i", "e_part"}, {"k"}),
             node("Split", {"e"}, {"e_part", "l"}, {int_attr("axis", 2), ints_of("split", {3, 1})}),
             node("Add", {"j", "l"}, {"y"}),
             node("Softmax", {"k"}, {"z"}, {int_attr("axis", -1)})};
  return g;
}

TEST(EditableModel, RaisesOpsets) {
  for (int version : {7, 9, 11}) {
    EditableModel m = opened(old_operators(), version);
    const std::vector<float> want = evaluated(m, {2, 3, 4});
    const Status raised = m.raise_opset(21);
    ASSERT_TRUE(raised.ok()) << raised.error().to_string();
    EXPECT_EQ(m.opset(), 21);
    expect_same(evaluated(m, {2, 3, 4}), want);
  }
}

TEST(EditableModel, NamesWhatCannotBeRaised) {
  GraphParts g;
  g.inputs = {value_info("x", kFloat, {"2", "3"})};
  g.outputs = {value_info("y", kFloat, {})};
  g.nodes = {node("Upsample", {"x"}, {"y"}, {}, "", "grow")};
  EditableModel m = opened(g, 8);
  const Status raised = m.raise_opset(21);
  ASSERT_FALSE(raised.ok());
  EXPECT_EQ(raised.error().code, Code::kUnsupported);
  EXPECT_NE(raised.error().message.find("grow"), std::string::npos);
}

// --- writing ----------------------------------------------------------------------------------------------------------

TEST(EditableModel, WeightsInFilesStayInFiles) {
  const std::string folder = test_folder();
  GraphParts g;
  g.inputs = {value_info("x", kFloat, {"2", "512"})};
  g.outputs = {value_info("y", kFloat, {})};
  const std::vector<float> w = random_floats(512, 1);
  std::ofstream(folder + "/w.bin", std::ios::binary).write(reinterpret_cast<const char*>(w.data()), 2048);
  g.initializers = {external("w", 512, "w.bin"), floats("big", {512, 64}, random_floats(512 * 64, 2))};
  g.nodes = {node("Mul", {"x", "w"}, {"a"}), node("MatMul", {"a", "big"}, {"y"})};
  std::ofstream(folder + "/model.onnx", std::ios::binary) << onnx_test::model(graph(g)).bytes;
  Result<EditableModel> m = EditableModel::open(folder + "/model.onnx");
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  const std::string out = folder + "/copy.onnx";
  const Status saved = m->save(out);
  ASSERT_TRUE(saved.ok()) << saved.error().to_string();
  EXPECT_TRUE(std::filesystem::exists(out + ".data"));
  EXPECT_LT(std::filesystem::file_size(out), 2000u);
  std::filesystem::remove(folder + "/w.bin");
  Result<EditableModel> again = EditableModel::open(out);
  ASSERT_TRUE(again.ok());
  expect_same(evaluated(*again, {2, 512}), evaluated(*EditableModel::open(out), {2, 512}), 0);
  EXPECT_EQ(*read_floats(*again, "w"), w);
}

TEST(EditableModel, DamagedModelsAreErrors) {
  const std::string folder = test_folder(), path = folder + "/model.onnx";
  const std::string bytes = onnx_test::model(graph(old_operators()), {}, 7, {opset("", 11)}).bytes;
  for (size_t n : {size_t{0}, size_t{5}, bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, n);
    Result<EditableModel> m = EditableModel::open(path);
    EXPECT_FALSE(m.ok()) << n;
  }
}

// --- changes that keep the meaning ------------------------------------------------------------------------------------

GraphParts normalised() {
  GraphParts g;
  g.inputs = {value_info("x", kFloat, {"2", "3", "6", "6"})};
  g.outputs = {value_info("y", kFloat, {})};
  auto positive = [](size_t n, uint64_t seed) {
    std::vector<float> v = random_floats(n, seed);
    for (float& f : v) f = 0.2f + std::fabs(f);
    return v;
  };
  g.initializers = {floats("w", {8, 3, 3, 3}, random_floats(216, 1, 0.3f)), floats("s", {8}, positive(8, 2)), floats("b", {8}, random_floats(8, 3)),
                    floats("m", {8}, random_floats(8, 4)), floats("v", {8}, positive(8, 5)), floats("w2", {4, 8, 1, 1}, random_floats(32, 6))};
  g.nodes = {node("Conv", {"x", "w"}, {"a"}), node("BatchNormalization", {"a", "s", "b", "m", "v"}, {"c"}, {float_attr("epsilon", 0.01f)}),
             node("Relu", {"c"}, {"d"}), node("Conv", {"d", "w2"}, {"y"})};
  return g;
}

TEST(QuantizeMethods, NormalisationsAreFolded) {
  EditableModel m = opened(normalised(), 21);
  const std::vector<float> want = evaluated(m, {2, 3, 6, 6});
  ASSERT_TRUE(fold_normalisations(m).ok());
  expect_same(evaluated(m, {2, 3, 6, 6}), want);
  EXPECT_EQ(count_of(m, OpKind::batch_normalization), 0);
}

TEST(QuantizeMethods, EqualizedLayersHaveEqualRanges) {
  Result<EditableModel> m = EditableModel::open(quantize_test::write_conv_model(test_folder()));
  ASSERT_TRUE(m.ok());
  std::vector<std::string> notes;
  auto ratio = [&] {  // of the first layer's largest to its smallest channel
    const std::vector<Layer> layers = *find_layers(*m, &notes);
    const Matrix w = *read_weight(*m, layers[0]);
    double least = 1e9, most = 0;
    for (int64_t r = 0; r < w.rows; ++r) {
      double largest = 0;
      for (int64_t k = 0; k < w.columns; ++k) largest = std::max(largest, std::fabs(static_cast<double>(w.row(r)[k])));
      least = std::min(least, largest);
      most = std::max(most, largest);
    }
    return most / least;
  };
  const double before = ratio();
  const std::vector<float> want = evaluated(*m, {2, 3, 8, 8});
  ASSERT_TRUE(equalize(*m).ok());
  expect_same(evaluated(*m, {2, 3, 8, 8}), want);
  EXPECT_LT(ratio(), before / 2);
}

TEST(QuantizeMethods, ScaledInputsKeepTheMeaning) {
  GraphParts g;
  g.inputs = {value_info("x", kFloat, {"5", "16"})};
  g.outputs = {value_info("y", kFloat, {})};
  g.initializers = {floats("s", {16}, random_floats(16, 1)), floats("b", {16}, random_floats(16, 2)), floats("w1", {16, 8}, random_floats(128, 3)),
                    floats("w2", {8, 16}, random_floats(128, 4)), floats("w3", {8, 4}, random_floats(32, 5))};
  g.nodes = {node("LayerNormalization", {"x", "s", "b"}, {"a"}), node("MatMul", {"a", "w1"}, {"c"}), node("Gemm", {"a", "w2"}, {"d"}, {int_attr("transB", 1)}),
             node("Mul", {"c", "d"}, {"e"}), node("MatMul", {"e", "w3"}, {"y"})};
  for (bool for_weights : {false, true}) {
    EditableModel m = opened(g, 21);
    const std::vector<float> want = evaluated(m, {5, 16});
    std::vector<std::string> notes;
    const std::vector<Layer> layers = *find_layers(m, &notes);
    ASSERT_EQ(layers.size(), 3u);
    Reporter reporter({});
    auto moments = collect_moments(m, layers, false, quantize_test::random_data(2, {5, 16}), {0, 1}, {.target = "cpu"}, reporter);
    ASSERT_TRUE(moments.ok()) << moments.error().to_string();
    EXPECT_EQ((*moments)[0].count, 10);
    const Status done = for_weights ? scale_for_weights(m, layers, *moments, *parse_format("int4w:8")) : smooth(m, layers, *moments);
    ASSERT_TRUE(done.ok()) << done.error().to_string();
    expect_same(evaluated(m, {5, 16}), want);
    EXPECT_EQ(count_of(m, OpKind::mul), 2);  // the normalisation has taken over one of the two groups
  }
}

// Means of patches, against a convolution that computes them: weights of ones at one column each.
TEST(QuantizeMethods, MomentsOfConvolutionsSeeWhatTheConvolutionSees) {
  GraphParts g;
  g.inputs = {value_info("x", kFloat, {"2", "2", "5", "6"})};
  g.outputs = {value_info("y", kFloat, {})};
  std::vector<float> one_each(12 * 12, 0.0f);
  for (int k = 0; k < 12; ++k) one_each[k * 12 + k] = 1;
  g.initializers = {floats("w", {12, 2, 2, 3}, one_each)};
  const Message same_upper = Message().text(1, "auto_pad").text(4, "SAME_UPPER").num(20, 3);
  const std::vector<std::vector<Message>> windows = {{ints_of("pads", {1, 0, 1, 2}), ints_of("strides", {2, 1})}, {ints_of("dilations", {2, 2})},
                                                     {same_upper, ints_of("strides", {2, 2})}};
  for (const std::vector<Message>& attributes : windows) {
    g.nodes = {node("Conv", {"x", "w"}, {"y"}, attributes)};
    EditableModel m = opened(g, 21);
    std::vector<std::string> notes;
    const std::vector<Layer> layers = *find_layers(m, &notes);
    Reporter reporter({});
    api::CalibrationData data = quantize_test::random_data(1, {2, 2, 5, 6});
    data.sample = [](int64_t) -> Result<api::NamedTensors> {
      return api::NamedTensors{{"x", *api::Tensor::of(random_floats(120, 9), {2, 2, 5, 6})}};
    };
    auto moments = collect_moments(m, layers, true, data, {0}, {.target = "cpu"}, reporter);
    ASSERT_TRUE(moments.ok()) << moments.error().to_string();
    const std::vector<float> y = evaluated(m, {2, 2, 5, 6});
    const Moments& seen = (*moments)[0];
    const auto plane = static_cast<int64_t>(y.size()) / 24;
    ASSERT_EQ(seen.count, 2 * plane);
    for (int64_t k = 0; k < 12; ++k) {
      double sum = 0, squares = 0;
      for (int64_t image = 0; image < 2; ++image)
        for (int64_t i = 0; i < plane; ++i) {
          const double v = y[(image * 12 + k) * plane + i];
          sum += v;
          squares += v * v;
        }
      EXPECT_NEAR(seen.sum[k], sum, 1e-4) << k;
      EXPECT_NEAR(seen.second[k * 12 + k], squares, 1e-4) << k;
    }
  }
}

}  // namespace

}  // namespace weft::quantize
