// Recurrent layers and signals.
#include <algorithm>

#include "frontend/onnx/rules/rules.h"

namespace weft {

// output_sequence said whether the first result is wanted, which its name says too.
Values rule_rnn(Node& n) {
  if (n.version < 7) n.ignore("output_sequence");
  std::vector<Value*> operands = n.inputs;
  for (size_t i : {0, 5, 6})
    if (i < operands.size()) operands[i] = n.with_rank(operands[i], 3);
  return n.as(kind_of(n), operands);
}

// An LSTM whose weights are of 8 bits and lie as [D, I, 4 H] and [D, H, 4 H]. Inputs and states, which ONNX Runtime rounds to
// 8 bits in every step, stay floats: nearer to the model that was quantised.
Values rule_dynamic_quantize_lstm(Node& n) {
  std::vector<Value*> operands(n.inputs.begin(), n.inputs.begin() + std::min(n.num_inputs(), 8));
  for (int i : {1, 2}) {
    Value *scale = n.need(2 * i + 6), *zero = n.need(2 * i + 7);
    if (n.rank(n.need(i)) != 3 || n.rank(scale) > 2) return n.failed() ? n.done(nullptr) : invalid(n.describe() + ": weights have rank 3, their scales 1 or 2");
    if (n.rank(scale) == 2) scale = n.unsqueeze(scale, {1}), zero = n.unsqueeze(zero, {1});
    operands[i] = n.transpose(dequantized(n, operands[i], scale, zero, 0), {0, 2, 1});
  }
  return n.as(OpKind::lstm, operands);
}

// Below opset 20 the axis was an attribute.
Values rule_dft(Node& n) {
  if (n.version >= 20) return n.as(OpKind::dft);
  return n.as(OpKind::dft, {n.need(0), n.in(1), n.int_scalar(n.int_attr("axis", 1))});
}

// Said here, before anything is compiled, though the op exists: no decoder is part of this build.
Values rule_image_decoder(Node&) { return unsupported("ImageDecoder: this build has no decoder of image files"); }

}  // namespace weft
