#include "passes/raise/product.h"

#include <cmath>

namespace weft {

static void take_apart(Value* v, bool top, const Value* stop, bool shared, Product& out) {
  if (auto x = uniform_value(v)) {
    out.number *= *x;
    return;
  }
  Op* op = v->def;
  if (v == stop || !op || out.ops.size() > 16 || (!top && !shared && !has_one_use(v))) {
    out.factors.push_back(v);
    return;
  }
  auto divisor = op->kind == OpKind::div ? uniform_value(op->operands[1]) : std::nullopt;
  auto exponent = op->kind == OpKind::pow ? uniform_value(op->operands[1]) : std::nullopt;
  int times = exponent && (*exponent == 2 || *exponent == 3) ? static_cast<int>(*exponent) : 1;
  if (op->kind != OpKind::mul && !(divisor && *divisor != 0) && times == 1) {
    out.factors.push_back(v);
    return;
  }
  out.ops.push_back(op);
  if (divisor) out.number /= *divisor;
  for (int i = 0; i < times; ++i) take_apart(op->operands[0], false, stop, shared, out);
  if (op->kind == OpKind::mul) take_apart(op->operands[1], false, stop, shared, out);
}

Product product_of(Value* v, const Value* stop, bool shared) {
  Product p;
  take_apart(v, true, stop, shared, p);
  return p;
}
bool is_about(double a, double b, DType t) { return std::fabs(a - b) <= (t == DType::f64 ? 1e-15 : 2e-3) * std::fabs(b); }

}  // namespace weft
