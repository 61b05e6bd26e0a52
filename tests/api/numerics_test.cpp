// RunOptions::check_numerics names the kernel that makes the first NaN or infinity of numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "weft/compile.h"

namespace weft {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// y = softmax(sqrt(x) + mask) w, of which the second output is sqrt(x).
constexpr const char* kModel = R"(weft.module 1 "chain"
const @w : f32[3,2] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
graph @main(%x: f32[2,3], %mask: f32[2,3]) -> (y = %y, r = %r) {
  %w = constant @w : f32[3,2]
  %r = sqrt(%x) : f32[2,3] loc("Sqrt_0")
  %m = add(%r, %mask) : f32[2,3] loc("Add_1")
  %s = softmax(%m) {axis=1} : f32[2,3] loc("Softmax_2")
  %y = contract(%s, %w) {spec="mk,kn->mn"} : f32[2,2] loc("MatMul_3")
}
)";

class Numerics : public testing::Test {
 protected:
  Numerics() : exe(api::compile(std::as_bytes(std::span(std::string_view(kModel))), {.target = "cpu"}).value()), context(exe.context()) {}
  // The error's node and message; empty: none.
  std::string error_of(std::vector<float> x, std::vector<float> mask = std::vector<float>(6, 0.0f), bool check = true) {
    auto out = context.run({{"x", api::Tensor::view(x.data(), {2, 3})}, {"mask", api::Tensor::view(mask.data(), {2, 3})}}, {}, {.check_numerics = check});
    if (out.ok()) return "";
    EXPECT_EQ(out.error().code, Code::kCheckFailed);
    return out.error().node + ": " + out.error().message;
  }
  api::Executable exe;
  api::Context context;
};

TEST_F(Numerics, NumbersAreFine) {
  EXPECT_EQ(error_of({1, 2, 3, 4, 5, 6}), "");
  EXPECT_EQ(error_of({1, 2, 3, 4, 5, 6}, {0, -kInf, 0, 0, 0, -kInf}), "") << "masks";
}

TEST_F(Numerics, TheFirstNaN) {
  const std::string e = error_of({1, 2, 3, 4, -5, 6});
  EXPECT_NE(e.find("Sqrt_0: kernel "), std::string::npos) << e;
  EXPECT_NE(e.find("makes a NaN of numbers"), std::string::npos) << e;
  EXPECT_NE(e.find("element [1,1]"), std::string::npos) << e;
  EXPECT_EQ(error_of({1, 2, 3, 4, -5, 6}, std::vector<float>(6, 0.0f), false), "") << "only when asked";
  // A row of which the mask leaves nothing.
  EXPECT_NE(error_of({1, 2, 3, 4, 5, 6}, {0, 0, 0, -kInf, -kInf, -kInf}).find("makes a NaN"), std::string::npos);
}

TEST_F(Numerics, WhatWasGiven) {
  const std::string e = error_of({1, NAN, 3, 4, 5, 6});
  EXPECT_NE(e.find("has a NaN, and so has x, which no kernel made"), std::string::npos) << e;
  EXPECT_EQ(error_of({1, kInf, 3, 4, 5, 6}).find("infinity"), std::string::npos) << "of an infinite input";
}

TEST(NumericsOverflow, OfHalfs) {
  const char* text = R"(weft.module 1 "half"
graph @main(%x: f16[4]) -> (y = %y) {
  %y = mul(%x, %x) : f16[4] loc("Mul_0")
}
)";
  auto exe = api::compile(std::as_bytes(std::span(std::string_view(text))), {.target = "cpu"});
  ASSERT_TRUE(exe.ok());
  const uint16_t x[4] = {0x3c00, 0x5c00, 0x7800, 0x3c00};  // 1, 256, 32768, 1
  auto out = exe->context().run({{"x", api::Tensor::view(x, DType::f16, {4})}}, {}, {.check_numerics = true});
  ASSERT_FALSE(out.ok());
  EXPECT_NE(out.error().message.find("makes an infinity of numbers"), std::string::npos) << out.error().message;
  EXPECT_NE(out.error().message.find("element [1]"), std::string::npos) << out.error().message;
}

}  // namespace
}  // namespace weft
