// Recurrent layers and signals.
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

// Below opset 20 the axis was an attribute.
Values rule_dft(Node& n) {
  if (n.version >= 20) return n.as(OpKind::dft);
  return n.as(OpKind::dft, {n.need(0), n.in(1), n.int_scalar(n.int_attr("axis", 1))});
}

// Said here, before anything is compiled, though the op exists: no decoder is part of this build.
Values rule_image_decoder(Node&) { return unsupported("ImageDecoder: this build has no decoder of image files"); }

}  // namespace weft
