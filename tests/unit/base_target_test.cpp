#include "ir/base/target.h"

#include <gtest/gtest.h>

namespace weft::target_test {
namespace {

Target parsed(const std::string& text) {
  Result<Target> t = parse_target(text);
  EXPECT_TRUE(t.ok()) << text;
  return t.ok() ? *t : Target{};
}

TEST(Target, Levels) {
  Target v2 = parsed("cpu:x86-64-v2"), v3 = parsed("cpu:x86-64-v3"), v4 = parsed("cpu:x86-64-v4");
  EXPECT_EQ(v2.vector_bytes, 16);
  EXPECT_FALSE(v2.fma);
  EXPECT_EQ(v3.vector_bytes, 32);
  EXPECT_EQ(v3.vector_registers, 16);
  EXPECT_TRUE(v3.fma && v3.f16c && !v3.avx512_vnni);
  EXPECT_EQ(v3.llvm_cpu, "x86-64-v3");
  EXPECT_EQ(v4.vector_bytes, 64);
  EXPECT_EQ(v4.vector_registers, 32);
  EXPECT_FALSE(v4.avx512_bf16);
  EXPECT_TRUE(v4.has("avx512vl") && v4.has("sse4.2") && !v4.has("avx512vnni") && !v4.has("avx5") && !v4.has(""));
  EXPECT_EQ(parsed("cpu:armv8-a").vector_registers, 32);
  for (const char* text : {"eval", "cpu:x86-64-v2", "cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:armv8-a", "cuda:sm_90a", "cuda:sm_80"})
    EXPECT_EQ(parsed(text).to_string(), text);
}

TEST(Target, ExtraFeatures) {
  Target t = parsed("cpu:x86-64-v4+avx512bf16+avx2+avx512vnni+avx512bf16");
  EXPECT_EQ(t.to_string(), "cpu:x86-64-v4+avx512vnni+avx512bf16");  // sorted, once, without what the level has
  EXPECT_TRUE(t.avx512_vnni && t.avx512_bf16);
  EXPECT_EQ(parsed(t.to_string()).key(), t.key());
  EXPECT_NE(t.key(), parsed("cpu:x86-64-v4").key());
}

TEST(Target, HostResolvesAndParsesBack) {
  Result<Target> host = parse_target("cpu");
  if (!host.ok()) GTEST_SKIP() << host.error().to_string();
  EXPECT_TRUE(runs_here(*host));
  EXPECT_NE(host->isa, "host");
  EXPECT_GT(host->l1_bytes, 0);
  Target back = parsed(host->to_string());
  EXPECT_TRUE(runs_here(back));
  back.l1_bytes = host->l1_bytes;
  back.l2_bytes = host->l2_bytes;
  back.l3_bytes = host->l3_bytes;
  EXPECT_EQ(back.key(), host->key());
  EXPECT_EQ(parsed("cpu:host").key(), host->key());
#if defined(__x86_64__)
  EXPECT_TRUE(runs_here(parsed("cpu:x86-64-v2")));
  EXPECT_EQ(runs_here(parsed("cpu:x86-64-v3")), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"));
  EXPECT_EQ(runs_here(parsed("cpu:x86-64-v2+avx512f")), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_FALSE(runs_here(parsed("cpu:armv8-a")));
#endif
  EXPECT_TRUE(runs_here(parsed("eval")));
  EXPECT_FALSE(runs_here(parsed("cuda:sm_90a")));
}

TEST(Target, Gpus) {
  Target h100 = parsed("cuda:sm_90a"), h200 = parsed("cuda:h200"), a100 = parsed("cuda:sm_80"), b200 = parsed("cuda:sm_100a");
  EXPECT_TRUE(h100.gpu.has(Gpu::wgmma) && h100.gpu.has(Gpu::fp8_mma) && !h100.gpu.has(Gpu::tcgen05) && !h100.gpu.ptx);
  EXPECT_EQ(h100.gpu.device, "h100");
  EXPECT_EQ(h100.gpu.multiprocessors, 132);
  EXPECT_EQ(h100.gpu.shared_per_block, 227 << 10);
  EXPECT_EQ(h200.to_string(), "cuda:sm_90a+h200");
  EXPECT_GT(h200.gpu.memory_rate, h100.gpu.memory_rate);
  EXPECT_EQ(parsed(h200.to_string()).key(), h200.key());
  EXPECT_NE(h200.key(), h100.key());
  EXPECT_EQ(parsed("cuda:sm_90a+h100").to_string(), "cuda:sm_90a");
  EXPECT_TRUE(a100.gpu.has(Gpu::bf16_mma) && a100.gpu.has(Gpu::cp_async) && !a100.gpu.has(Gpu::wgmma) && !a100.gpu.has(Gpu::fp8_mma));
  EXPECT_TRUE(b200.gpu.has(Gpu::tcgen05) && !b200.gpu.has(Gpu::wgmma));
  EXPECT_TRUE(parsed("cuda:compute_80").gpu.ptx);
  EXPECT_EQ(parsed("cuda:sm_80+h200").gpu.multiprocessors, 132);  // older code runs on newer devices
}

TEST(Target, UnknownTextsListTheKnown) {
  for (const char* text : {"", "gpu", "cpu:", "cpu:x86-64", "cpu:x86-64-v", "cpu:x86-64-v1", "cpu:x86-64-v5",
           "cpu:x86-64-v33", "cpu:x86-64-v3-", "cpu:x86-64-v3+", "cpu:x86-64-v3+nope", "cuda", "cuda:", "cuda:sm_1",
           "cuda:sm_90b", "cuda:sm_90a+", "cuda:sm_90a+a100", "cuda:sm_90a+x", "CPU"}) {
    Result<Target> t = parse_target(text);
    ASSERT_FALSE(t.ok()) << text;
    EXPECT_EQ(t.error().code, Code::kUsage) << text;
    EXPECT_NE(t.error().hint.find("known"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace weft::target_test
