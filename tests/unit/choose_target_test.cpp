// Which of several targets' code a machine runs, for GPUs that are not here.
#include "runtime/artefact/choose_target.h"

#include <gtest/gtest.h>

#include "runtime/cuda/device.h"

namespace weft::choose_target_test {
namespace {

CudaDevice gpu(int major, int minor, const std::string& name = "a GPU") {
  CudaDevice d;
  d.name = name;
  d.major = major;
  d.minor = minor;
  return d;
}

std::string chosen(const std::vector<std::string>& targets, const std::optional<CudaDevice>& device, const std::string& wanted = "") {
  auto i = choose_target(targets, wanted, device ? &*device : nullptr);
  return i.ok() ? targets[*i] : "";
}

TEST(ChooseTarget, MachineCodeRunsWithinItsMajorVersion) {
  const std::vector<std::string> all = {"cpu:x86-64-v2", "cuda:compute_75", "cuda:sm_75",      "cuda:sm_80",
                                        "cuda:sm_86",    "cuda:sm_90a",     "cuda:compute_80", "cuda:sm_90"};
  EXPECT_EQ(chosen(all, gpu(7, 5)), "cuda:sm_75");
  EXPECT_EQ(chosen(all, gpu(8, 0)), "cuda:sm_80");
  EXPECT_EQ(chosen(all, gpu(8, 6)), "cuda:sm_86");
  EXPECT_EQ(chosen(all, gpu(8, 9)), "cuda:sm_86");
  EXPECT_EQ(chosen(all, gpu(8, 7)), "cuda:compute_80");  // Orin runs no other GPU's machine code
  EXPECT_EQ(chosen(all, gpu(9, 0)), "cuda:sm_90a");
  EXPECT_EQ(chosen(all, gpu(10, 0)), "cuda:compute_80");
  EXPECT_EQ(chosen(all, gpu(13, 1)), "cuda:compute_80");
  EXPECT_EQ(chosen({"cuda:sm_120", "cuda:compute_80"}, gpu(12, 1)), "cuda:sm_120");
  EXPECT_EQ(chosen({"cuda:sm_87", "cuda:sm_80"}, gpu(8, 9)), "cuda:sm_80");
  // Neither what another architecture alone has, nor what came later, nor what a newer one, unknown to us, is like.
  EXPECT_EQ(chosen({"cuda:sm_90a", "cuda:sm_100a", "cuda:sm_89"}, gpu(10, 3)), "");
  EXPECT_EQ(chosen({"cuda:sm_90"}, gpu(11, 0)), "");
  EXPECT_EQ(chosen({"cuda:compute_90", "cuda:sm_86"}, gpu(8, 0)), "");
}

TEST(ChooseTarget, TheDeviceItWasTunedFor) {
  const std::vector<std::string> two = {"cuda:sm_90a", "cuda:sm_90a+h200"};
  EXPECT_EQ(chosen(two, gpu(9, 0, "NVIDIA H200")), "cuda:sm_90a+h200");
  EXPECT_EQ(chosen(two, gpu(9, 0, "NVIDIA H100 80GB HBM3")), "cuda:sm_90a");
}

TEST(ChooseTarget, WhatIsWanted) {
  const std::vector<std::string> both = {"cuda:compute_80", "cpu:x86-64-v2"};
  EXPECT_EQ(chosen(both, gpu(9, 0)), "cuda:compute_80");
  EXPECT_EQ(chosen(both, std::nullopt, "cuda"), "");
  EXPECT_EQ(chosen(both, gpu(9, 0), "cuda:sm_90a"), "");
#if defined(__x86_64__)
  EXPECT_EQ(chosen(both, std::nullopt), "cpu:x86-64-v2");
  EXPECT_EQ(chosen(both, gpu(7, 5)), "cpu:x86-64-v2");
  EXPECT_EQ(chosen(both, gpu(9, 0), "cpu"), "cpu:x86-64-v2");
#endif
}

TEST(ChooseTarget, SaysWhatIsMissing) {
  const CudaDevice b200 = gpu(10, 0, "NVIDIA B200");
  auto none = choose_target({"cuda:sm_90a", "cuda:sm_80", "cuda:compute_120"}, "", &b200);
  EXPECT_EQ(none.error().code, Code::kUsage);  // an unknown name
  none = choose_target({"cuda:sm_90a", "cuda:sm_80"}, "", &b200);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, Code::kUnsupported);
  EXPECT_EQ(none.error().message,
      "no code that runs here: it has cuda:sm_90a (needs a GPU of compute capability 9.0 alone), cuda:sm_80 (needs a GPU of compute capability 8.0 to 8.9); "
      "this GPU (NVIDIA B200) is of compute capability 10.0");
  EXPECT_NE(none.error().hint.find("--target cuda:sm_100a, or cuda:compute_80"), std::string::npos) << none.error().hint;
  none = choose_target({"cuda:compute_80"}, "", nullptr);
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("compute capability 8.0 or later); there is no GPU here"), std::string::npos) << none.error().message;
}

TEST(ChooseTarget, WhatAGpuIsCompiledFor) {
  EXPECT_EQ(gpu(9, 0).target()->to_string(), "cuda:sm_90a");
  EXPECT_EQ(gpu(8, 9).target()->to_string(), "cuda:sm_89");
  EXPECT_EQ(gpu(12, 1).target()->to_string(), "cuda:sm_120");
  EXPECT_EQ(gpu(11, 0).target()->to_string(), "cuda:compute_90");
  EXPECT_FALSE(gpu(7, 0).target().ok());
  for (auto [major, minor] : {std::pair{7, 5}, {8, 0}, {8, 6}, {8, 7}, {8, 8}, {8, 9}, {9, 0}, {10, 0}, {10, 3}, {11, 0}, {12, 0}, {12, 1}, {14, 2}}) {
    const CudaDevice d = gpu(major, minor);
    EXPECT_GT(d.fitness(*d.target()), 0) << major << "." << minor;
  }
}

}  // namespace
}  // namespace weft::choose_target_test
