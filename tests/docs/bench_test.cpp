// The scripts of tools/bench write models that weft runs right; tiny ones here, on the CPU.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace weft::docs_test {
namespace {

void expect_right(const std::string& script, const std::string& last) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  const std::string command = std::string(WEFT_SOURCE_DIR) + "/tools/bench/" + script + " --weft " + WEFT_BINARY + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_TRUE(pipe);
  std::string text;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  EXPECT_EQ(pclose(pipe), 0) << text;
  EXPECT_NE(text.find(last), std::string::npos) << text;
}

TEST(BenchScripts, GpuPeersModelsAreRight) { expect_right("gpu_peers --small --verify --target cpu --only copy,resnet,bert,llama", "llama: prefill"); }
TEST(BenchScripts, AndTheLlamaInMicrosoftsForm) {
  expect_right("gpu_peers --small --verify --target cpu --only llama --form microsoft", "llama: prefill");
}
TEST(BenchScripts, RecurrentLayersAreRight) { expect_right("rnn_peers --hidden 24 --steps 3 --rounds 1 --seconds 0.01", "GRU 24 bidirectional"); }
TEST(BenchScripts, RanksOfOneCommand) { expect_right("multi_gpu --small --target cpu --ranks 2 --seconds 0.05", "  hidden "); }

}  // namespace
}  // namespace weft::docs_test
