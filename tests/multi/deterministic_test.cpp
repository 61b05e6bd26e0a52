// --deterministic: the same bits on 1, 2 and 4 ranks, on the processor and in the evaluator.
#include <gmock/gmock.h>

#include "tests/multi/forked.h"
#include "tests/multi/shell.h"

namespace weft::multi_test {
namespace {

using testing::HasSubstr;

struct DeterministicCase {
  const char *title, *model, *inputs;
};

class Deterministic : public testing::TestWithParam<DeterministicCase> {};
TEST_P(Deterministic, BitsDoNotDependOnTheNumberOfRanks) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  const std::string folder = fresh_folder(), model = GetParam().model;
  const std::string maker = model.substr(0, model.find(' ')) + " " + folder + "/m.onnx --small" + model.substr(std::min(model.find(' '), model.size()));
  Outcome o = shell(WEFT_SOURCE_DIR "/tools/bench/make_models " + maker);
  ASSERT_EQ(o.code, 0) << o.text;
  for (const std::string target : {"cpu", "eval"}) {
    const std::string run = "weft run " + folder + "/m.onnx --deterministic 4 --seed 7 " + GetParam().inputs + " --target " + target + " --save-outputs ";
    o = shell(run + folder + "/one.npz");
    ASSERT_EQ(o.code, 0) << o.text;
    for (const char* mesh : {"tp=2", "tp=4", "dp=2,tp=2", "pp=2,tp=2"}) {
      o = shell(run + folder + "/ranks.npz --mesh " + mesh + " && cmp " + folder + "/one.npz " + folder + "/ranks.npz");
      EXPECT_EQ(o.code, 0) << target << " " << mesh << "\n" << o.text;
    }
  }
}
TEST(DeterministicOption, WithoutItBitsDepend) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  const std::string folder = fresh_folder(), run = "weft run " + folder + "/m.onnx --seed 7 --shapes x=4x64 --target cpu --save-outputs " + folder;
  Outcome o = shell(WEFT_SOURCE_DIR "/tools/bench/make_models mlp " + folder + "/m.onnx --small && " + run + "/one.npz && " + run + "/ranks.npz --tp 4");
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(shell("cmp " + folder + "/one.npz " + folder + "/ranks.npz").code, 1);
}
constexpr const char* kFourSequences = "--shapes ids=4x3 --range ids=0..255";
constexpr const char* kLongSequences = "--shapes ids=4x30 --range ids=0..255";
constexpr const char* kOneSequence = "--shapes ids=1x3 --range ids=0..255";
INSTANTIATE_TEST_SUITE_P(
    Models, Deterministic,
    testing::Values(DeterministicCase{"llama", "llama-8b --dtype f32 --batch 4", kFourSequences},
                    DeterministicCase{"llama_few_heads", "llama-8b --dtype f32 --batch 4 --set kv_heads=2", kFourSequences},
                    DeterministicCase{"llama_wide", "llama-8b --dtype f32 --batch 4 --set hidden=512 --set ffn=2048", kLongSequences},
                    DeterministicCase{"llama_microsoft", "llama-8b --dtype f32 --form microsoft", kOneSequence},
                    DeterministicCase{"llama_bf16", "llama-8b --batch 4", kFourSequences},
                    DeterministicCase{"mixtral", "mixtral-8x7b --dtype f32 --batch 4", kFourSequences},
                    DeterministicCase{"bert", "bert-base", "--shapes ids=4x6 --shapes mask=4x6 --range ids=0..255 --range mask=0..1"},
                    DeterministicCase{"mlp", "mlp", "--shapes x=4x64"}, DeterministicCase{"mlp_wide", "mlp --set width=2048", "--shapes x=5x2048"},
                    DeterministicCase{"resnet", "resnet-50", "--shapes x=2x3x64x64"}),
    [](const auto& info) { return std::string(info.param.title); });

}  // namespace
}  // namespace weft::multi_test
