// The scripts of tools/bench that time GPUs write models that weft runs right; tiny ones here, on the CPU.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace weft::docs_test {
namespace {

void expect_right(const std::string& options) {
  if (!*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
  const std::string command =
      std::string(WEFT_SOURCE_DIR) + "/tools/bench/gpu_peers --small --verify --target cpu --weft " + WEFT_BINARY + " " + options + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_TRUE(pipe);
  std::string text;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  EXPECT_EQ(pclose(pipe), 0) << text;
  EXPECT_NE(text.find("llama: prefill"), std::string::npos) << text;
}

TEST(BenchScripts, GpuPeersModelsAreRight) { expect_right("--only copy,resnet,bert,llama"); }
TEST(BenchScripts, AndTheLlamaInMicrosoftsForm) { expect_right("--only llama --form microsoft"); }

}  // namespace
}  // namespace weft::docs_test
