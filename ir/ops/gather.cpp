// gather, gather_elements, gather_nd. Negative indices count from the end; one outside its dim is an error.
#include <algorithm>

#include "ir/ops/indices.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/sharding.h"

namespace weft {

static Status need_indices(const Op& op, int i) {
  const Type& t = type_of(op, i);
  if (t.is_tensor() && is_int(t.dtype)) return {};
  return invalid("indices must be integers, are " + t.to_string());
}
// The table is read in part: as much as is written.
static Cost gather_cost(const Op& op) { return moved_bytes(op, 1); }

// --- gather ---------------------------------------------------------------------------------------------------------

static Status infer_gather(Op& op, InferContext&) {
  TRY(need_indices(op, 1));
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  const Type &x = type_of(op, 0), &indices = type_of(op, 1);
  TRY_ASSIGN(int axis, normalize_axis(op.attr<GatherAttrs>().axis, x.rank()));
  if (!indices.ranked) {
    set_type(op, 0, Type::unranked(x.dtype));
    return {};
  }
  Shape shape(x.shape.begin(), x.shape.begin() + axis);
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), x.shape.begin() + axis + 1, x.shape.end());
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  know_moved(op, {0});
  return {};
}
static Result<std::vector<HostValue>> eval_gather(EvalCall& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1);
  TRY_ASSIGN(int axis, normalize_axis(call.attr<GatherAttrs>().axis, x.rank()));
  std::vector<int64_t> dims(x.dims.begin(), x.dims.begin() + axis);
  int64_t n = x.dims[axis], count = indices.numel(), outer = 1, inner = 1;
  for (int d = 0; d < x.rank(); ++d)
    if (d != axis) (d < axis ? outer : inner) *= x.dims[d];
  dims.insert(dims.end(), indices.dims.begin(), indices.dims.end());
  dims.insert(dims.end(), x.dims.begin() + axis + 1, x.dims.end());
  TRY_ASSIGN(Tensor out, Tensor::make(x.dtype, std::move(dims)));
  std::vector<int64_t> index = load_all<int64_t>(indices);
  for (int64_t i = 0; i < count; ++i) {
    TRY_ASSIGN(int64_t k, wrap_index(index[i], n));
    copy_window(out, {i * inner, {count * inner, 1}}, x, {k * inner, {n * inner, 1}}, {outer, inner});
  }
  return one(std::move(out));
}
// --- sharing out ----------------------------------------------------------------------------------------------------

static Result<ShardingRule> shard_gather(const Op& op) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<GatherAttrs>().axis, type_of(op, 0).rank()));
  ShardingRule rule(op);
  int extra = type_of(op, 1).rank() - 1;
  for (int d = 0; d < type_of(op, 0).rank(); ++d)
    if (d != axis) rule.share(op, {{0, d}, {ShardingRule::kResult, d < axis ? d : d + extra}});
  for (int d = 0; d < type_of(op, 1).rank(); ++d) rule.share(op, {{1, d}, {ShardingRule::kResult, axis + d}});
  // Rows that other ranks hold are zeros here, and the ranks' results are added up.
  if (is_number(type_of(op, 0).dtype)) rule.share(op, {{0, axis}}, ShardingRule::Role::sum);
  return rule;
}
// What was found where the index is one of the rank's own rows, which are followed by `behind` more dims; else zeros.
static Value* only_own(const LocalOp& op, Value* found, Value* mine, int behind) {
  Shape dims = mine->type.shape;
  dims.insert(dims.end(), static_cast<size_t>(behind), Dim(1));
  ReshapeAttrs reshape;
  reshape.allowzero = true;
  if (behind > 0) mine = op.b.op(OpKind::reshape, {mine, op.dims(dims)}, reshape);
  return op.b.op(OpKind::where, {mine, found, op.b.scalar(found->type.dtype, 0)});
}
static Result<std::vector<Value*>> localize_gather(LocalOp& op) {
  if (op.parts.back().role != ShardingRule::Role::sum || op.parts.back().count == 1) return op.build();
  const int rank = type_of(op.whole, 0).rank();
  TRY_ASSIGN(int axis, normalize_axis(op.whole.attr<GatherAttrs>().axis, rank));
  const Dim& rows = op.operands[0]->type.shape[axis];
  LocalIndices at = local_indices(op, op.operands[1], type_of(op.whole, 0).shape[axis], op.parts.back().first, rows);
  op.operands[1] = at.local;
  TRY_ASSIGN(std::vector<Value*> out, op.build());
  return std::vector<Value*>{only_own(op, out[0], at.mine, op.whole.kind == OpKind::gather ? rank - 1 - axis : 0)};
}
OpDef def_gather() {
  return {.onnx = "Gather", .family = Family::move, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<GatherAttrs>, .infer = infer_gather,
          .eval = eval_gather, .cost = gather_cost, .shard = shard_gather, .localize = localize_gather};
}

// --- gather_elements ------------------------------------------------------------------------------------------------

