// What tools/bench/record_quantized prepares: ONNX Runtime's quantised operators one by one, and models that its tools
// quantised.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "tests/models/model_case.h"

namespace weft::model_test {

namespace {

// Of the range of a float output, where ONNX Runtime computes something else than the operator says: it rounds the experts'
// inputs and the LSTM's inputs and states to 8 bits.
const std::map<std::string, double> kRoundsMore{{"qmoe_8_32", 2e-2},       {"qmoe_8_32_silu", 2e-2},
                                                {"qmoe_8_32_zeros", 2e-2}, {"dynamicquantizelstm_forward", 2e-2},
                                                {"dynamicquantizelstm_bidirectional", 2e-2}};

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
    const auto more = kRoundsMore.find(name);
    EXPECT_LE(worst_error(*sets, got), more == kRoundsMore.end() ? 1e-5 : more->second);
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
  EXPECT_GE(cases, 92);
}

TEST(QuantizedOps, Compiled) {
  expect_all_near([](const std::string& path) { return compiled(path); });
}
TEST(QuantizedOps, Evaluated) { expect_all_near(evaluated); }

}  // namespace

}  // namespace weft::model_test
