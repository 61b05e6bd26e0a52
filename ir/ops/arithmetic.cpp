// Arithmetic on two or more operands.
#include "ir/ops/pointwise.h"
#include "ir/ops/scalar_math.h"

namespace weft {

OpDef def_add() { return pointwise("Add", 2, binary_body<Prim::add>, kCommutative); }
OpDef def_sub() { return pointwise("Sub", 2, binary_body<Prim::sub>); }
OpDef def_mul() { return pointwise("Mul", 2, binary_body<Prim::mul>, kCommutative); }
OpDef def_div() { return pointwise("Div", 2, binary_body<Prim::div>); }

// Variadic ops fold from the left.
template <Prim prim>
static S fold(const Op& op, ScalarProgram& p) {
  S x = in(op, p, 0);
  for (int i = 1; i < op.num_operands(); ++i) x = x.bin(prim, in(op, p, i));
  return x;
}
static OpDef variadic(const char* onnx, void (*scalar)(const Op&, ScalarProgram&)) {
  OpDef d = pointwise(onnx, 1, scalar, kCommutative);
  d.max_operands = -1;
  d.verify = [](const Op& op) -> Status {
    for (const Value* v : op.operands)
      if (!v || !v->type.is_tensor() || v->type.dtype == DType::str) return invalid(std::string(op_name(op.kind)) + " takes tensors of numbers");
    return {};
  };
  d.infer = [](Op& op, InferContext& cx) -> Status {
    TRY(op_def(op).verify(op));
    return infer_pointwise(op, cx);
  };
  return d;
}
OpDef def_max() {
  return variadic("Max", [](const Op& op, ScalarProgram& p) { out(p, fold<Prim::max>(op, p)); });
}
OpDef def_min() {
  return variadic("Min", [](const Op& op, ScalarProgram& p) { out(p, fold<Prim::min>(op, p)); });
}
OpDef def_sum() {
  return variadic("Sum", [](const Op& op, ScalarProgram& p) { out(p, fold<Prim::add>(op, p)); });
}
OpDef def_mean() {
  return variadic("Mean", [](const Op& op, ScalarProgram& p) { out(p, fold<Prim::add>(op, p) / static_cast<double>(op.num_operands())); });
}

static Status infer_mod(Op& op, InferContext& cx) {
  if (is_float(type_of(op, 0).dtype) && !op.attr<ModAttrs>().fmod) return invalid("mod of floats needs fmod = 1");
  return infer_pointwise(op, cx);
}
OpDef def_mod() {
  OpDef d = pointwise("Mod", 2, [](const Op& op, ScalarProgram& p) {
    out(p, in(op, p, 0).bin(op.attr<ModAttrs>().fmod ? Prim::rem : Prim::mod, in(op, p, 1)));
  });
  d.attrs = make_attrs<ModAttrs>;
  d.infer = infer_mod;
  return d;
}

// The result has the base's type. Operands of two types meet in the wider: f64 where an integer base has a real
// exponent, i64 for two integer types (powers wrap, so narrowing afterwards is exact).
OpDef def_pow() {
  return pointwise("Pow", 2, [](const Op& op, ScalarProgram& p) {
    S x = in(op, p, 0), y = in(op, p, 1);
    DType t = x.type();
    if (t != y.type()) {
      bool wide = y.type() == DType::f64 || (is_int(t) && is_float(y.type()));
      DType common = wide ? DType::f64 : is_float(t) ? t : DType::i64;
      x = x.cast(common);
      y = y.cast(common);
    }
    out(p, x.bin(Prim::pow, y).cast(t));
  });
}

}  // namespace weft
