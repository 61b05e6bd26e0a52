// scatter_elements, scatter_nd, tensor_scatter: types here, what they do in kernels/host.

#include "ir/ops/move.h"
#include "ir/ops/sharding.h"

namespace weft {

// --- reductions -----------------------------------------------------------------------------------------------------

static Result<ScatterMode> scatter_mode(const std::string& s, DType t) {
  ScatterMode m;
  if (s == "none") m = ScatterMode::none;
  else if (s == "add") m = ScatterMode::add;
  else if (s == "mul") m = ScatterMode::mul;
  else if (s == "min") m = ScatterMode::min;
  else if (s == "max") m = ScatterMode::max;
  else return invalid("a scatter's reduction must be \"none\", \"add\", \"mul\", \"min\" or \"max\", is " + quote(s));
  bool ordered = m == ScatterMode::min || m == ScatterMode::max;
  if (m != ScatterMode::none && (t == DType::str || (ordered && is_complex(t))))
    return invalid("scatter of " + std::string(dtype_name(t)) + " with reduction " + s);
  return m;
}

static Status check_updates(const Op& op) {
  const Type &x = type_of(op, 0), &indices = type_of(op, 1), &updates = type_of(op, 2);
  if (!x.is_tensor()) return need_tensor(op, 0);
  if (!indices.is_tensor() || !is_int(indices.dtype)) return invalid("indices must be integers, are " + indices.to_string());
  if (!updates.is_tensor() || updates.dtype != x.dtype) return invalid("updates " + updates.to_string() + " of " + x.to_string());
  return {};
}
static Cost scatter_cost(const Op& op) { return moved_bytes(op, 1); }

// --- scatter_elements -----------------------------------------------------------------------------------------------

static Status infer_scatter_elements(Op& op, InferContext& cx) {
  TRY(check_updates(op));
  const Type &x = type_of(op, 0), &indices = type_of(op, 1);
  TRY_ASSIGN(ScatterMode mode, scatter_mode(op.attr<ScatterAttrs>().reduction, x.dtype));
  set_type(op, 0, x);
  if (!x.ranked || !indices.ranked || !type_of(op, 2).ranked) return {};
  if (indices.rank() != x.rank() || type_of(op, 2).rank() != x.rank())
    return invalid("scatter_elements of " + type_of(op, 2).to_string() + " to " + indices.to_string() + " of " + x.to_string());
  TRY_ASSIGN(int axis, normalize_axis(op.attr<ScatterAttrs>().axis, x.rank()));
  for (int d = 0; d < x.rank(); ++d) {
    TRY(cx.equal(type_of(op, 2).shape[d], indices.shape[d], "dims " + std::to_string(d) + " of scatter_elements' updates and indices"));
    if (d != axis) TRY(cx.at_most(indices.shape[d], x.shape[d], "dims " + std::to_string(d) + " of scatter_elements' indices and data"));
  }
  if (mode == ScatterMode::none) know_moved(op, {0, 2});
  return {};
}
static Result<std::vector<HostValue>> eval_scatter_elements(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const ScatterAttrs& a = call.attr<ScatterAttrs>();
  TRY_ASSIGN(ScatterMode mode, scatter_mode(a.reduction, x.dtype));
  TRY_ASSIGN(int axis, normalize_axis(a.axis, x.rank()));
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, x.dims));
  TRY(host_scatter_elements(view_of(x), view_of(call.tensor(1)), view_of(call.tensor(2)), axis, mode, view_of(y)));
  return one(std::move(y));
}
// Dims that data and indices have alike, and those of the data along the axis.
static Result<ShardingRule> shard_scatter_elements(const Op& op) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<ScatterAttrs>().axis, type_of(op, 0).rank()));
  ShardingRule rule(op);
  for (int d = 0; d < type_of(op, 0).rank(); ++d)
    if (d != axis && type_of(op, 0).shape[d] == type_of(op, 1).shape[d]) rule.share(op, {{0, d}, {1, d}, {2, d}, {ShardingRule::kResult, d}});
  rule.share(op, {{0, axis}, {ShardingRule::kResult, axis}});
  return rule;
}
// What belongs to rows of other ranks goes into a row behind a rank's own, which is dropped again.
static Result<std::vector<Value*>> localize_scatter_elements(LocalOp& op) {
  if (op.parts.back().count == 1) return op.build();
  TRY_ASSIGN(int axis, normalize_axis(op.whole.attr<ScatterAttrs>().axis, type_of(op.whole, 0).rank()));
  Builder& b = op.b;
  const Dim rows = op.operands[0]->type.shape[axis];
  op.operands[1] = local_indices(op, op.operands[1], type_of(op.whole, 0).shape[axis], op.parts.back().first, rows, rows).local;
  op.operands[0] = b.op(OpKind::pad, {op.operands[0], b.ints({0, 1}), nullptr, b.ints({axis})});
  TRY_ASSIGN(std::vector<Value*> out, op.build());
  return std::vector<Value*>{b.op(OpKind::slice, {out[0], b.ints({0}), op.dims({rows}), b.ints({axis})})};
}
OpDef def_scatter_elements() {
  return {.onnx = "ScatterElements", .family = Family::move, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<ScatterAttrs>,
          .infer = infer_scatter_elements, .eval = eval_scatter_elements, .cost = scatter_cost, .shard = shard_scatter_elements,
          .localize = localize_scatter_elements};
}

// --- scatter_nd -----------------------------------------------------------------------------------------------------

