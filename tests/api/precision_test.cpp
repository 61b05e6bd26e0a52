// CompileOptions::precision: how far results may be off, what overflows and is kept at f32.
#include <gtest/gtest.h>

#include <cmath>

#include "weft/compile.h"

namespace weft {
namespace {

// y = relu(x w) v, with a first product of thousands times `scale`.
std::string model(const char* scale) {
  return std::string(R"(weft.module 1 "two"
const @w : f32[64,32] = splat()") + scale + R"()
const @v : f32[32,16] = splat(0.01)
graph @main(%x: f32[4,64]) -> (y = %y) {
  %w = constant @w : f32[64,32]
  %v = constant @v : f32[32,16]
  %p = contract(%x, %w) {spec="mk,kn->mn"} : f32[4,32] loc("MatMul_0")
  %r = relu(%p) : f32[4,32] loc("Relu_1")
  %y = contract(%r, %v) {spec="mk,kn->mn"} : f32[4,16] loc("MatMul_2")
}
)";
}

struct Outcome {
  std::vector<float> y;
  std::string error;
  std::vector<std::string> nodes;
};

Outcome run(const std::string& text, const std::string& precision, std::vector<std::string> keep = {}, bool check = true) {
  api::CompileOptions o;
  o.target = "cpu";
  o.precision = precision;
  o.keep_f32 = std::move(keep);
  auto exe = api::compile(std::as_bytes(std::span(text)), o);
  EXPECT_TRUE(exe.ok()) << (exe.ok() ? "" : exe.error().to_string());
  std::vector<float> x(4 * 64);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7 + 1);
  Outcome found;
  api::RunOptions r;
  r.check_numerics = check;
  r.faulty_nodes = &found.nodes;
  auto out = exe->context().run({{"x", api::Tensor::view(x.data(), {4, 64})}}, {}, r);
  if (!out.ok()) return found.error = out.error().message, found;
  const api::Tensor& y = (*out)["y"];
  found.y.assign(y.data_as<const float>(), y.data_as<const float>() + y.numel());
  return found;
}

TEST(Precision, ResultsAreNear) {
  const std::vector<float> want = run(model("0.37"), "").y;
  ASSERT_EQ(run(model("0.37"), "f32").y, want);
  for (auto [precision, unit] : {std::pair("f16", 1.0 / 2048), std::pair("tf32", 1.0 / 2048), std::pair("bf16", 1.0 / 256)}) {
    const std::vector<float> got = run(model("0.37"), precision).y;
    ASSERT_EQ(got.size(), want.size());
    bool other = false;
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], 4 * unit * std::abs(want[i])) << precision;
      other = other || got[i] != want[i];
    }
    EXPECT_TRUE(other) << precision << " was not computed in";
  }
}

TEST(Precision, WhatOverflowsIsNamedAndKept) {
  const std::string large = model("5000.0");  // products beyond 65,504
  const std::vector<float> want = run(large, "").y;
  const Outcome broken = run(large, "f16");
  EXPECT_NE(broken.error.find("makes an infinity of numbers"), std::string::npos) << broken.error;
  ASSERT_FALSE(broken.nodes.empty());
  EXPECT_EQ(broken.nodes[0], "MatMul_0");
  // The second product's operand overflows, too.
  const Outcome kept = run(large, "f16", {"MatMul_0", "MatMul_2"});
  EXPECT_EQ(kept.error, "");
  EXPECT_EQ(kept.y, want);
  EXPECT_EQ(run(large, "bf16").error, "") << "has f32's range";
}

TEST(Precision, UnknownOnes) {
  const std::string text = model("1.0");
  EXPECT_EQ(api::compile(std::as_bytes(std::span(text)), {.target = "cpu", .precision = "f12"}).error().code, Code::kUsage);
}

}  // namespace
}  // namespace weft
