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

Value* dequantized(Node& n, Value* v, Value* scale, Value* zero_point, int axis) {
  if (n.rank(scale) > 1) return n.mul(n.cast(centred(n, v, zero_point, axis), n.dtype(scale)), scale);
  DequantizeAttrs a;
  a.axis = std::max(axis, 0);
  return n.op(OpKind::dequantize_linear, {v, scale, zero_point}, a);
}

Value* quantized(Node& n, Value* v, Value* scale, Value* zero_point, int axis) {
  if (n.rank(scale) > 1) n.fail(unsupported("a result scale of more than one dim in " + n.type()));
  QuantizeAttrs a;
  a.axis = std::max(axis, 0);
  return n.op(OpKind::quantize_linear, {v, scale, zero_point}, a);
}

}  // namespace

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
  return n.done({quantized(n, y, n.need(6), n.need(7), row)});
}

Values rule_qlinear_conv(Node& n) {
  Value *x_scale = n.need(1), *w_scale = n.need(4), *bias = n.in(8);
  ConvAttrs a = attrs_of<ConvAttrs>(n, OpKind::conv);
  std::vector<Value*> operands{dequantized(n, n.need(0), x_scale, n.need(2), 1), dequantized(n, n.need(3), w_scale, n.need(5), 0)};
  if (bias) operands.push_back(dequantized(n, bias, n.mul(x_scale, w_scale), nullptr, 0));
  return n.done({quantized(n, n.op(OpKind::conv, operands, a), n.need(6), n.need(7), 1)});
}

static Value* scaled(Node& n, Value* product, Value* a_scale, Value* b_scale, Value* bias) {
  Value* y = n.mul(n.cast(product, n.dtype(b_scale)), n.mul(a_scale, b_scale));
  return bias ? n.add(y, bias) : y;
}

Values rule_dynamic_quantize_matmul(Node& n) {
  Op* a = n.create(OpKind::dynamic_quantize_linear, {n.need(0)}, nullptr, 3);
  if (!a) return n.done(nullptr);
  return n.done({scaled(n, integer_product(n, a->result(0), n.need(1), a->result(2), n.in(3)), a->result(1), n.need(2), n.in(4))});
}

Values rule_matmul_integer_to_float(Node& n) {
  Value *a = n.need(0), *a_scale = along(n, n.need(2), n.rank(a) - 2, n.rank(a));
  return n.done({scaled(n, integer_product(n, a, n.need(1), n.in(4), n.in(5)), a_scale, n.need(3), n.in(6))});
}

// Bytes of `bits`-wide numbers, the first in the low bits, as one number per element along the last dim.
static Value* unpacked(Node& n, Value* bytes, int bits) {
  DType t = bits == 4 ? DType::u4 : DType::u2;
  if (bits == 8 || n.rank(bytes) < 1 || n.failed()) return bytes;
  std::vector<Value*> parts;
  BitShiftAttrs right;
  right.direction = "RIGHT";
  for (int at = 0; at < 8; at += bits) {
    Value* part = at ? n.op(OpKind::bit_shift, {bytes, n.scalar(DType::u8, at)}, right) : bytes;
    part = n.op(OpKind::bitwise_and, {part, n.scalar(DType::u8, (1 << bits) - 1)});
    parts.push_back(n.unsqueeze(part, {n.rank(bytes)}));
  }
  std::vector<int64_t> dims(n.rank(bytes), 0);
  dims.back() = -1;
  return n.cast(n.reshape(n.concat(parts, n.rank(bytes)), dims), t);
}

// B[N, ceil(K / block_size), block_size * bits / 8] in bytes, scales[N, ceil(K / block_size)].
Values rule_matmul_nbits(Node& n) {
  int64_t k = n.need_int("K"), rows = n.need_int("N"), bits = n.int_attr("bits", 4), block = n.need_int("block_size");
  n.ignore("accuracy_level");
  if (n.int_attr("weight_prepacked", 0) != 0) return unsupported("MatMulNBits whose weights ONNX Runtime has packed for one device");
  if (bits != 2 && bits != 4 && bits != 8) return unsupported("MatMulNBits with " + std::to_string(bits) + " bits");
  if (n.in(4)) return unsupported("g_idx of MatMulNBits");
  if (k <= 0 || rows <= 0 || block <= 0 || k > INT64_MAX - block) return invalid("MatMulNBits with dims of no elements");
  int64_t blocks = (k + block - 1) / block;
  Value* scales = n.reshape(n.need(2), {rows, blocks});
  Value* w = n.reshape(unpacked(n, n.need(1), static_cast<int>(bits)), {rows, -1});
  Value* zero = n.in(3);
  DequantizeAttrs a;
  a.axis = 1;
  a.block_size = block;
  if (zero && n.dtype(zero) != DType::u8) {
    Value* parts = n.sub(n.cast(n.reshape(w, {rows, blocks, block}), n.dtype(scales)), n.unsqueeze(n.reshape(zero, {rows, blocks}), {2}));
    w = n.reshape(n.mul(parts, n.unsqueeze(scales, {2})), {rows, -1});
  } else {
    if (zero) zero = n.slice(unpacked(n, n.reshape(zero, {rows, -1}), static_cast<int>(bits)), 1, 0, blocks);
    else zero = n.expand(n.scalar(n.dtype(w), static_cast<double>(int64_t{1} << (bits - 1))), n.ints({rows, blocks}));
    w = n.op(OpKind::dequantize_linear, {w, scales, zero}, a);
  }
  if (k != blocks * block) w = n.slice(w, 1, 0, k);
  Matmul m;
  m.trans_b = true;
  m.bias = n.in(5);
  return n.done({matmul(n, n.need(0), w, m)});
}

Values rule_microsoft_same(Node& n) { return n.as(kind_of(n)); }

}  // namespace weft