static Status infer_scatter_nd(Op& op, InferContext& cx) {
  TRY(check_updates(op));
  const Type &x = type_of(op, 0), &indices = type_of(op, 1), &updates = type_of(op, 2);
  TRY_ASSIGN(ScatterMode mode, scatter_mode(op.attr<ScatterNdAttrs>().reduction, x.dtype));
  set_type(op, 0, x);
  if (!x.ranked || !indices.ranked || !updates.ranked) return {};
  bool fits = indices.rank() >= 1;
  if (fits && indices.dim(-1).is_const()) {
    int64_t tuple = indices.dim(-1).value();
    fits = tuple <= x.rank() && updates.rank() == indices.rank() - 1 + x.rank() - tuple;
  }
  if (!fits) return invalid("scatter_nd of " + updates.to_string() + " to " + indices.to_string() + " of " + x.to_string());
  for (int d = 0; d < updates.rank() && indices.dim(-1).is_const(); ++d) {
    int lead = indices.rank() - 1, behind = static_cast<int>(indices.dim(-1).value()) + d - lead;
    const Dim& want = d < lead ? indices.shape[d] : x.shape[behind];
    TRY(cx.equal(updates.shape[d], want, "dims " + std::to_string(d) + " of scatter_nd's updates and what they should be"));
  }
  if (mode == ScatterMode::none) know_moved(op, {0, 2});
  return {};
}
static Result<std::vector<HostValue>> eval_scatter_nd(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(ScatterMode mode, scatter_mode(call.attr<ScatterNdAttrs>().reduction, x.dtype));
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, x.dims));
  TRY(host_scatter_nd(view_of(x), view_of(call.tensor(1)), view_of(call.tensor(2)), mode, view_of(y)));
  return one(std::move(y));
}
// Dims that each place writes whole.
static Result<ShardingRule> shard_scatter_nd(const Op& op) {
  ShardingRule rule(op);
  const int rank = type_of(op, 0).rank(), updates = type_of(op, 2).rank();
  for (int d = rank - (updates - (type_of(op, 1).rank() - 1)); d < rank; ++d)
    rule.share(op, {{0, d}, {2, d - rank + updates}, {ShardingRule::kResult, d}});
  return rule;
}
OpDef def_scatter_nd() {
  return {.onnx = "ScatterND", .family = Family::move, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<ScatterNdAttrs>,
          .infer = infer_scatter_nd, .eval = eval_scatter_nd, .cost = scatter_cost, .shard = shard_scatter_nd};
}

// --- tensor_scatter ---------------------------------------------------------------------------------------------------

static Result<int> cache_axis(const TensorScatterAttrs& a, int rank) {
  TRY_ASSIGN(int axis, normalize_axis(a.axis, rank));
  if (axis == 0) return invalid("tensor_scatter along dim 0, which counts the batch");
  return axis;
}
static Status infer_tensor_scatter(Op& op, InferContext& cx) {
  const TensorScatterAttrs& a = op.attr<TensorScatterAttrs>();
  if (a.mode != "linear" && a.mode != "circular") return invalid("tensor_scatter's mode must be \"linear\" or \"circular\", is " + quote(a.mode));
  if (!type_of(op, 0).is_tensor()) return need_tensor(op, 0);
  const Type &cache = type_of(op, 0), &update = type_of(op, 1);
  if (!update.is_tensor() || update.dtype != cache.dtype) return invalid("update " + update.to_string() + " of " + cache.to_string());
  TRY(need_int_vector(op, 2));
  set_type(op, 0, cache);
  if (!cache.ranked || !update.ranked) return {};
  TRY_ASSIGN(int axis, cache_axis(a, cache.rank()));
  if (update.rank() != cache.rank()) return invalid("update " + update.to_string() + " of " + cache.to_string());
  for (int d = 0; d < cache.rank(); ++d) {
    std::string what = "dims " + std::to_string(d) + " of tensor_scatter's update and cache";
    TRY(d == axis ? cx.at_most(update.shape[d], cache.shape[d], what) : cx.equal(update.shape[d], cache.shape[d], what));
  }
  return {};
}
static Result<std::vector<HostValue>> eval_tensor_scatter(EvalCall& call) {
  const TensorScatterAttrs& a = call.attr<TensorScatterAttrs>();
  const Tensor& cache = call.tensor(0);
  TRY_ASSIGN(int axis, cache_axis(a, cache.rank()));
  TensorView starts;
  if (call.has(2)) starts = view_of(call.tensor(2));
  TRY_ASSIGN(Tensor y, Tensor::make(cache.dtype, cache.dims));
  TRY(host_tensor_scatter(view_of(cache), view_of(call.tensor(1)), call.has(2) ? &starts : nullptr, axis, a.mode == "circular", view_of(y)));
  return one(std::move(y));
}
// All dims but the one that counts steps.
static Result<ShardingRule> shard_tensor_scatter(const Op& op) {
  TRY_ASSIGN(int axis, cache_axis(op.attr<TensorScatterAttrs>(), type_of(op, 0).rank()));
  ShardingRule rule(op);
  for (int d = 0; d < type_of(op, 0).rank(); ++d) {
    std::vector<ShardingRule::Place> places{{0, d}, {1, d}, {ShardingRule::kResult, d}};
    if (d == 0) places.push_back({2, 0});
    if (d != axis) rule.share(op, places);
  }
  return rule;
}
OpDef def_tensor_scatter() {
  return {.onnx = "TensorScatter", .family = Family::move, .min_operands = 2, .max_operands = 3, .attrs = make_attrs<TensorScatterAttrs>,
          .infer = infer_tensor_scatter, .eval = eval_tensor_scatter, .cost = scatter_cost, .shard = shard_tensor_scatter};
}

}  // namespace weft
