// Softmax and normalisations: old opsets, and ONNX Runtime's forms with residuals and embeddings.
#include "frontend/onnx/rules/rules.h"
#include "ir/ops/move.h"
#include "ir/ops/norm.h"

namespace weft {

// Below opset 13 the dims from `axis` on were one.
Values rule_softmax(Node& n) {
  OpKind kind = kind_of(n);
  if (n.version >= 13) return n.as(kind);
  Value* x = n.need(0);
  int rank = n.rank(x), axis = n.axis(n.int_attr("axis", 1), rank);
  if (axis == rank - 1) return n.done({n.op(kind, {x}, SoftmaxAttrs())});
  FlattenAttrs flat;
  flat.axis = axis;
  Value* y = n.op(kind, {n.op(OpKind::flatten, {x}, flat)}, SoftmaxAttrs());
  return n.done({n.reshape_to(y, n.shape_of(x))});
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

// Words, positions and segments; the mask's results are the number of tokens of each sequence.
Values rule_embed_layer_normalization(Node& n) {
  Value *ids = n.need(0), *segments = n.in(1), *words = n.need(2), *positions = n.need(3), *position_ids = n.in(8);
  LayerNormAttrs norm;
  norm.epsilon = n.float_attr("epsilon", 1e-12);
  bool numbered = n.int_attr("mask_index_type", 1) != 0;
  Value* zero = n.int_scalar(0);
  Value* at = position_ids;
  if (!at) at = n.op(OpKind::range, {zero, n.squeeze(n.dim_of(ids, 1), {0}), n.int_scalar(1)});
  Value* sum = n.add(n.gather(words, ids, 0), n.gather(positions, at, 0));
  if (segments && n.in(4)) sum = n.add(sum, n.gather(n.in(4), segments, 0));
  Value* y = n.op(OpKind::layer_normalization, {sum, n.need(5), n.need(6)}, norm);
  Value* lengths = nullptr;
  if (n.wants(1) && n.in(7) && numbered) lengths = n.reduce_sum(n.in(7), {1}, false);
  else if (n.wants(1)) lengths = n.expand(n.scalar(DType::i32, 0), n.dim_of(ids, 0));
  return n.done({y, lengths, sum});
}

}  // namespace weft
