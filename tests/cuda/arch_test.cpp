// One kernel of each template and type for the architectures before and after the one that tests otherwise compile for.
#include <gtest/gtest.h>

#include "frontend/api/compilation.h"
#include "ir/base/text.h"
#include "tests/support/cuda_kernels.h"

namespace weft::cuda_test {

namespace {

struct Case {
  const char* name;          // of the template that takes it
  const char* graph;         // T: the type
  std::vector<DType> types;
};

const std::vector<DType> kFloats = {DType::f16, DType::bf16, DType::f32, DType::f64};
const std::vector<DType> kNumbers = {DType::f16, DType::bf16, DType::f32, DType::f64, DType::i8,  DType::u8,
                                     DType::i16, DType::u16,  DType::i32, DType::u32, DType::i64, DType::u64};

const std::vector<DType> kWidths = {DType::b1, DType::f16, DType::f32, DType::f64, DType::c64, DType::c128};

// T is the type of the weights.
#define WEFT_WEIGHTS(t, n) \
  "  %w = constant @w : T[128,256]\n  %s = constant @s." #t " : " #t "[128,4]\n" \
  "  %d = dequantize_linear(%w, %s) {axis=1, block_size=64} : " #t "[128,256]\n" \
  "  %y = contract(%x, %d) {spec=\"mk,nk->mn\"} : " #t "[" n ",128]\n}\n"

const std::vector<DType> kQuantised = {DType::i4, DType::u4, DType::i8, DType::u8, DType::f8e4m3fn, DType::f8e5m2};
const std::vector<DType> kSmall = {DType::i8, DType::u8, DType::f8e4m3fn, DType::f8e5m2};

const Case kCases[] = {
    {"loops", "(%x: T[n,320], %z: T[320]) -> (y = %y) {\n  %y = add(%x, %z) : T[n,320]\n}\n", kNumbers},
    {"loops", "(%x: T[n,320]) -> (y = %y) {\n  %c = constant @first : i64[1]\n  %y = reduce_sum(%x, %c) : T[1,320]\n}\n", kNumbers},
    {"rows", "(%x: T[n,320]) -> (y = %y) {\n  %c = constant @last : i64[1]\n  %y = reduce_max(%x, %c) : T[n,1]\n}\n", kNumbers},
    {"rows", "(%x: T[n,320]) -> (y = %y) {\n  %y = softmax(%x) : T[n,320]\n}\n", kFloats},
    {"transpose", "(%x: T[n,768]) -> (y = %y) {\n  %y = transpose(%x) : T[768,n]\n}\n", kWidths},
    {"gemm", "(%x: T[n,256], %w: T[256,128]) -> (y = %y) {\n  %y = contract(%x, %w) {spec=\"mk,kn->mn\"} : T[n,128]\n}\n", kFloats},
    {"gemm", "(%x: T[n,64,14,14], %w: T[64,64,3,3]) -> (y = %y) {\n  %y = conv(%x, %w) {pads=[1,1,1,1]} : T[n,64,14,14]\n}\n", kFloats},
    {"gemm", "(%x: T[n,256], %w: T[256,128]) -> (y = %y) {\n  %y = contract(%x, %w) {spec=\"mk,kn->mn\", tf32=true} : T[n,128]\n}\n", {DType::f32}},
    {"gemm", "(%x: T[n,64,14,14], %w: T[64,64,3,3]) -> (y = %y) {\n  %y = conv(%x, %w) {pads=[1,1,1,1], tf32=true} : T[n,64,14,14]\n}\n",
     {DType::f32}},
    {"gemm", "(%x: T[n,256], %w: T[128,256]) -> (y = %y) {\n  %y = contract(%x, %w) {spec=\"mk,nk->mn\", has_out_type=true, out_type=f32} : f32[n,128]\n}\n",
     kSmall},
    {"gemm", "(%x: T[n,256], %w: T[256,128]) -> (y = %y) {\n  %y = contract(%x, %w) {spec=\"mk,kn->mn\", has_out_type=true, out_type=f32} : f32[n,128]\n}\n",
     kSmall},
    {"gemm", "(%x: f16[n,256]) -> (y = %y) {\n" WEFT_WEIGHTS(f16, "n"), kQuantised},
    {"gemm", "(%x: bf16[8,256]) -> (y = %y) {\n" WEFT_WEIGHTS(bf16, "8"), kQuantised},
    {"attention", "(%q: T[n,8,m,64], %k: T[n,8,k,64], %v: T[n,8,k,64]) -> (y = %y) {\n  %y = attention(%q, %k, %v) : T[n,8,m,64]\n}\n",
     {DType::f16, DType::bf16, DType::f32}},
};

constexpr const char* kScales = "const @s.f16 : f16[128,4] = splat(0.5)\nconst @s.bf16 : bf16[128,4] = splat(0.5)\n";

std::string module_of(const Case& c, DType t) {
  std::string graph = c.graph;
  for (size_t at; (at = graph.find("T[")) != std::string::npos;) graph.replace(at, 1, dtype_name(t));
  const std::string weights = std::string("const @w : ") + dtype_name(t) + "[128,256] = splat(1)\n";
  return "weft.module 1 \"case\"\nconst @first : i64[1] = [0]\nconst @last : i64[1] = [1]\n" +
         (graph.find("@w") != std::string::npos ? weights + kScales : "") + "graph @main" + graph;
}

class CudaArchitectures : public testing::TestWithParam<const char*> {};

TEST_P(CudaArchitectures, EachTemplateAndType) {
  if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  const Target target = *parse_target(std::string("cuda:") + GetParam());
  for (const Case& c : kCases)
    for (DType t : c.types) {
      const std::string text = module_of(c, t);
      SCOPED_TRACE(text);
      api::CompileOptions o;
      o.target = target.to_string();
      Compilation compilation(o);
      const Status loaded = compilation.load_bytes(std::as_bytes(std::span(text)));
      ASSERT_TRUE(loaded.ok()) << loaded.error().to_string();
      ASSERT_TRUE(compilation.apply_shapes().ok() && compilation.optimise().ok());
      const Status lowered = compilation.lower();
      ASSERT_TRUE(lowered.ok()) << lowered.error().to_string();
      const std::vector<KernelSpec>& specs = compilation.lowered().specs;
      EXPECT_TRUE(std::any_of(specs.begin(), specs.end(), [&](const KernelSpec& s) { return s.config.name == c.name; })) << c.name;
      test::check_cuda_kernels(specs, target);
    }
}

INSTANTIATE_TEST_SUITE_P(Isas, CudaArchitectures, testing::Values("sm_80", "sm_90a", "sm_100a"), [](const auto& info) { return std::string(info.param); });

}  // namespace

}  // namespace weft::cuda_test
