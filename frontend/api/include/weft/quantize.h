// quantize(): a float model to a smaller one, by what calibration data shows of it. Part of the public API.
#pragma once

#include "weft/compile.h"

namespace weft::api {

// Runs of the model that show what its tensors hold. Samples are asked for by number, some of them several times.
struct CalibrationData {
  int64_t count = 0;
  std::function<Result<NamedTensors>(int64_t)> sample;
  // The right class of each row of a sample, by rows of the output; empty: not known.
  std::function<Result<std::vector<int64_t>>(int64_t)> labels;
};

struct QuantizeOptions {
  // How the float model and its quantised forms are run: target, threads, shapes, callbacks.
  CompileOptions compile;
  // What layers may become: "int8" (weights and activations), "int8w" (weights alone).
  std::vector<std::string> formats = {"int8"};
  // How an activation's range follows from what was seen: "minmax".
  std::string calibrator = "minmax";
};

struct QuantizedLayer {
  std::string node, op;            // of the ONNX model
  std::string format;              // "float", or what it became
  int64_t float_bytes = 0, bytes = 0;  // of its weights, scales included
};

struct QuantizeReport {
  std::vector<QuantizedLayer> layers;  // in the model's order
  int64_t float_bytes = 0, bytes = 0;  // of the weights of all layers
  std::vector<std::string> notes;      // layers that were left out, and why
};

// Quantises the products of matrices and the convolutions of an ONNX model whose weights are constants, and writes the model
// with QuantizeLinear and DequantizeLinear (opset 21 or the model's own). Deterministic. Errors as of compile() and
// Context::run; kUsage for options that make no sense, kUnsupported for nodes without an equal under opset 21.
Result<QuantizeReport> quantize(const std::string& model, const std::string& output, const CalibrationData& data, const QuantizeOptions& options = {});

}  // namespace weft::api
