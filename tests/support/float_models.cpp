#include "tests/support/float_models.h"

#include <cmath>
#include <fstream>

#include "tests/support/onnx_writer.h"

namespace weft::quantize_test {

using namespace weft::onnx_test;

std::vector<float> random_floats(size_t count, uint64_t seed, float scale) {
  std::vector<float> out(count);
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (float& v : out) {
    float sum = 0;  // of twelve uniform numbers
    for (int i = 0; i < 12; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<float>(state >> 40) * 0x1p-24f;
    }
    v = (sum - 6) * scale;
  }
  return out;
}

namespace {

std::string write(const std::string& folder, const std::string& name, const GraphParts& parts, int opset_version) {
  const std::string path = folder + "/" + name + ".onnx";
  std::ofstream(path, std::ios::binary) << model(graph(parts), {}, opset_version < 21 ? 7 : 10, {opset("", opset_version)}).bytes;
  return path;
}

Message ints_attr(const std::string& name, const std::vector<int64_t>& v) {
  Message m = Message().text(1, name);
  for (int64_t i : v) m.num(8, i);
  return m.num(20, 7);
}

}  // namespace

std::string write_dense_model(const std::string& folder, int opset_version) {
  GraphParts g;
  g.inputs = {value_info("x", kFloat, {"n", "16"})};
  g.outputs = {value_info("y", kFloat, {"n", "8"})};
  g.initializers = {floats("w1", {16, 64}, random_floats(16 * 64, 1, 0.25f)), floats("b1", {64}, random_floats(64, 2, 0.1f)),
                    floats("w2", {8, 64}, random_floats(8 * 64, 3, 0.2f)), floats("b2", {8}, random_floats(8, 4, 0.1f))};
  g.nodes = {node("MatMul", {"x", "w1"}, {"a"}, {}, "", "first"), node("Add", {"a", "b1"}, {"b"}, {}, "", "add"), node("Relu", {"b"}, {"c"}, {}, "", "relu"),
             node("Gemm", {"c", "w2", "b2"}, {"y"}, {int_attr("transB", 1)}, "", "second")};
  return write(folder, "mlp", g, opset_version);
}

std::string write_conv_model(const std::string& folder) {
  GraphParts g;
  g.inputs = {value_info("x", kFloat, {"n", "3", "8", "8"})};
  g.outputs = {value_info("y", kFloat, {"n", "6"})};
  std::vector<float> w1 = random_floats(16 * 27, 1, 0.2f), b1 = random_floats(16, 2, 0.2f);
  std::vector<float> w2 = random_floats(16 * 9, 3, 0.3f), w3 = random_floats(12 * 16, 4, 0.3f);
  // Channels of very different sizes, as trained depthwise convolutions have them.
  for (int c = 0; c < 16; ++c) {
    const float s = std::exp2(static_cast<float>(c % 5) - 2);
    for (int k = 0; k < 27; ++k) w1[c * 27 + k] *= s;
    b1[c] *= s;
    for (int k = 0; k < 9; ++k) w2[c * 9 + k] /= s;
  }
  g.initializers = {floats("w1", {16, 3, 3, 3}, w1), floats("b1", {16}, b1), floats("w2", {16, 1, 3, 3}, w2), floats("w3", {12, 16, 1, 1}, w3),
                    floats("w4", {12, 6}, random_floats(72, 5, 0.3f)), floats("b4", {6}, random_floats(6, 6, 0.1f))};
  g.nodes = {node("Conv", {"x", "w1", "b1"}, {"a"}, {ints_attr("pads", {1, 1, 1, 1})}, "", "first"), node("Relu", {"a"}, {"b"}),
             node("Conv", {"b", "w2"}, {"c"}, {int_attr("group", 16), ints_attr("strides", {2, 2}), ints_attr("pads", {1, 1, 1, 1})}, "", "depthwise"),
             node("Relu", {"c"}, {"d"}), node("Conv", {"d", "w3"}, {"e"}, {}, "", "pointwise"), node("GlobalAveragePool", {"e"}, {"f"}),
             node("Flatten", {"f"}, {"g"}), node("Gemm", {"g", "w4", "b4"}, {"y"}, {}, "", "last")};
  return write(folder, "cnn", g, 21);
}

api::CalibrationData random_data(int64_t count, std::vector<int64_t> dims, uint64_t seed) {
  api::CalibrationData data;
  data.count = count;
  data.sample = [dims, seed](int64_t i) -> Result<api::NamedTensors> {
    size_t n = 1;
    for (int64_t d : dims) n *= static_cast<size_t>(d);
    Result<api::Tensor> t = api::Tensor::of(random_floats(n, seed * 1000 + static_cast<uint64_t>(i)), dims);
    if (!t.ok()) return t.error();
    return api::NamedTensors{{"x", *t}};
  };
  return data;
}

}  // namespace weft::quantize_test
