// Activations: elementwise bodies over one operand.
#include "ir/ops/common.h"

namespace weft {

OpDef def_relu() {
  return pointwise("Relu", 1, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, max(x, x.lit(0)));
  }, kIdempotent);
}

struct LeakyReluAttrs : AttrsOf<LeakyReluAttrs> {
  double alpha = 0.01;
  void fields(FieldVisitor& v) { v.field("alpha", alpha); }
};
OpDef def_leaky_relu() {
  OpDef d = pointwise("LeakyRelu", 1, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0);
    out(p, select(lt(x, x.lit(0)), x * op.attr<LeakyReluAttrs>().alpha, x));
  });
  d.attrs = make_attrs<LeakyReluAttrs>;
  return d;
}

}  // namespace weft
