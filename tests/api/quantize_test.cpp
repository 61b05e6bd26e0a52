// quantize(): what it writes means what the float model means, within the format's error.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "tests/api/api_support.h"
#include "tests/support/float_models.h"
#include "tests/support/onnx_writer.h"
#include "weft/quantize.h"

namespace weft::api_test {

namespace {

using namespace quantize_test;

std::string folder_of_test() {
  std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
  std::replace(name.begin(), name.end(), '/', '_');
  const std::string path = testing::TempDir() + "weft-quantize/" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

std::vector<float> outputs_of(const std::string& path, const api::CalibrationData& data) {
  Result<Executable> exe = compile(path, {.target = "cpu"});
  EXPECT_TRUE(exe.ok()) << exe.error().to_string();
  if (!exe.ok()) return {};
  Context context = exe->context();
  std::vector<float> all;
  for (int64_t i = 0; i < data.count; ++i) {
    auto out = context.run(*data.sample(i));
    EXPECT_TRUE(out.ok()) << out.error().to_string();
    for (float v : floats((*out)["y"])) all.push_back(v);
  }
  return all;
}

// Root of the mean squared difference, as a part of the wanted values' own.
double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return std::sqrt(difference / size);
}

struct FormatCase {
  const char* format;
  double error;       // at most
  double size;        // of the weights, as a part of the floats'
};

class QuantizeFormats : public testing::TestWithParam<FormatCase> {};

TEST_P(QuantizeFormats, MlpStaysNearFloat) {
  const auto& [format, error, size] = GetParam();
  const std::string folder = folder_of_test(), model = write_dense_model(folder), out = folder + "/q.onnx";
  const api::CalibrationData data = random_data(8, {16, 16});
  api::QuantizeOptions options;
  options.compile.target = "cpu";
  options.formats = {format};
  auto report = api::quantize(model, out, data, options);
  ASSERT_TRUE(report.ok()) << report.error().to_string();
  ASSERT_EQ(report->layers.size(), 2u);
  EXPECT_EQ(report->layers[0].node, "first");
  EXPECT_EQ(report->layers[1].options[report->layers[1].chosen].format, format);
  EXPECT_EQ(report->float_bytes, (16 * 64 + 64 * 8) * 4);
  EXPECT_NEAR(static_cast<double>(report->bytes) / static_cast<double>(report->float_bytes), size, 0.01);
  const double got = relative_error(outputs_of(out, data), outputs_of(model, data));
  EXPECT_LT(got, error);
  EXPECT_GT(got, error / 10);  // it is quantised indeed
}

TEST_P(QuantizeFormats, CnnStaysNearFloat) {
  const auto& [format, error, size] = GetParam();
  const std::string folder = folder_of_test(), model = write_conv_model(folder), out = folder + "/q.onnx";
  const api::CalibrationData data = random_data(4, {4, 3, 8, 8});
  api::QuantizeOptions options;
  options.compile.target = "cpu";
  options.formats = {format};
  auto report = api::quantize(model, out, data, options);
  ASSERT_TRUE(report.ok()) << report.error().to_string();
  EXPECT_EQ(report->layers.size(), 4u);
  EXPECT_LT(relative_error(outputs_of(out, data), outputs_of(model, data)), error * 1.5);
}

INSTANTIATE_TEST_SUITE_P(All, QuantizeFormats,
                         testing::Values(FormatCase{"int8", 0.02, 0.297}, FormatCase{"int8w", 0.01, 0.297}, FormatCase{"fp8", 0.06, 0.297},
                                         FormatCase{"int4w", 0.15, 0.168}, FormatCase{"int4", 0.15, 0.168}, FormatCase{"int4w:16", 0.13, 0.189}),
                         [](const auto& info) {
                           std::string name = info.param.format;
                           std::replace(name.begin(), name.end(), ':', '_');
                           return name;
                         });

// What the search measured is what the written model does.
TEST(Quantize, ScoresAreThoseOfTheWrittenModel) {
  const std::string folder = folder_of_test(), model = write_conv_model(folder), out = folder + "/q.onnx";
  const api::CalibrationData data = random_data(3, {4, 3, 8, 8});  // too few to hold one out
  for (const char* format : {"int8", "fp8", "int4w"})
    for (const std::vector<std::string>& methods : {std::vector<std::string>{}, {"equalize", "bias"}, {"gptq", "awq"}, {"smooth"}}) {
      auto report = api::quantize(model, out, data, {.compile = {.target = "cpu"}, .formats = {format}, .methods = methods});
      ASSERT_TRUE(report.ok()) << report.error().to_string();
      EXPECT_EQ(report->held_out.rows, 0);
      const std::vector<float> got = outputs_of(out, data), want = outputs_of(model, data);
      double squares = 0;
      for (size_t i = 0; i < want.size(); ++i) squares += (got[i] - want[i]) * (got[i] - want[i]);
      // But for codes that round the other way, and biases that are rounded.
      EXPECT_NEAR(report->score.mse, squares / static_cast<double>(want.size()), 0.2 * report->score.mse + 1e-9) << format << " " << methods.size();
    }
}

TEST(Quantize, BudgetsHoldAndTighterOnesLeaveMoreFloat) {
  const std::string folder = folder_of_test(), model = write_conv_model(folder), out = folder + "/q.onnx";
  const api::CalibrationData data = random_data(8, {4, 3, 8, 8});
  int64_t last_bytes = 0;
  int last_floats = 0, most = 0;
  std::vector<int> last_chosen;
  for (const char* budget : {"mse<=1", "mse<=1e-3", "mse<=3e-4", "mse<=1e-4", "mse<=1e-5", "mse<=1e-6", "mse<=0"}) {
    auto report = api::quantize(model, out, data, {.compile = {.target = "cpu"}, .formats = {"int8", "int4w"}, .budget = budget});
    ASSERT_TRUE(report.ok()) << report.error().to_string();
    const double limit = std::stod(std::string(budget).substr(5));
    EXPECT_LE(report->score.mse, limit) << budget;
    EXPECT_EQ(report->held_out.rows, 8);
    EXPECT_LE(report->held_out.mse, limit) << budget;
    int floats = 0;
    for (size_t i = 0; i < report->layers.size(); ++i) {
      floats += report->layers[i].chosen == 0;
      EXPECT_TRUE(last_chosen.empty() || last_chosen[i] != 0 || report->layers[i].chosen == 0) << budget;
    }
    EXPECT_GE(floats, last_floats) << budget;
    EXPECT_GE(report->bytes, last_bytes) << budget;
    last_floats = floats;
    last_bytes = report->bytes;
    last_chosen.clear();
    for (const auto& l : report->layers) last_chosen.push_back(l.chosen);
    most = std::max(most, floats);
    EXPECT_NE(api::plot_points(*report, "bytes").find("<circle"), std::string::npos);
  }
  EXPECT_EQ(most, 4);  // of the last budget
}

TEST(Quantize, GoesOnWhereItWasCutOff) {
  const std::string folder = folder_of_test(), model = write_conv_model(folder), out = folder + "/q.onnx";
  api::CalibrationData data = random_data(4, {4, 3, 8, 8});
  int asked = 0, fail_after = 1 << 30;
  data.sample = [&asked, &fail_after, sample = data.sample](int64_t i) -> Result<NamedTensors> {
    if (++asked > fail_after) return Error{.code = Code::kCancelled, .message = "cut off"};
    return sample(i);
  };
  const api::QuantizeOptions options{.compile = {.target = "cpu"}, .formats = {"int8", "int4w"}, .budget = "mse<=1e-4", .state = out + ".state"};
  auto whole = api::quantize(model, out, data, options);
  ASSERT_TRUE(whole.ok()) << whole.error().to_string();
  EXPECT_FALSE(std::filesystem::exists(out + ".state"));
  const int all = asked;
  const std::string bytes = read_file(out);
  asked = 0;
  fail_after = all - 8;
  EXPECT_ERROR(api::quantize(model, out, data, options), kCancelled);
  EXPECT_TRUE(std::filesystem::exists(out + ".state"));
  asked = 0;
  fail_after = 1 << 30;
  ASSERT_TRUE(api::quantize(model, out, data, options).ok());
  EXPECT_LT(asked, all / 2);
  EXPECT_EQ(read_file(out), bytes);
}

TEST(Quantize, OlderModelsAreRaised) {
  const std::string folder = folder_of_test(), model = write_dense_model(folder, 11), out = folder + "/q.onnx";
  const api::CalibrationData data = random_data(4, {16, 16});
  auto report = api::quantize(model, out, data, {.compile = {.target = "cpu"}});
  ASSERT_TRUE(report.ok()) << report.error().to_string();
  EXPECT_LT(relative_error(outputs_of(out, data), outputs_of(model, data)), 0.02);
}

TEST(Quantize, SameCallsWriteTheSameBytes) {
  const std::string folder = folder_of_test(), model = write_conv_model(folder);
  for (const char* name : {"/a.onnx", "/b.onnx"})
    ASSERT_TRUE(api::quantize(model, folder + name, random_data(3, {2, 3, 8, 8}), {.compile = {.target = "cpu"}}).ok());
  EXPECT_EQ(read_file(folder + "/a.onnx"), read_file(folder + "/b.onnx"));
}

// An output whose dims depend on values: how many are positive.
TEST(Quantize, OutputsOfOtherDimsAreAnError) {
  using namespace onnx_test;
  const std::string folder = folder_of_test(), model = folder + "/model.onnx";
  GraphParts g;
  g.inputs = {value_info("x", kFloat, {"n", "16"})};
  g.outputs = {value_info("y", kFloat, {})};
  g.initializers = {onnx_test::floats("w", {16, 64}, random_floats(16 * 64, 1)), onnx_test::floats("zero", {}, {0})};
  g.nodes = {node("MatMul", {"x", "w"}, {"a"}), node("Greater", {"a", "zero"}, {"b"}), node("Compress", {"a", "b_flat"}, {"y"}),
             node("Flatten", {"b"}, {"b_rows"}, {int_attr("axis", 0)}), node("Squeeze", {"b_rows"}, {"b_flat"})};
  std::ofstream(model, std::ios::binary) << onnx_test::model(graph(g)).bytes;
  EXPECT_ERROR(api::quantize(model, folder + "/q.onnx", random_data(4, {16, 16}), {.compile = {.target = "cpu"}, .formats = {"int4w"}}), kUnsupported);
}

// NaN and infinities in weights and inputs end in an Error or in a model, never otherwise.
TEST(Quantize, NumbersThatAreNone) {
  const std::string folder = folder_of_test(), model = write_dense_model(folder), out = folder + "/q.onnx";
  api::CalibrationData data = random_data(4, {4, 16});
  data.sample = [sample = data.sample](int64_t i) -> Result<NamedTensors> {
    auto t = sample(i);
    (*t)["x"].data_as<float>()[0] = i % 2 ? NAN : INFINITY;
    return t;
  };
  for (const std::vector<std::string>& methods : {std::vector<std::string>{}, {"gptq", "bias", "awq"}, {"smooth", "equalize"}}) {
    auto report = api::quantize(model, out, data, {.compile = {.target = "cpu"}, .formats = {"int8", "int4w"}, .methods = methods, .budget = "kl<=0.1"});
    ASSERT_TRUE(report.ok()) << report.error().to_string();
    EXPECT_TRUE(compile(out, {.target = "cpu"}).ok());
    EXPECT_FALSE(report->notes.empty());
  }
}

TEST(Quantize, WhatMakesNoSenseIsAnError) {
  const std::string folder = folder_of_test(), model = write_dense_model(folder), out = folder + "/q.onnx";
  const api::CalibrationData data = random_data(2, {4, 16});
  EXPECT_ERROR(api::quantize(model, out, {}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.formats = {"int9"}}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.formats = {}}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.calibrator = "median"}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.methods = {"magic"}}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.methods = {"awq", "smooth"}}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.budget = "top1>=1%"}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.objective = "beauty"}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.held_out = 1}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.formats = {"int4w:0"}}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.formats = {"int4w:x"}}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.activations = "i7"}), kUsage);
  EXPECT_ERROR(api::quantize(model, out, data, {.calibrator = "percentile:40"}), kUsage);
  EXPECT_ERROR(api::quantize(folder + "/none.onnx", out, data), kUsage);
  EXPECT_ERROR(api::quantize(model, folder + "/none/q.onnx", data, {.compile = {.target = "cpu"}}), kResources);
  EXPECT_ERROR(api::quantize(model, out, random_data(2, {4, 15}), {.compile = {.target = "cpu"}}), kUsage);
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace

}  // namespace weft::api_test
