// Models of every form that the model maker writes, and the shared exports, shared out over up to 16 simulated ranks: what the
// ranks compute is what the whole model gives.
#include <gmock/gmock.h>

#include "tests/multi/forked.h"
#include "tests/multi/shell.h"

namespace weft::multi_test {
namespace {

using testing::HasSubstr;

struct Made {
  const char* name;
  const char* options;  // of the maker
  const char* inputs;
};

void expect_right(const std::string& model, const std::string& options) {
  Outcome o = shell("weft verify " + model + " " + options);
  EXPECT_EQ(o.code, 0) << options << "\n" << o.text;
  EXPECT_THAT(o.text, HasSubstr("1 passed, 0 failed")) << options;
}

class MadeModels : public testing::TestWithParam<Made> {};
TEST_P(MadeModels, AreRightOnRanks) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  const auto& [name, options, inputs] = GetParam();
  const std::string model = fresh_folder() + "/model.onnx";
  Outcome made = shell(WEFT_SOURCE_DIR "/tools/bench/make_models " + std::string(name) + " " + model + " --small " + options);
  ASSERT_EQ(made.code, 0) << made.text;
  for (const char* mesh : {"tp=2", "tp=3", "tp=4", "tp=16", "pp=2", "dp=2", "dp=4", "ep=2", "ep=4,tp=2", "dp=2,tp=2", "pp=2,tp=2", "dp=2,pp=2,tp=4",
                           "dp=2,ep=4,tp=2", "dp=2,pp=2,ep=2,tp=2"})
    expect_right(model, std::string("--target eval --mesh ") + mesh + " " + inputs);
}
constexpr const char* kTokens = "--shapes ids=4x3 --range ids=0..255";
INSTANTIATE_TEST_SUITE_P(
    Forms, MadeModels,
    testing::Values(Made{"llama-8b", "--dtype f32 --batch 4", kTokens},
                    Made{"llama-8b", "--dtype f32 --form microsoft", "--shapes ids=1x3 --range ids=0..255"},
                    Made{"llama-8b", "--dtype f32 --batch 4 --set kv_heads=2", kTokens},
                    Made{"llama-8b", "--dtype f32 --form microsoft --set kv_heads=2", "--shapes ids=1x3 --range ids=0..255"},
                    Made{"mixtral-8x7b", "--dtype f32 --batch 4", kTokens}, Made{"mixtral-8x7b", "--dtype f32 --batch 4 --set capacity=0", kTokens},
                    Made{"mixtral-8x7b", "--dtype f32 --form microsoft", "--shapes ids=1x3 --range ids=0..255"},
                    Made{"deepseek-671b", "--dtype f32 --batch 4", kTokens},
                    Made{"bert-base", "", "--shapes ids=4x6 --shapes mask=4x6 --range ids=0..255 --range mask=0..1"},
                    Made{"vit-base", "", "--shapes x=4x3x32x32"},
                    Made{"resnet-50", "", "--shapes x=2x3x64x64"}, Made{"mlp", "", "--shapes x=4x64"}),
    [](const auto& info) {
      const std::string options = info.param.options;
      std::string name = info.param.name;
      for (const char* part : {"microsoft", "kv_heads", "capacity"})
        if (options.find(part) != std::string::npos) name += std::string("_") + part;
      for (char& c : name)
        if (c == '-') c = '_';
      return name;
    });

TEST(MadeExperts, AreRightOnThreads) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  const std::string model = fresh_folder() + "/model.onnx";
  Outcome made = shell(WEFT_SOURCE_DIR "/tools/bench/make_models mixtral-8x7b " + model + " --small --dtype f32 --batch 4");
  ASSERT_EQ(made.code, 0) << made.text;
  for (const char* mesh : {"ep=4", "ep=2,tp=2", "dp=2,ep=2"}) expect_right(model, std::string("--target cpu --mesh ") + mesh + " " + kTokens);
}

