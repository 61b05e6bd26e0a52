// Quantised layers as ONNX: QuantizeLinear and DequantizeLinear around the float operator (opset 21), or MatMulNBits.
#pragma once

#include <optional>

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
  // matmul_nbits: products with weights of 4 bits alone as MatMulNBits of com.microsoft, where their blocks allow it.
  Writer(EditableModel& model, bool matmul_nbits) : model_(model), matmul_nbits_(matmul_nbits) {}
  void write(const Layer& l, const QuantizedLayer& q);

 private:
  std::string activation(const Layer& l, const QuantizedLayer& q);
  void weight(const Layer& l, const QuantizedLayer& q);
  void bias(const Layer& l, const QuantizedLayer& q);
  bool can_be_packed(const Layer& l, const QuantizedLayer& q) const;
  void packed_product(const Layer& l, const Codes& c);

  EditableModel& model_;
  const bool matmul_nbits_;
  std::map<std::string, std::string> activations_;  // by tensor, type and scale: what stands for it
};

}  // namespace weft::quantize
