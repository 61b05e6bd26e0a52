// Kernels of a sample of ONNX's node cases, compiled. (The differential suite compiles its own; see tests/backend.) With
// WEFT_NODE_CASES_FOR=sm_80 in the environment all of them, for that ISA.
#include <gtest/gtest.h>

#include <filesystem>

#include "frontend/api/compilation.h"
#include "tests/support/cuda_kernels.h"

namespace weft::cuda_test {

namespace {

constexpr size_t kSample = 12;  // every twelfth, so that a run takes seconds

}  // namespace

TEST(CudaNodeCases, SampleCompiles) {
  if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  namespace fs = std::filesystem;
  std::vector<std::string> models;
  for (const auto& e : fs::directory_iterator(std::string(WEFT_ONNX_SRC) + "/onnx/backend/test/data/node")) models.push_back(e.path() / "model.onnx");
  std::sort(models.begin(), models.end());
  const char* isa = std::getenv("WEFT_NODE_CASES_FOR");
  const size_t every = isa ? 1 : kSample;
  auto parsed = parse_target(std::string("cuda:") + (isa ? isa : "sm_90a"));
  ASSERT_TRUE(parsed.ok()) << parsed.error().to_string();
  const Target target = std::move(*parsed);
  size_t kernels = 0;
  for (size_t k = 0; k < models.size(); k += every) {
    api::CompileOptions o;
    o.target = target.to_string();
    Compilation c(o);
    if (!c.load_file(models[k]).ok() || !c.apply_shapes().ok() || !c.optimise().ok()) continue;
    Status lowered = c.lower();
    if (!lowered.ok()) {
      EXPECT_EQ(lowered.error().code, Code::kUnsupported) << models[k] << ": " << lowered.error().to_string();
      continue;
    }
    SCOPED_TRACE(models[k]);
    kernels += c.lowered().specs.size();
    test::check_cuda_kernels(c.lowered().specs, target);
  }
  EXPECT_GT(kernels, 100u);
}

}  // namespace weft::cuda_test
