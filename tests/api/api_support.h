// Small models for the tests of the public API, as texts. The tests see the public headers, and what makes Modules.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "ir/text/parser.h"
#include "weft/weft.h"

namespace weft::api_test {

using api::NamedTensors;
using Tensor = api::Tensor;
using Executable = api::Executable;
using Context = api::Context;

// y = relu(x * w + b), sum = row sums of y; the batch is open.
inline constexpr const char* kLayer = R"(weft.module 1 "layer"
metadata "author" = "tests"
const @w : f32[3,2] = [1.0, 0.0, 0.0, 1.0, 1.0, -1.0]
const @b : f32[2] = [0.5, -0.5]
graph @main(%x: f32[batch,3]) -> (y = %y, sum = %sum) {
  %w = constant @w : f32[3,2]
  %b = constant @b : f32[2]
  %p = contract(%x, %w) {spec="mk,kn->mn"} : f32[batch,2] loc("MatMul_0")
  %q = add(%p, %b) : f32[batch,2] loc("Add_1")
  %y = relu(%q) : f32[batch,2] loc("Relu_2")
  %axes = constant @axes : i64[1]
  %sum = reduce_sum(%y, %axes) : f32[batch,1] loc("Sum_3")
}
)";

inline std::string layer_text() {
  std::string text = kLayer;
  return text.insert(text.find("graph"), "const @axes : i64[1] = [1]\n");
}

// y = a - b of fixed shapes.
inline constexpr const char* kDifference = R"(weft.module 1 "difference"
graph @main(%a: f32[2,3], %b: f32[2,3]) -> (y = %y) {
  %y = sub(%a, %b) : f32[2,3] loc("Sub_0")
}
)";

inline std::span<const std::byte> bytes_of(const std::string& s) { return std::as_bytes(std::span(s)); }

// The executable of a text, or a failed test and an abort.
inline Executable compiled(const std::string& text, const CompileOptions& options = {}) {
  Result<Executable> exe = compile(bytes_of(text), options);
  EXPECT_TRUE(exe.ok()) << exe.error().to_string();
  return *exe;
}

inline std::vector<float> floats(const Tensor& t) {
  Result<Tensor> dense = t.copy();
  if (!dense.ok() || dense->dtype() != DType::f32) return {};
  const float* p = dense->data_as<const float>();
  return {p, p + dense->numel()};
}

inline std::string read_file(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), {}};
}

#define EXPECT_ERROR(expr, expected)                                                       \
  do {                                                                                     \
    auto&& r_ = (expr);                                                                    \
    ASSERT_FALSE(r_.ok()) << "no Error from " #expr;                                       \
    EXPECT_EQ(r_.error().code, Code::expected) << r_.error().to_string();                  \
    EXPECT_FALSE(r_.error().message.empty());                                              \
  } while (0)

}  // namespace weft::api_test
