// The model with its layers as they would be quantised, compiled once for all assignments: weights are inputs, and so are scale, zero
// point and codes' range of each layer's activation, and whether it is rounded at all. What it computes is what the quantised model means,
// but for biases, which stay float.
#pragma once

#include "frontend/quantize/runner.h"
#include "frontend/quantize/write.h"

namespace weft::quantize {

class Simulator {
 public:
  // f8: whether a layer may have activations of float8.
  static Result<Simulator> create(const EditableModel& model, const std::vector<Layer>& layers, bool f8, const api::CompileOptions& options);
  // What the layer is from the next run on; null: float.
  Status set(size_t layer, const QuantizedLayer* q);
  Result<api::NamedTensors> run(const api::NamedTensors& inputs);

 private:
  struct Knobs {
    Layer layer;
    api::Tensor float_weight, weight, scale, zero, low, high, is_int, is_f8, float_bias, bias;
    std::string name;
    const QuantizedLayer* now = nullptr;
  };
  explicit Simulator(Runner runner) : runner_(std::move(runner)) {}
  Runner runner_;
  std::vector<Knobs> knobs_;
  bool f8_ = false;
};

}  // namespace weft::quantize
