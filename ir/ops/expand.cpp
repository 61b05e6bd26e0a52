// Repeated elements: expand and tile.
#include <algorithm>

#include "ir/ops/move.h"
#include "ir/ops/sharding.h"

namespace weft {

static Status infer_expand(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  TRY(need_int_vector(op, 1));
  const Type& x = type_of(op, 0);
  if (const std::vector<Dim>* to = known_of(op.operands[1])) {
    for (const Dim& d : *to)
      if (d.is_const() && d.value() < 0) return invalid("expand to the negative dim " + d.to_string());
    TRY_ASSIGN(Shape shape, broadcast_shapes({&x.shape, to}, cx, "expand's shapes"));
    set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
    know_moved(op, {0});
    return {};
  }
  auto length = vector_length(op.operands[1]);
  if (!length) {
    set_type(op, 0, Type::unranked(x.dtype));
    return {};
  }
  int rank = static_cast<int>(std::max<int64_t>(std::min<int64_t>(*length, 64), x.rank())), lead = rank - x.rank();
  Shape shape;
  for (int d = 0; d < rank; ++d) {
    bool stays = d >= lead && x.shape[d - lead].is_const() && !x.shape[d - lead].is(1);
    shape.push_back(stays ? x.shape[d - lead] : data_dim(op, 0, d, cx));
  }
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  return {};
}
static Result<std::vector<HostValue>> eval_expand(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  std::vector<int64_t> to = load_all<int64_t>(call.tensor(1));
  for (int64_t d : to)
    if (d < 0) return invalid("expand to the negative dim " + std::to_string(d));
  TRY_ASSIGN(std::vector<int64_t> dims, broadcast_dims({&x.dims, &to}));
  if (dims == x.dims) return one(x);
  std::vector<int64_t> strides = broadcast_strides(x.dims, dims);
  return one(read_window(x, {0, std::move(strides)}, std::move(dims)));
}
static Result<ShardingRule> shard_expand(const Op& op) {
  ShardingRule rule(op);
  const Shape &from = type_of(op, 0).shape, &to = op.result()->type.shape;
  int lead = static_cast<int>(to.size() - from.size());
  for (int d = 0; d < static_cast<int>(to.size()); ++d) {
    bool stays = d >= lead && from[d - lead] == to[d];
    if (stays) rule.share(op, {{0, d - lead}, {ShardingRule::kResult, d}});
    else if (d < lead || from[d - lead].is(1)) rule.share(op, {{ShardingRule::kResult, d}});
  }
  return rule;
}
OpDef def_expand() {
  return {.onnx = "Expand", .family = Family::move, .min_operands = 2, .max_operands = 2, .infer = infer_expand, .eval = eval_expand,
          .shard = shard_expand, .localize = localize_to_shape};
}

static Status infer_tile(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  TRY(need_int_vector(op, 1));
  const Type& x = type_of(op, 0);
  const std::vector<Dim>* repeats = known_of(op.operands[1]);
  if (!repeats) {
    set_unknown_dims(op, 0, x.dtype, x.rank(), cx);
    return {};
  }
  if (static_cast<int>(repeats->size()) != x.rank()) return invalid("tile repeats " + std::to_string(repeats->size()) + " dims of " + x.to_string());
  Shape shape;
  for (int d = 0; d < x.rank(); ++d) {
    const Dim& k = (*repeats)[d];
    if (k.is_const() && k.value() < 0) return invalid("tile repeats a dim " + k.to_string() + " times");
    shape.push_back(x.shape[d] * k);
  }
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  know_moved(op, {0});
  return {};
}
static Result<std::vector<HostValue>> eval_tile(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  std::vector<int64_t> repeats = load_all<int64_t>(call.tensor(1)), dims, split;
  if (static_cast<int>(repeats.size()) != x.rank())
    return invalid(
        "tile repeats " + std::to_string(repeats.size()) + " dims of a tensor of rank " + std::to_string(x.rank()));
  // As a window of two dims for each: the repeats and the elements.
  Window from;
  std::vector<int64_t> strides = dense_strides(x.dims);
  for (int d = 0; d < x.rank(); ++d) {
    if (repeats[d] < 0) return invalid("tile repeats a dim " + std::to_string(repeats[d]) + " times");
    split.insert(split.end(), {repeats[d], x.dims[d]});
    from.strides.insert(from.strides.end(), {0, strides[d]});
    dims.push_back(0);
    if (__builtin_mul_overflow(repeats[d], x.dims[d], &dims.back())) return resources("a tiled dim overflows");
  }
  TRY_ASSIGN(Tensor out, read_window(x, from, std::move(split)));
  return one(with_dims(out, std::move(dims)));
}
// Each dim: the repeats, and what is repeated.
static Result<ShardingRule> shard_tile(const Op& op) {
  const std::vector<Dim>* repeats = known_of(op.operands[1]);
  ShardingRule rule(op);
  for (int d = 0; repeats && d < type_of(op, 0).rank(); ++d) {
    int k = rule.add((*repeats)[d], ShardingRule::Role::parallel, true), n = rule.add(type_of(op, 0).shape[d]);
    rule.operands[0][d] = {n};
    rule.results[0][d] = {k, n};
  }
  return rule;
}
static Result<std::vector<Value*>> localize_tile(LocalOp& op) {
  std::vector<Dim> repeats = *known_of(op.whole.operands[1]);
  for (size_t d = 0; d < repeats.size(); ++d) repeats[d] = floordiv(repeats[d], op.parts[2 * d].count);
  op.operands[1] = op.dims(repeats);
  return op.build();
}
OpDef def_tile() {
  return {.onnx = "Tile", .family = Family::move, .min_operands = 2, .max_operands = 2, .infer = infer_tile, .eval = eval_tile,
          .shard = shard_tile, .localize = localize_tile};
}

}  // namespace weft
