// Arithmetic on two operands.
#include "ir/ops/common.h"

namespace weft {

template <Prim prim>
static void binary(const Op& op, ScalarProgram& p) {
  out(p, in(op, p, 0).bin(prim, in(op, p, 1)));
}
OpDef def_add() { return pointwise("Add", 2, binary<Prim::add>, kCommutative); }
OpDef def_sub() { return pointwise("Sub", 2, binary<Prim::sub>); }
OpDef def_mul() { return pointwise("Mul", 2, binary<Prim::mul>, kCommutative); }
OpDef def_div() { return pointwise("Div", 2, binary<Prim::div>); }

}  // namespace weft
