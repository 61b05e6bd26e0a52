// top_k, unique, non_max_suppression: types here, algorithms in kernels/host.
#include <algorithm>

#include "ir/ops/common.h"
#include "ir/ops/move.h"
#include "ir/ops/sort.h"
#include "kernels/host/nms.h"
#include "kernels/host/sort.h"

namespace weft {

// --- top_k ------------------------------------------------------------------------------------------------------

static Status infer_top_k(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  const Type &x = type_of(op, 0), &k = type_of(op, 1);
  if (!is_float(x.dtype) && !is_int(x.dtype)) return invalid(std::string("top_k does not take ") + dtype_name(x.dtype));
  if (!k.is_tensor() || !is_int(k.dtype)) return invalid("top_k's k must be an integer, is " + k.to_string());
  TRY_ASSIGN(int axis, normalize_axis(op.attr<TopKAttrs>().axis, x.rank()));
  Shape shape = x.shape;
  const std::vector<Dim>* known = known_of(op.operands[1]);
  if (known && known->size() != 1) return invalid("top_k's k must be one integer");
  Dim count = known ? (*known)[0] : cx.fresh("k");
  const Dim& n = shape[axis];
  TRY(cx.at_most(0, count, "top_k's elements"));
  TRY(cx.at_most(count, n, "top_k's elements and those there are"));
  shape[axis] = count;
  set_type(op, 0, Type::tensor(x.dtype, shape));
  set_type(op, 1, Type::tensor(DType::i64, shape));
  return {};
}

static Result<std::vector<HostValue>> eval_top_k(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const TopKAttrs& a = call.attr<TopKAttrs>();
  TRY_ASSIGN(int axis, normalize_axis(a.axis, x.rank()));
  std::vector<int64_t> k = load_all<int64_t>(call.tensor(1)), dims = x.dims;
  if (k.size() != 1 || k[0] < 0 || k[0] > dims[axis])
    return invalid("top_k of " + (k.empty() ? "no number of" : std::to_string(k[0])) + " elements along a dim of " + std::to_string(dims[axis]));
  dims[axis] = k[0];
  TRY_ASSIGN(Tensor values, Tensor::make(x.dtype, dims));
  TRY_ASSIGN(Tensor indices, Tensor::make(DType::i64, dims));
  host_top_k(view_of(x), axis, a.largest, view_of(values), view_of(indices));
  return std::vector<HostValue>{std::move(values), std::move(indices)};
}

// All dims; along the axis each rank finds its own first, and the best of all are found among those.
static Result<ShardingRule> shard_top_k(const Op& op) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<TopKAttrs>().axis, type_of(op, 0).rank()));
  ShardingRule rule = shard_alike(op, {axis}, 1);
  const Dim &n = type_of(op, 0).shape[axis], &k = op.result()->type.shape[axis];
  if (n.is_const() && k.is_const()) rule.share(op, {{0, axis}}, ShardingRule::Role::joined, numel(op.result()->type.shape) * Dim(4));
  return rule;
}
static Result<std::vector<Value*>> localize_top_k(LocalOp& op) {
  const FactorPart& part = op.parts.back();
  if (part.role != ShardingRule::Role::joined || part.count == 1) return op.build();
  const TopKAttrs& a = op.whole.attr<TopKAttrs>();
  TRY_ASSIGN(int axis, normalize_axis(a.axis, type_of(op.whole, 0).rank()));
  Builder& b = op.b;
  const Dim rows = op.operands[0]->type.shape[axis];
  auto best = [&](Value* v, const Dim& k) -> Result<std::vector<Value*>> {
    TRY_ASSIGN(Op * top, b.create(OpKind::top_k, {v, b.ints({k.value()})}, a.clone(), 2));
    return std::vector<Value*>{top->result(0), top->result(1)};
  };
  const Dim k = op.whole.result()->type.shape[axis];
  TRY_ASSIGN(std::vector<Value*> own, best(op.operands[0], min(k, rows)));
  Value* index = b.op(OpKind::add, {own[1], op.number(part.first, DType::i64)});
  TRY_ASSIGN(std::vector<Value*> all, best(op.all_gather(own[0], part.axes, axis), k));
  GatherAttrs pick;
  pick.axis = axis;
  return std::vector<Value*>{all[0], b.op(OpKind::gather_elements, {op.all_gather(index, part.axes, axis), all[1]}, pick)};
}
OpDef def_top_k() {
  return {.onnx = "TopK", .family = Family::sort, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<TopKAttrs>,
          .infer = infer_top_k, .eval = eval_top_k, .shard = shard_top_k, .localize = localize_top_k};
}

// --- unique -----------------------------------------------------------------------------------------------------

