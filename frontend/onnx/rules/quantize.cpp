// Integer products: exact in i32 where the result is an integer, through dequantize and quantize where it is scaled.
#include "ir/ops/quantize.h"

#include <algorithm>

#include "frontend/onnx/rules/rules.h"
#include "ir/ops/conv.h"
#include "ir/ops/pointwise.h"

namespace weft {

namespace {

// v - zero_point as i32; a zero point of one dim goes along `axis`.
Value* centred(Node& n, Value* v, Value* zero_point, int axis) {
  Value* x = n.cast(v, DType::i32);
  if (!zero_point) return x;
  return n.sub(x, n.cast(along(n, zero_point, std::max(axis, 0), n.rank(v)), DType::i32));
}

Value* integer_product(Node& n, Value* a, Value* b, Value* a_zero, Value* b_zero) {
  return matmul(n, centred(n, a, a_zero, n.rank(a) - 2), centred(n, b, b_zero, n.rank(b) - 1));
}

}  // namespace

Value* dequantized(Node& n, Value* v, Value* scale, Value* zero_point, int axis) {
  if (n.rank(scale) > 1) return n.mul(n.cast(centred(n, v, zero_point, axis), n.dtype(scale)), scale);
  DequantizeAttrs a;
  a.axis = std::max(axis, 0);
  return n.op(OpKind::dequantize_linear, {v, scale, zero_point}, a);
}

Value* quantized(Node& n, Value* v, Value* scale, Value* zero_point, int axis, DType t) {
  if (n.rank(scale) > 1) n.fail(unsupported("a result scale of more than one dim in " + n.type()));
  QuantizeAttrs a;
  a.axis = std::max(axis, 0);
  a.has_output_dtype = !zero_point;
  if (!zero_point) a.output_dtype = t;
  return n.op(OpKind::quantize_linear, {v, scale, zero_point}, a);
}

Values rule_matmul_integer(Node& n) { return n.done({integer_product(n, n.need(0), n.need(1), n.in(2), n.in(3))}); }

Values rule_conv_integer(Node& n) {
  Value *x = n.need(0), *w = n.need(1);
  ConvAttrs a = attrs_of<ConvAttrs>(n, OpKind::conv);
  return n.done({n.op(OpKind::conv, {centred(n, x, n.in(2), 1), centred(n, w, n.in(3), 0)}, a)});
}

Values rule_qlinear_matmul(Node& n) {
  Value *a = n.need(0), *b = n.need(3);
  int row = n.rank(a) - 2;
  Value* y = matmul(n, dequantized(n, a, n.need(1), n.need(2), row), dequantized(n, b, n.need(4), n.need(5), n.rank(b) - 1));
  return n.done({quantized(n, y, n.need(6), n.need(7), row, DType::u8)});
}

// ONNX Runtime's own may have channels last: of x and y, and w as ever.
Values rule_qlinear_conv(Node& n) {
  const bool last = n.domain() == "com.microsoft" && n.int_attr("channels_last", 0) != 0;
  Value *x_scale = n.need(1), *w_scale = n.need(4), *bias = n.in(8), *x = with_channels_first(n, n.need(0), last);
  ConvAttrs a = attrs_of<ConvAttrs>(n, OpKind::conv);
  std::vector<Value*> operands{dequantized(n, x, x_scale, n.need(2), 1), dequantized(n, n.need(3), w_scale, n.need(5), 0)};
  if (bias) operands.push_back(dequantized(n, bias, n.mul(x_scale, w_scale), nullptr, 0));
  return n.done({with_channels_last(n, quantized(n, n.op(OpKind::conv, operands, a), n.need(6), n.need(7), 1, DType::u8), last)});
}

// The bias counts in units of alpha * a_scale * b_scale. Without y_scale the result stays a float.
Values rule_qgemm(Node& n) {
  Value *a = n.need(0), *b = n.need(3), *a_scale = n.need(1), *b_scale = n.need(4), *c = n.in(6);
  Matmul m;
  m.trans_a = n.int_attr("transA", 0) != 0;
  m.trans_b = n.int_attr("transB", 0) != 0;
  m.alpha = n.float_attr("alpha", 1);
  if (n.rank(a) != 2 || n.rank(b) != 2) return n.failed() ? n.done(nullptr) : invalid("QGemm takes matrices");
  if (c) {
    Value* unit = n.mul(a_scale, b_scale);
    if (m.alpha != 1) unit = n.mul(unit, n.scalar(n.dtype(unit), m.alpha));
    m.bias = dequantized(n, c, unit, nullptr, n.rank(c) - 1);
  }
  Value* y = matmul(n, dequantized(n, a, a_scale, n.in(2), 0), dequantized(n, b, b_scale, n.in(5), m.trans_b ? 0 : 1), m);
  return n.done(n.in(7) ? quantized(n, y, n.in(7), n.in(8), 0, n.dtype(a)) : y);
}

Value* scaled_product(Node& n, const Quantized& a, const Quantized& b, Value* bias) {
  Value* y = n.mul(n.cast(integer_product(n, a.v, b.v, a.zero, b.zero), n.dtype(b.scale)), n.mul(a.scale, b.scale));
  return bias ? n.add(y, bias) : y;
}

Values rule_dynamic_quantize_matmul(Node& n) {
  Op* a = n.create(OpKind::dynamic_quantize_linear, {n.need(0)}, nullptr, 3);
  if (!a) return n.done(nullptr);
  return n.done(scaled_product(n, {a->result(0), a->result(1), a->result(2)}, {n.need(1), n.need(2), n.in(3)}, n.in(4)));
}

Values rule_matmul_integer_to_float(Node& n) {
  Value *a = n.need(0), *a_scale = along(n, n.need(2), n.rank(a) - 2, n.rank(a));
  return n.done(scaled_product(n, {a, a_scale, n.in(4)}, {n.need(1), n.need(3), n.in(5)}, n.in(6)));
}

Values rule_microsoft_same(Node& n) { return n.as(kind_of(n)); }

}  // namespace weft
