// --precision on a GPU: every convolution runs on tensor cores, and what is between them in their kernels.
#include <gtest/gtest.h>

#include "codegen/cuda/gemm_shape.h"
#include "frontend/api/compilation.h"
#include "tests/support/cuda_kernels.h"

namespace weft::cuda_test {

namespace {

// Two bottlenecks of a ResNet, the second one around what it adds.
constexpr const char* kBottlenecks = R"(weft.module 1 "bottlenecks"
const @down : f32[16,32,1,1] = splat(0.03)
const @window : f32[16,16,3,3] = splat(0.02)
const @up : f32[32,16,1,1] = splat(0.05)
const @project : f32[32,32,1,1] = splat(0.04)
graph @main(%x: f32[1,32,28,28]) -> (y = %y) {
  %down = constant @down : f32[16,32,1,1]
  %window = constant @window : f32[16,16,3,3]
  %up = constant @up : f32[32,16,1,1]
  %project = constant @project : f32[32,32,1,1]
  %x1 = max_pool(%x) {kernel_shape=[3,3], pads=[1,1,1,1]}
  %a1 = conv(%x1, %down)
  %a2 = relu(%a1)
  %a3 = conv(%a2, %window) {pads=[1,1,1,1], strides=[2,2]}
  %a4 = relu(%a3)
  %a5 = conv(%a4, %up)
  %a6 = conv(%x1, %project) {strides=[2,2]}
  %a7 = add(%a5, %a6)
  %a8 = relu(%a7)
  %b1 = conv(%a8, %down)
  %b2 = relu(%b1)
  %b3 = conv(%b2, %window) {pads=[1,1,1,1]}
  %b4 = relu(%b3)
  %b5 = conv(%b4, %up)
  %b6 = add(%b5, %a8)
  %y = relu(%b6)
}
)";

class CudaPrecision : public testing::TestWithParam<const char*> {};

TEST_P(CudaPrecision, ConvolutionsRunOnTensorCores) {
  api::CompileOptions o;
  o.target = "cuda:sm_90a";
  o.precision = GetParam();
  const Target target = *parse_target(o.target);
  Compilation compilation(o);
  const std::string text = kBottlenecks;
  const Status loaded = compilation.load_bytes(std::as_bytes(std::span(text)));
  ASSERT_TRUE(loaded.ok()) << loaded.error().to_string();
  ASSERT_TRUE(compilation.apply_shapes().ok() && compilation.optimise().ok());
  const Status lowered = compilation.lower();
  ASSERT_TRUE(lowered.ok()) << lowered.error().to_string();
  const Lowered& l = compilation.lowered();
  int launches = 0, products = 0, on_tensor_cores = 0;
  for (const Command& c : l.plan.main.commands) {
    if (c.kind != CommandKind::launch) continue;
    const KernelSpec& s = l.specs[static_cast<size_t>(c.kernel)];
    ++launches;
    products += find_product(s).has_value();
    if (s.config.name != "gemm") continue;
    const auto shape = gemm_shape(s, target);
    on_tensor_cores += shape && shape->mma;
  }
  EXPECT_EQ(products, 7);
  EXPECT_EQ(on_tensor_cores, 7);
  EXPECT_EQ(launches, 8);  // with the pool's
  if (test::nvrtc_missing().empty()) test::check_cuda_kernels(l.specs, target);
}

INSTANTIATE_TEST_SUITE_P(Types, CudaPrecision, testing::Values("f16", "bf16", "tf32"), [](const auto& info) { return std::string(info.param); });

}  // namespace

}  // namespace weft::cuda_test
