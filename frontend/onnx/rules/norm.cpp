// Softmax and normalisations: old opsets, and ONNX Runtime's forms with residuals and embeddings.
#include "frontend/onnx/rules/rules.h"
#include "ir/ops/move.h"
#include "ir/ops/norm.h"

namespace weft {

Value* softmax(Node& n, OpKind kind, Value* x, int64_t axis, bool flat) {
  const int rank = n.rank(x);
  SoftmaxAttrs a;
  a.axis = n.axis(axis, rank);
  if (!flat || a.axis == rank - 1) return n.op(kind, {x}, a);
  FlattenAttrs rows;
  rows.axis = a.axis;
  return n.reshape_to(n.op(kind, {n.op(OpKind::flatten, {x}, rows)}, SoftmaxAttrs()), n.shape_of(x));
}

// Below opset 13 the dims from `axis` on were one.
Values rule_softmax(Node& n) {
  OpKind kind = kind_of(n);
  return n.version >= 13 ? n.as(kind) : n.done(softmax(n, kind, n.need(0), n.int_attr("axis", 1), true));
}

// Opset 1 to 8, spatial 0: statistics for each element of a sample.
static Values elementwise_norm(Node& n, double epsilon) {
  Value *x = n.need(0), *var = n.need(4);
  Value* deviation = n.op(OpKind::sqrt, {n.add(var, n.scalar(n.dtype(var), epsilon))});
  return n.done({n.add(n.mul(n.div(n.sub(x, n.need(3)), deviation), n.need(1)), n.need(2))});
}

// Below opset 14 more than one result meant training; below 7 is_test did, whose default exporters left in place.
Values rule_batch_normalization(Node& n) {
  if (n.version >= 14) return n.as(OpKind::batch_normalization);
  n.ignore("consumed_inputs");
  n.ignore("is_test");
  if (n.num_outputs() > 1) return unsupported("BatchNormalization-" + std::to_string(n.version) + " for training");
  BatchNormAttrs a = attrs_of<BatchNormAttrs>(n, OpKind::batch_normalization);
  if (n.int_attr("spatial", 1) == 0) return elementwise_norm(n, a.epsilon);
  return n.done({n.op(OpKind::batch_normalization, n.inputs, a)});
}

// Opset 18 had one scale and bias for each group.
Values rule_group_normalization(Node& n) {
  if (n.version >= 21) return n.as(OpKind::group_normalization);
  GroupNormAttrs a = attrs_of<GroupNormAttrs>(n, OpKind::group_normalization);
  Value* x = n.need(0);
  Value* groups = n.ints({a.num_groups});
  Value* dims = n.concat({groups, n.div(n.dim_of(x, 1), groups)}, 0);
  auto per_channel = [&](Value* v) { return n.reshape(n.expand(n.unsqueeze(v, {1}), dims), {-1}); };
  return n.done({n.op(OpKind::group_normalization, {x, per_channel(n.need(1)), per_channel(n.need(2))}, a)});
}

// ONNX Runtime's RMS normalisation, which it keeps in ONNX's own domain.
Values rule_simplified_layer_normalization(Node& n) {
  if (n.num_outputs() > 1) return unsupported("the saved statistics of SimplifiedLayerNormalization");
  return n.as(OpKind::rms_normalization);
}

Values rule_skip_layer_normalization(Node& n) {
  SkipLayerNormAttrs a = attrs_of<SkipLayerNormAttrs>(n, OpKind::skip_layer_normalization);
  a.simplified = n.type() != "SkipLayerNormalization";
  std::vector<Value*> operands{n.need(0), n.need(1), n.need(2)};
  if (a.simplified) operands.push_back(nullptr);
  for (int i = 3; i < n.num_inputs(); ++i) operands.push_back(n.in(i));
  if (!operands.back()) operands.pop_back();
  return n.as(OpKind::skip_layer_normalization, operands, a.clone());
}

namespace {

// Words, positions and segments; the mask's results are the number of tokens of each sequence.
struct Embedding {
  Value *ids, *segments, *position_ids;
  Quantized words, positions, kinds;  // tables; without scales they are floats; kinds of segments may be absent
  Value *scale, *bias, *mask;
  bool counts_mask;
};

Value* looked_up(Node& n, const Quantized& table, Value* at) {
  Value* rows = n.gather(table.v, at, 0);
  return table.scale ? dequantized(n, rows, table.scale, table.zero, 0) : rows;
}

Values embedded(Node& n, const Embedding& e) {
  LayerNormAttrs norm;
  norm.epsilon = n.float_attr("epsilon", 1e-12);
  Value* at = e.position_ids ? e.position_ids : counted(n, n.dim_of(e.ids, 1));
  Value* sum = n.add(looked_up(n, e.words, e.ids), looked_up(n, e.positions, at));
  if (e.segments && e.kinds.v) sum = n.add(sum, looked_up(n, e.kinds, e.segments));
  Value* y = n.op(OpKind::layer_normalization, {sum, e.scale, e.bias}, norm);
  Value* lengths = nullptr;
  if (n.wants(1) && e.mask && e.counts_mask) lengths = n.reduce_sum(e.mask, {1}, false);
  else if (n.wants(1)) lengths = n.expand(n.scalar(DType::i32, 0), n.dim_of(e.ids, 0));
  return n.done({y, lengths, sum});
}

}  // namespace

Values rule_embed_layer_normalization(Node& n) {
  const bool counts = n.int_attr("mask_index_type", 1) != 0;
  return embedded(n, {n.need(0), n.in(1), n.in(8), {n.need(2)}, {n.need(3)}, {n.in(4)}, n.need(5), n.need(6), n.in(7), counts});
}

Values rule_qembed_layer_normalization(Node& n) {
  Value *scale = dequantized(n, n.need(5), n.need(11), n.need(16), 0), *bias = dequantized(n, n.need(6), n.need(12), n.need(17), 0);
  return embedded(n, {n.need(0), n.in(1), nullptr, {n.need(2), n.need(8), n.need(13)}, {n.need(3), n.need(9), n.need(14)},
                      {n.in(4), n.in(10), n.in(15)}, scale, bias, n.in(7), true});
}

}  // namespace weft
