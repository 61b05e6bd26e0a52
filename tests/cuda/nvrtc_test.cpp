// NVRTC and the device headers: what compiles for what, what errors say, what a kernel costs.
#include <gtest/gtest.h>

#include <ctime>

#include "codegen/cuda/nvrtc.h"
#include "tests/support/cuda_kernels.h"

namespace weft::cuda_test {

namespace {

class NvrtcTest : public testing::Test {
 protected:
  void SetUp() override {
    if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  }
};

const char* kHeaders[] = {"convert", "launch", "memory", "reduce", "scalar", "types"};

CudaSource add_one() {
  CudaSource s{"add_one", ""};
  for (const char* header : kHeaders) s.text += "#include \"kernels/core/" + std::string(header) + ".cuh\"\n";
  s.text += R"(
namespace weft {
extern "C" __global__ void add_one(const f32* p0, f32* p1, const i64* dims) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < dims[0]) p1[i] = p0[i] + 1.0f;
}
}
)";
  return s;
}

double processor_ms() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

TEST_F(NvrtcTest, EveryHeaderStandsAlone) {
  for (const char* header : kHeaders) {
    CudaSource s{header, "#include \"kernels/core/" + std::string(header) + ".cuh\"\n__global__ void k() {}\n"};
    for (const char* isa : {"sm_75", "sm_90a"}) {
      auto b = compile_cuda(s, isa);
      EXPECT_TRUE(b.ok() && b->log.find("warning") == std::string::npos) << isa << (b.ok() ? b->log : b.error().to_string());
    }
  }
}

TEST_F(NvrtcTest, CubinsAndPtx) {
  for (const char* isa : {"sm_80", "sm_90", "sm_90a", "sm_100a"}) {
    auto b = compile_cuda(add_one(), isa);
    ASSERT_TRUE(b.ok()) << isa << ": " << b.error().to_string();
    EXPECT_EQ(b->code.substr(0, 4), "\x7f" "ELF");
    test::KernelUse use = test::parse_use(b->log);
    EXPECT_TRUE(use.registers > 0 && use.spill_bytes == 0) << b->log;
  }
  auto ptx = compile_cuda(add_one(), "compute_80");
  ASSERT_TRUE(ptx.ok()) << ptx.error().to_string();
  EXPECT_NE(ptx->code.find(".target sm_80"), std::string::npos);
  EXPECT_NE(ptx->code.find("add_one"), std::string::npos);
}

// On a machine with a GPU NVRTC keeps what it made, and says nothing of registers when it gives that again.
TEST_F(NvrtcTest, ASecondCompilationGivesTheAccountToo) {
  for (int i = 0; i < 2; ++i) {
    auto b = compile_cuda(add_one(), "sm_90a");
    ASSERT_TRUE(b.ok()) << b.error().to_string();
    EXPECT_GT(test::parse_use(b->log).registers, 0) << i << ": " << b->log;
  }
}

TEST_F(NvrtcTest, FaultsAreErrors) {
  auto bad = compile_cuda({"bad", "__global__ void k() { nothing; }"}, "sm_90a");
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, Code::kInvalidModel);
  EXPECT_NE(bad.error().message.find("\"nothing\" is undefined"), std::string::npos) << bad.error().message;
  auto isa = compile_cuda(add_one(), "sm_10");
  ASSERT_FALSE(isa.ok());
  EXPECT_EQ(isa.error().code, Code::kUnsupported);
  EXPECT_NE(isa.error().message.find("does not know sm_10"), std::string::npos) << isa.error().message;
  EXPECT_FALSE(isa.error().hint.empty());
}

// Processor time, which other load on the machine changes little.
// Against a kernel without any header, compiled in the same process: what our headers add must stay small.
TEST_F(NvrtcTest, HeadersAreQuick) {
  const CudaSource bare{"bare", "extern \"C\" __global__ void bare(const float* a, float* b) { b[threadIdx.x] = a[threadIdx.x] + 1.0f; }"};
  auto least_ms = [](const CudaSource& source) {
    double best = 1e9;
    for (int i = 0; i < 6; ++i) {
      const double from = processor_ms();
      EXPECT_TRUE(compile_cuda(source, "sm_90a").ok());
      best = std::min(best, processor_ms() - from);
    }
    return best;
  };
  const double alone = least_ms(bare), with_headers = least_ms(add_one());
  EXPECT_LE(with_headers, 3 * alone) << with_headers << " ms, " << alone << " ms without headers";
}

}  // namespace

}  // namespace weft::cuda_test
