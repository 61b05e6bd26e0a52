// Movement of old opsets, where shapes, axes, starts and pads were attributes; constants in their many forms.
#include "frontend/onnx/rules/rules.h"
#include "ir/ops/move.h"

namespace weft {

Values rule_constant(Node& n) {
  ConstantPool& pool = n.build.module().constants;
  for (const char* name : {"value", "sparse_value"})
    if (n.has(name)) return n.done({n.constant(n.constant_attr(name))});
  if (n.has("value_int")) return n.done({n.int_scalar(n.need_int("value_int"))});
  if (n.has("value_ints")) return n.done({n.ints(n.ints_attr("value_ints"))});
  if (n.has("value_float")) return n.done({n.scalar(DType::f32, n.float_attr("value_float", 0))});
  if (n.has("value_floats")) return n.done({float_vector(n, n.floats_attr("value_floats"))});
  if (n.has("value_string")) return n.done({n.constant(pool.add_strings("", {}, {n.text_attr("value_string", "")}))});
  if (!n.has("value_strings")) return invalid("Constant has no value");
  std::vector<std::string> texts = n.texts_attr("value_strings");
  int64_t count = static_cast<int64_t>(texts.size());
  return n.done({n.constant(pool.add_strings("", {count}, std::move(texts)))});
}

Values rule_reshape(Node& n) {
  if (n.version >= 5) return n.as(OpKind::reshape);
  n.ignore("consumed_inputs");
  return n.as(OpKind::reshape, {n.need(0), n.ints(n.ints_attr("shape"))});
}

Values rule_squeeze(Node& n) {
  if (n.version >= 13) return n.as(OpKind::squeeze);
  if (!n.has("axes")) return n.as(OpKind::squeeze, {n.need(0)});
  return n.as(OpKind::squeeze, {n.need(0), n.ints(n.ints_attr("axes"))});
}

Values rule_unsqueeze(Node& n) {
  if (n.version >= 13) return n.as(OpKind::unsqueeze);
  return n.as(OpKind::unsqueeze, {n.need(0), n.ints(n.ints_attr("axes"))});
}

Values rule_slice(Node& n) {
  if (n.version >= 10) return n.as(OpKind::slice);
  std::vector<Value*> operands{n.need(0), n.ints(n.ints_attr("starts")), n.ints(n.ints_attr("ends"))};
  if (n.has("axes")) operands.push_back(n.ints(n.ints_attr("axes")));
  return n.as(OpKind::slice, operands);
}

Values rule_split(Node& n) {
  if (n.version >= 13 || n.num_inputs() > 1 || !n.has("split")) return n.as(OpKind::split);
  return n.as(OpKind::split, {n.need(0), n.ints(n.ints_attr("split"))});
}

Values rule_pad(Node& n) {
  if (n.version >= 11) return n.as(OpKind::pad);
  Value* x = n.need(0);
  Value* pads = n.ints(n.ints_attr(n.version < 2 ? "paddings" : "pads"));
  return n.as(OpKind::pad, {x, pads, n.scalar(n.dtype(x), n.float_attr("value", 0))});
}

// Opset 1 repeated along one axis.
Values rule_tile(Node& n) {
  if (n.version >= 6) return n.as(OpKind::tile);
  Value* x = n.need(0);
  int rank = n.rank(x);
  std::vector<int64_t> at = n.const_ints_of(n.need(2), "Tile's axis");
  std::vector<Value*> repeats(rank, n.ints({1}));
  if (at.size() == 1 && rank > 0) repeats[n.axis(at[0], rank)] = int_vector(n, n.need(1));
  else n.fail(invalid("Tile's axis must be one number"));
  return n.as(OpKind::tile, {x, n.concat(repeats, 0)});
}

Values rule_concat(Node& n) {
  if (n.version >= 4) return n.as(OpKind::concat);
  ConcatAttrs a;
  a.axis = n.int_attr("axis", 1);
  return n.done({n.op(OpKind::concat, n.inputs, a)});
}

Values rule_scatter(Node& n) { return n.as(OpKind::scatter_elements); }

}  // namespace weft