// At these sizes it is cheaper that every rank has all experts: here they are cut as they are of large models.
TEST(MadeExperts, AreRightWhereRanksShareThemOut) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  const std::string model = fresh_folder() + "/model.onnx";
  struct Case {
    const char *made, *inputs, *shard, *weight;
  };
  for (const Case& c : {Case{"mixtral-8x7b --batch 4", kTokens, "--shard '*.experts.*=0:ep'", "0.experts.gate"},
                        Case{"mixtral-8x7b --batch 4 --set capacity=0", kTokens, "--shard '*.experts.*=0:ep'", "0.experts.gate"},
                        Case{"mixtral-8x7b --form microsoft", "--shapes ids=1x3 --range ids=0..255", "--shard '*.fc1=0:ep' --shard '*.fc2=0:ep'", "0.fc2"},
                        Case{"deepseek-671b --batch 4", kTokens, "--shard '*.experts.*=0:ep'", "1.experts.gate"}}) {
    const std::string maker = std::string(c.made).insert(std::string(c.made).find(' '), " " + model);
    Outcome o = shell(WEFT_SOURCE_DIR "/tools/bench/make_models " + maker + " --small --dtype f32");
    ASSERT_EQ(o.code, 0) << o.text;
    const std::string shapes = std::string(c.inputs).substr(0, std::string(c.inputs).find(" --range"));
    o = shell("weft plan " + model + " --target cpu --mesh ep=4 --explain " + shapes + " " + c.shard + " | grep '^" + c.weight + " '");
    EXPECT_THAT(o.text, HasSubstr(" ep, whole, whole")) << o.text;
    for (const char* mesh : {"ep=2", "ep=8", "ep=4,tp=2", "dp=2,ep=4,tp=2", "pp=2,ep=2,tp=2"})
      expect_right(model, std::string("--target eval --mesh ") + mesh + " " + c.inputs + " " + c.shard);
  }
}

TEST(SharedModels, AreRightOnUpToSixteenRanks) {
  for (const std::string model : {"bert_ts17", "kv_static_dynamo23", "llama_dynamo23", "lstm_gru_ts17", "vit_tiny_dynamo"})
    for (const std::string mesh : {"tp=4", "tp=16", "ep=2,tp=2", "pp=2,tp=2", "pp=2,ep=2,tp=4"})
      expect_right(WEFT_SOURCE_DIR "/tests/models/shared/" + model, "--target eval --mesh " + mesh);
}

// Keys and values that each rank has a part of: of heads, of the batch (three sequences on two ranks), of a stage's layers.
TEST(MadeStates, AreRightOnRanks) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  const std::string model = fresh_folder() + "/model.onnx";
  Outcome made = shell(WEFT_SOURCE_DIR "/tools/bench/make_models llama-8b " + model + " --small --dtype f32 --batch 3");
  ASSERT_EQ(made.code, 0) << made.text;
  const std::string options = "--state auto --shapes ids=3x2 --range ids=0..255 --target cpu --atol 1e-5 --mesh ";
  for (const char* mesh : {"tp=2", "tp=4", "dp=2", "dp=2,tp=2", "pp=2,tp=2"}) expect_right(model, options + mesh);
  for (const char* mesh : {"tp=4", "dp=2,pp=2"}) {
    Outcome o = shell("weft launch -n 4 -- weft verify " + model + " " + options + mesh);
    EXPECT_EQ(o.code, 0) << o.text;
    EXPECT_THAT(o.text, HasSubstr("[0] 1 passed, 0 failed"));
  }
  Outcome o = shell("weft compile " + model + " --state auto --shapes ids=3x2 --tp 2 -o " + model + ".wplan && grep ^state " + model + ".wplan");
  EXPECT_THAT(o.text, HasSubstr(" shard(mesh:[_,tp,_,_]) of [3,4,past,16]\n")) << o.text;
}

TEST(MadeModels, SizesThatAModelDoesNotHave) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  Outcome o = shell(WEFT_SOURCE_DIR "/tools/bench/make_models mlp " + fresh_folder() + "/m.onnx --set heads=3");
  EXPECT_EQ(o.code, 2) << o.text;
  EXPECT_THAT(o.text, HasSubstr("heads"));
}

}  // namespace
}  // namespace weft::multi_test
