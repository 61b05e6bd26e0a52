// The text of kernels. A case is a pair of files in tests/cuda/cases: NAME.wkernel, a spec without a choice, and NAME.cu, what
// choose_cuda and the emitter make of it for sm_90a. `cuda --update` writes the latter anew. Where NVRTC is there, they
// compile for every ISA that weft knows.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/nvrtc.h"
#include "tests/support/cuda_kernels.h"
#include "tests/support/update.h"

namespace weft::cuda_test {

namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), {}};
}

std::vector<std::string> case_names() {
  std::vector<std::string> out;
  for (const auto& e : fs::directory_iterator(std::string(WEFT_SOURCE_DIR) + "/tests/cuda/cases"))
    if (e.path().extension() == ".wkernel") out.push_back(e.path().stem().string());
  std::sort(out.begin(), out.end());
  return out;
}

KernelSpec spec_of(const std::string& name, const Target& target) {
  auto spec = parse_spec(read_file(std::string(WEFT_SOURCE_DIR) + "/tests/cuda/cases/" + name + ".wkernel"));
  EXPECT_TRUE(spec.ok()) << spec.error().to_string();
  if (!spec.ok()) return {};
  choose_cuda(*spec, target);
  return std::move(*spec);
}

class CudaSourceCase : public testing::TestWithParam<std::string> {};

TEST_P(CudaSourceCase, Text) {
  Target target = *parse_target("cuda:sm_90a");
  const fs::path path = std::string(WEFT_SOURCE_DIR) + "/tests/cuda/cases/" + GetParam() + ".cu";
  const std::string got = cuda_source(spec_of(GetParam(), target), target, "kernel");
  if (update_requested()) std::ofstream(path, std::ios::binary) << got;
  else EXPECT_EQ(got, read_file(path));
}

TEST_P(CudaSourceCase, CompilesForEveryIsa) {
  if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  for (const char* isa : {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100a", "sm_120", "compute_80"}) {
    Target target = *parse_target(std::string("cuda:") + isa);
    test::check_cuda_kernels({spec_of(GetParam(), target)}, target);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaSourceCase, testing::ValuesIn(case_names()), [](const auto& info) { return info.param; });

}  // namespace

}  // namespace weft::cuda_test
