// Quantised layers as ONNX: QuantizeLinear and DequantizeLinear around the float operator (opset 21).
#pragma once

#include "frontend/quantize/formats.h"

namespace weft::quantize {

// What one layer becomes.
struct QuantizedLayer {
  Format format;
  Codes codes;
  std::optional<ActivationScale> activation;  // where the format has one
  std::vector<float> bias;                    // in place of the model's; empty: as it is
};

class Writer {
 public:
  explicit Writer(EditableModel& model) : model_(model) {}
  void write(const Layer& l, const QuantizedLayer& q);

 private:
  std::string activation(const Layer& l, const QuantizedLayer& q);
  void weight(const Layer& l, const QuantizedLayer& q);
  void bias(const Layer& l, const QuantizedLayer& q);

  EditableModel& model_;
  std::map<std::string, std::string> activations_;  // by tensor, type and scale: what stands for it
};

}  // namespace weft::quantize
