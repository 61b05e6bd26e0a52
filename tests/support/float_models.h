// Small float models with random weights, as ONNX files, and random inputs for them, for tests of quantisation.
#pragma once

#include <string>
#include <vector>

#include "weft/quantize.h"

namespace weft::quantize_test {

// The same numbers on every machine, about normally distributed.
std::vector<float> random_floats(size_t count, uint64_t seed, float scale = 1);

// x[n,16] -> MatMul, Add, Relu, Gemm(transB) -> y[n,8]; nodes first, add, relu, second.
std::string write_dense_model(const std::string& folder, int opset = 21);
// x[n,3,8,8] -> Conv 3x3 with bias, Relu, depthwise Conv 3x3, Relu, Conv 1x1, global average, Flatten, Gemm -> y[n,6]; the depthwise
// convolution's channels differ in size.
std::string write_conv_model(const std::string& folder);

// Samples x of these dims.
api::CalibrationData random_data(int64_t count, std::vector<int64_t> dims, uint64_t seed = 1);

}  // namespace weft::quantize_test
