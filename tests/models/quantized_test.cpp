// What tools/bench/record_quantized prepares: ONNX Runtime's quantised operators one by one, and models that its tools
// quantised.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "tests/models/model_case.h"

namespace weft::model_test {

namespace {

// Of the range of a float output, where ONNX Runtime computes something else than the operator says: it rounds the experts'
// inputs and the LSTM's inputs and states to 8 bits. Sums of halves are halves.
double tolerance_of(const std::string& name) {
  for (const char* rounded : {"qmoe_8_32", "dynamicquantizelstm"})
    if (name.starts_with(rounded)) return 2e-2;
  return name.ends_with("_half") ? 1e-3 : 1e-5;
}

// A quantised result may be one step off: ONNX Runtime rounds a quotient elsewhere than the operator's formula.
void expect_near(const Result<Model>& m, const std::string& folder, const std::string& name) {
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  Result<std::vector<DataSet>> sets = read_sets(folder, *m);
  ASSERT_TRUE(sets.ok()) << sets.error().to_string();
  const std::vector<NamedTensors> got = outputs_of(*m, *sets);
  ASSERT_EQ(got.size(), sets->size());
  if (is_int(m->outputs[0].dtype)) {
    EXPECT_LE(worst_difference(*sets, got), 1);
  } else {
    EXPECT_LE(worst_error(*sets, got), tolerance_of(name));
  }
}

void expect_all_near(Result<Model> (*model)(const std::string& path)) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  int cases = 0;
  for (const auto& e : std::filesystem::directory_iterator(prepared("record_quantized") + "/ops")) {
    const std::string name = e.path().filename();
    SCOPED_TRACE(name);
    expect_near(model(e.path() / "model.onnx"), e.path(), name);
    ++cases;
  }
  EXPECT_GE(cases, 163);
}

TEST(QuantizedOps, Compiled) {
  expect_all_near([](const std::string& path) { return compiled(path); });
}
TEST(QuantizedOps, Evaluated) { expect_all_near(evaluated); }

// A model's first output may differ by `most`, and every row's largest element is the same. Of the ResNet that is one step of
// its quantised output. The recogniser's last layers are floats: a tie in one layer that is rounded the other way grows from
// layer to layer, so that ONNX Runtime with and without its own optimisations differs by 0.12.
struct Quantized {
  const char* name;
  double most;
};
std::vector<size_t> largest_of_rows(const api::Tensor& t) {
  const size_t n = static_cast<size_t>(t.dims().back()), rows = static_cast<size_t>(t.numel()) / n;
  std::vector<size_t> out;
  for (size_t r = 0; r < rows; ++r) {
    const float* row = t.data_as<float>() + r * n;
    out.push_back(static_cast<size_t>(std::max_element(row, row + n) - row));
  }
  return out;
}
class QuantizedModels : public testing::TestWithParam<Quantized> {
 protected:
  void check(Result<Model> (*model)(const std::string& path)) {
    if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
    const std::string folder = prepared("record_quantized") + "/models/" + GetParam().name;
    const Result<Model> m = model(folder + "/model.onnx");
    ASSERT_TRUE(m.ok()) << m.error().to_string();
    Result<std::vector<DataSet>> sets = read_sets(folder, *m);
    ASSERT_TRUE(sets.ok()) << sets.error().to_string();
    const std::vector<NamedTensors> got = outputs_of(*m, *sets);
    ASSERT_EQ(got.size(), sets->size());
    const double worst = worst_difference(*sets, got);
    EXPECT_LE(worst, GetParam().most);
    for (size_t k = 0; k < got.size(); ++k) {
      const std::string& name = m->outputs[0].name;
      EXPECT_EQ(largest_of_rows(got[k][name]), largest_of_rows((*sets)[k].outputs[name])) << "set " << k;
    }
    std::printf("%zu sets, largest difference %.2g\n", sets->size(), worst);
  }
};
TEST_P(QuantizedModels, Compiled) {
  check([](const std::string& path) { return compiled(path); });
}
TEST_P(QuantizedModels, Evaluated) { check(evaluated); }
constexpr double kStep = 1.001 / 255;
INSTANTIATE_TEST_SUITE_P(All, QuantizedModels,
                         testing::Values(Quantized{"resnet50_qdq", kStep}, Quantized{"resnet50_qoperator", kStep},
                                         Quantized{"recogniser_qdq", 0.12}, Quantized{"recogniser_qoperator", 0.12},
                                         Quantized{"bert_dynamic", 1e-5}, Quantized{"llama_4bit", 1e-5},
                                         Quantized{"fake_quantized", 2e-2}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace

}  // namespace weft::model_test
