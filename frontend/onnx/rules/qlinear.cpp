// ONNX Runtime's QLinear ops: the float op between dequantize_linear and quantize_linear. A tensor comes as three operands:
// elements of 8 bits, their scale, and their zero point, which may be absent (0).
#include <algorithm>

#include "frontend/onnx/rules/rules.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/pool.h"
#include "ir/ops/reduce.h"

namespace weft {

namespace {

// The tensor whose elements are operand `at`, as floats.
Value* tensor(Node& n, int at) { return dequantized(n, n.need(at), n.need(at + 1), n.in(at + 2), 0); }
// y in the type of operand 0, with scale and zero point in operands `at` and at + 1.
Values result(Node& n, Value* y, int at) { return n.done(quantized(n, y, n.need(at), n.in(at + 1), 0, n.dtype(n.need(0)))); }

}  // namespace

Values rule_qlinear_binary(Node& n) {
  return result(n, n.op(n.type() == "QLinearAdd" ? OpKind::add : OpKind::mul, {tensor(n, 0), tensor(n, 3)}), 6);
}

Values rule_qlinear_sigmoid(Node& n) { return result(n, n.op(OpKind::sigmoid, {tensor(n, 0)}), 3); }

Values rule_qlinear_leaky_relu(Node& n) {
  return result(n, n.op(OpKind::leaky_relu, {tensor(n, 0)}, attrs_of<LeakyReluAttrs>(n, OpKind::leaky_relu)), 3);
}

// `opset` says which of ONNX's two softmaxes it is.
Values rule_qlinear_softmax(Node& n) {
  const bool old = n.need_int("opset") < 13;
  Value* x = tensor(n, 0);
  return result(n, softmax(n, OpKind::softmax, x, n.int_attr("axis", old ? 1 : -1), old), 3);
}

Values rule_qlinear_average_pool(Node& n) {
  const bool last = n.int_attr("channels_last", 0) != 0;
  AveragePoolAttrs a = attrs_of<AveragePoolAttrs>(n, OpKind::average_pool);
  return result(n, with_channels_last(n, n.op(OpKind::average_pool, {with_channels_first(n, tensor(n, 0), last)}, a), last), 3);
}

Values rule_qlinear_global_average_pool(Node& n) {
  const bool last = n.int_attr("channels_last", 0) != 0;
  return result(n, with_channels_last(n, n.op(OpKind::global_average_pool, {with_channels_first(n, tensor(n, 0), last)}), last), 3);
}

Values rule_qlinear_reduce_mean(Node& n) {
  ReduceAttrs a;
  a.keepdims = n.int_attr("keepdims", 1) != 0;
  std::vector<int64_t> axes = n.ints_attr("axes");
  return result(n, n.op(OpKind::reduce_mean, {tensor(n, 0), axes.empty() ? nullptr : n.ints(axes)}, a), 3);
}

// The result's scale and zero point come first.
Values rule_qlinear_concat(Node& n) {
  std::vector<Value*> parts;
  const int64_t axis = n.need_int("axis");
  for (int at = 2; at < n.num_inputs(); at += 3) parts.push_back(tensor(n, at));
  if (parts.empty()) return invalid(n.describe() + " joins no tensors");
  return n.done(quantized(n, n.concat(parts, axis), n.need(0), n.need(1), 0, n.dtype(n.need(1))));
}

Values rule_qlinear_where(Node& n) {
  Value* y = n.op(OpKind::where, {n.need(0), tensor(n, 1), tensor(n, 4)});
  return n.done(quantized(n, y, n.need(7), n.need(8), 0, n.dtype(n.need(8))));
}

// ONNX Runtime's max pool with channels last.
Values rule_nhwc_max_pool(Node& n) {
  MaxPoolAttrs a = attrs_of<MaxPoolAttrs>(n, OpKind::max_pool);
  return n.done(with_channels_last(n, n.op(OpKind::max_pool, {with_channels_first(n, n.need(0), true)}, a), true));
}

}  // namespace weft