static Status infer_unique(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  if (is_complex(x.dtype)) return invalid("unique does not take complex numbers, which have no order");
  const UniqueAttrs& a = op.attr<UniqueAttrs>();
  Dim found = cx.fresh();
  Shape shape{found};
  Dim from = numel(x.shape);
  if (a.has_axis) {
    TRY_ASSIGN(int axis, normalize_axis(a.axis, x.rank()));
    shape = x.shape;
    shape[axis] = found;
    from = x.shape[axis];
  }
  set_type(op, 0, Type::tensor(x.dtype, shape));
  set_type(op, 1, Type::tensor(DType::i64, {found}));
  set_type(op, 2, Type::tensor(DType::i64, {from}));
  set_type(op, 3, Type::tensor(DType::i64, {found}));
  return {};
}

static Result<Tensor> int_vector(const std::vector<int64_t>& v) { return store_all(DType::i64, {static_cast<int64_t>(v.size())}, v); }

static Result<std::vector<HostValue>> eval_unique(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  const UniqueAttrs& a = call.attr<UniqueAttrs>();
  std::optional<int> axis;
  if (a.has_axis) {
    TRY_ASSIGN(axis, normalize_axis(a.axis, x.rank()));
  }
  UniqueResult u = host_unique(view_of(x), axis, a.sorted);
  std::vector<int64_t> dims{static_cast<int64_t>(u.first.size())};
  if (axis) {
    dims = x.dims;
    dims[*axis] = static_cast<int64_t>(u.first.size());
  }
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, dims));
  host_take(view_of(x), axis, u.first, view_of(y));
  TRY_ASSIGN(Tensor first, int_vector(u.first));
  TRY_ASSIGN(Tensor inverse, int_vector(u.inverse));
  TRY_ASSIGN(Tensor counts, int_vector(u.counts));
  return std::vector<HostValue>{std::move(y), std::move(first), std::move(inverse), std::move(counts)};
}

OpDef def_unique() {
  return {.onnx = "Unique", .family = Family::sort, .traits = kHostOnly | kDataDependent, .min_operands = 1, .max_operands = 1,
          .attrs = make_attrs<UniqueAttrs>, .infer = infer_unique, .eval = eval_unique};
}

// --- non_max_suppression ----------------------------------------------------------------------------------------

static Status infer_nms(Op& op, InferContext& cx) {
  for (int i : {0, 1}) {
    TRY(need_tensor(op, i));
    const Type& t = type_of(op, i);
    if (t.dtype != DType::f32 || t.rank() != 3)
      return invalid(
          "boxes and scores must be f32 tensors of 3 dims, operand " + std::to_string(i) + " is " + t.to_string());
  }
  const Shape &boxes = type_of(op, 0).shape, &scores = type_of(op, 1).shape;
  TRY(cx.equal(boxes[0], scores[0], "batches of boxes and scores"));
  TRY(cx.equal(boxes[1], scores[2], "numbers of boxes and scores"));
  TRY(cx.equal(boxes[2], 4, "a box's coordinates and what they should be"));
  for (int i = 2; i < op.num_operands(); ++i) {
    if (!has_operand(op, i)) continue;
    const Type& t = type_of(op, i);
    if (!t.is_tensor() || t.dtype != (i == 2 ? DType::i64 : DType::f32)) return invalid("operand " + std::to_string(i) + " is " + t.to_string());
  }
  set_type(op, 0, Type::tensor(DType::i64, {cx.fresh(), 3}));
  return {};
}

static Result<std::vector<HostValue>> eval_nms(EvalCall& call) {
  const Tensor &boxes = call.tensor(0), &scores = call.tensor(1);
  if (boxes.dims[0] != scores.dims[0] || boxes.dims[1] != scores.dims[2] || boxes.dims[2] != 4)
    return invalid("non_max_suppression: boxes and scores do not fit");
  NmsOptions options;
  options.center_point_box = call.attr<NmsAttrs>().center_point_box;
  for (int i = 2; i < 5; ++i)
    if (call.has(i) && call.tensor(i).numel() != 1) return invalid("operand " + std::to_string(i) + " must be a scalar");
  if (call.has(2)) options.max_boxes_per_class = load_all<int64_t>(call.tensor(2))[0];
  if (call.has(3)) options.iou_threshold = static_cast<float>(load_all<double>(call.tensor(3))[0]);
  if (call.has(4)) options.score_threshold = static_cast<float>(load_all<double>(call.tensor(4))[0]);
  std::vector<int64_t> v = host_nms(view_of(boxes), view_of(scores), options);
  return one(store_all(DType::i64, {static_cast<int64_t>(v.size()) / 3, 3}, v));
}

OpDef def_non_max_suppression() {
  return {.onnx = "NonMaxSuppression", .family = Family::sort, .traits = kHostOnly | kDataDependent, .min_operands = 2, .max_operands = 5,
          .attrs = make_attrs<NmsAttrs>, .infer = infer_nms, .eval = eval_nms};
}

}  // namespace weft
