// quantize(): a float model to a smaller one, by what calibration data shows of it. Part of the public API.
#pragma once

#include "weft/compile.h"

namespace weft::api {

// Runs of the model that show what its tensors hold. Samples are asked for by number, each of them several times.
struct CalibrationData {
  int64_t count = 0;
  std::function<Result<NamedTensors>(int64_t)> sample;
  // The right class of each row of a sample's first output; empty: not known.
  std::function<Result<std::vector<int64_t>>(int64_t)> labels;
};

struct QuantizeOptions {
  // How the float model and its quantised forms are run: target, threads, shapes, callbacks.
  CompileOptions compile;
  // What layers may become: "int8", "int8w", "fp8", "int4w", "int4" (see docs/quantization.md); "int4w:64": 64 inputs of a product of
  // matrices share a scale. Without a budget every layer becomes the first of them.
  std::vector<std::string> formats = {"int8"};
  // "i8": activations of int8 formats are symmetric; "u8": they have a zero point; "auto": i8 on a GPU, else u8.
  std::string activations = "auto";
  // How an activation's range follows from what was seen: "minmax", "percentile", "percentile:99.9", "entropy", "mse".
  std::string calibrator = "minmax";
  // "equalize", "smooth", "awq", "gptq", "bias": see docs/quantization.md.
  std::vector<std::string> methods;
  // "top1>=-0.5%", "mse<=1e-3", "kl<=0.01": how far outputs may be from the float model's. Layers stay float, or take a format that
  // costs more, until it holds, on the samples that were searched on and on those that were held out.
  std::string budget;
  // What is to be least: "bytes" of weights, or "time" as the device table says.
  std::string objective = "bytes";
  double held_out = 0.25;     // part of the samples that the search does not see
  // Products of matrices with int4w weights become MatMulNBits of com.microsoft, where a block is a power of two from 16 on.
  bool matmul_nbits = false;
  // File that keeps what was measured, so that a run that was cut off goes on; removed in the end. Empty: none.
  std::string state;
};

// Against the float model's outputs. mse: mean squared difference of all outputs' elements. Of the rows (last dim) of the first output:
// kl, the mean divergence of their softmax in nats (of rows that are distributions, their own), and agreement, the part whose largest element
// is at the same place. With labels: the parts of rows whose largest element is at the label, and how many there are.
struct QuantizeScore {
  double mse = 0, kl = 0, agreement = 1;
  double right = 0, float_right = 0;
  int64_t rows = 0, labels = 0;
};

struct QuantizedLayer {
  struct Option {
    std::string format;            // "float" first
    int64_t bytes = 0;             // of weights, scales included
    double seconds = 0;            // of a run, as the device table says
    QuantizeScore score;           // of the model with this layer alone in the format; without a budget nothing is measured
  };
  std::string node, op;            // of the ONNX model
  std::vector<Option> options;
  int chosen = 0;
};

// One assignment of formats on the way from float to smallest.
struct QuantizePoint {
  int64_t bytes = 0;
  double seconds = 0;
  int float_layers = 0;
  bool measured = false;           // whether score is
  QuantizeScore score;
};

struct QuantizeReport {
  std::vector<QuantizedLayer> layers;        // in the model's order
  std::vector<QuantizePoint> points;         // with a budget
  int64_t float_bytes = 0, bytes = 0;        // of the weights of all layers
  double float_seconds = 0, seconds = 0;     // of a run of all layers, as the device table says
  QuantizeScore score, held_out;             // of the model as it was written; held_out.rows is 0 where there were no samples to hold out
  std::vector<std::string> notes;            // layers that were left out, and why; what else the user may want to know
};

// Quantises the products of matrices and the convolutions of an ONNX model whose weights are constants, and writes the model
// with QuantizeLinear and DequantizeLinear (opset 21 or the model's own). Deterministic. Errors as of compile() and
// Context::run; kUsage for options that make no sense, kUnsupported for nodes without an equal under opset 21.
Result<QuantizeReport> quantize(const std::string& model, const std::string& output, const CalibrationData& data, const QuantizeOptions& options = {});

// The points as a plot of size (objective "bytes") or time against error, in SVG.
std::string plot_points(const QuantizeReport& report, const std::string& objective);

}  // namespace weft::api