static Status infer_gather_elements(Op& op, InferContext& cx) {
  TRY(need_indices(op, 1));
  const Type& indices = type_of(op, 1);
  if (!type_of(op, 0).is_tensor()) return need_tensor(op, 0);
  Type t = indices;
  t.dtype = type_of(op, 0).dtype;
  t.layout = Layout();
  set_type(op, 0, std::move(t));
  if (!indices.ranked || !type_of(op, 0).ranked) return {};
  if (indices.rank() != type_of(op, 0).rank()) return invalid("gather_elements of " + type_of(op, 0).to_string() + " at " + indices.to_string());
  TRY_ASSIGN(int axis, normalize_axis(op.attr<GatherAttrs>().axis, indices.rank()));
  for (int d = 0; d < indices.rank(); ++d)
    if (d != axis) TRY(cx.at_most(indices.shape[d], type_of(op, 0).shape[d], "dims " + std::to_string(d) + " of gather_elements' indices and data"));
  know_moved(op, {0});
  return {};
}
static Result<std::vector<HostValue>> eval_gather_elements(EvalCall& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1);
  TRY_ASSIGN(std::vector<int64_t> from, element_offsets(x, indices, call.attr<GatherAttrs>().axis));
  TRY_ASSIGN(Tensor out, Tensor::make(x.dtype, indices.dims));
  copy_listed(out, {}, x, from);
  return one(std::move(out));
}
// Dims that data and indices have alike, and along the axis those of the indices and those of the data.
static Result<ShardingRule> shard_gather_elements(const Op& op) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<GatherAttrs>().axis, type_of(op, 0).rank()));
  ShardingRule rule(op);
  for (int d = 0; d < type_of(op, 0).rank(); ++d) {
    if (d == axis) rule.share(op, {{1, d}, {ShardingRule::kResult, d}});
    else if (type_of(op, 0).shape[d] == type_of(op, 1).shape[d]) rule.share(op, {{0, d}, {1, d}, {ShardingRule::kResult, d}});
  }
  if (is_number(type_of(op, 0).dtype)) rule.share(op, {{0, axis}}, ShardingRule::Role::sum);
  return rule;
}
OpDef def_gather_elements() {
  return {.onnx = "GatherElements", .family = Family::move, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<GatherAttrs>,
          .infer = infer_gather_elements, .eval = eval_gather_elements, .cost = gather_cost, .shard = shard_gather_elements,
          .localize = localize_gather};
}

// --- gather_nd ------------------------------------------------------------------------------------------------------

static Status infer_gather_nd(Op& op, InferContext& cx) {
  TRY(need_indices(op, 1));
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  const Type &x = type_of(op, 0), &indices = type_of(op, 1);
  int64_t batch = op.attr<GatherNdAttrs>().batch_dims;
  if (!indices.ranked || (indices.rank() > 0 && !indices.dim(-1).is_const())) {
    set_type(op, 0, Type::unranked(x.dtype));
    return {};
  }
  int64_t tuple = indices.rank() ? indices.dim(-1).value() : 0;
  if (batch < 0 || indices.rank() < 1 || batch >= indices.rank() || batch >= x.rank() || tuple < 1 || tuple > x.rank() - batch)
    return invalid("gather_nd of " + x.to_string() + " at " + indices.to_string() + " with batch_dims " + std::to_string(batch));
  Shape shape(indices.shape.begin(), indices.shape.end() - 1);
  for (int d = 0; d < batch; ++d) {
    TRY(cx.equal(x.shape[d], shape[d], "batch dims of gather_nd's data and indices"));
    if (x.shape[d].is_const()) shape[d] = x.shape[d];
  }
  shape.insert(shape.end(), x.shape.begin() + batch + tuple, x.shape.end());
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  know_moved(op, {0});
  return {};
}
static Result<std::vector<HostValue>> eval_gather_nd(EvalCall& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1);
  TRY_ASSIGN(NdSlices s, nd_slices(x, indices, call.attr<GatherNdAttrs>().batch_dims));
  std::vector<int64_t> dims(indices.dims.begin(), indices.dims.end() - 1);
  dims.insert(dims.end(), x.dims.end() - s.slice_rank, x.dims.end());
  TRY_ASSIGN(Tensor out, Tensor::make(x.dtype, std::move(dims)));
  if (s.size == 1) copy_listed(out, {}, x, s.offsets);
  else for (size_t i = 0; i < s.offsets.size(); ++i) copy_run(out, static_cast<int64_t>(i) * s.size, x, s.offsets[i], s.size);
  return one(std::move(out));
}
// The batch, the places that are read, and the dims that each of them reads whole.
static Result<ShardingRule> shard_gather_nd(const Op& op) {
  const int batch = static_cast<int>(op.attr<GatherNdAttrs>().batch_dims), places = type_of(op, 1).rank() - 1, rank = op.result()->type.rank();
  const int skipped = type_of(op, 0).rank() - rank;
  ShardingRule rule(op);
  for (int d = 0; d < rank; ++d) {
    std::vector<ShardingRule::Place> at{{ShardingRule::kResult, d}};
    if (d < places) at.push_back({1, d});
    if (d < batch || d >= places) at.push_back({0, d < batch ? d : d + skipped});
    rule.share(op, at);
  }
  return rule;
}
OpDef def_gather_nd() {
  return {.onnx = "GatherND", .family = Family::move, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<GatherNdAttrs>,
          .infer = infer_gather_nd, .eval = eval_gather_nd, .cost = gather_cost, .shard = shard_gather_nd};
}

}  // namespace weft
