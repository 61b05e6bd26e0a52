// Node's short ways to build ops. After an error all of them return null and build nothing.
#include "frontend/onnx/importer.h"
#include "ir/ops/move.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/reduce.h"
#include "ir/ops/structure.h"

namespace weft {

Op* Node::create(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs, int results, std::vector<std::unique_ptr<Graph>> graphs) {
  if (failed()) return nullptr;
  auto op = build.create(kind, std::move(operands), std::move(attrs), results, std::move(graphs));
  if (op.ok()) return *op;
  fail(std::move(op.error()));
  return nullptr;
}
Value* Node::op(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs) {
  Op* op = create(kind, std::move(operands), std::move(attrs));
  return op ? op->result() : nullptr;
}
Result<std::vector<Value*>> Node::as(OpKind kind, std::vector<Value*> operands) { return as(kind, std::move(operands), attrs_for(kind)); }
Result<std::vector<Value*>> Node::as(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs) {
  Op* op = create(kind, std::move(operands), std::move(attrs), std::max(1, num_outputs()));
  std::vector<Value*> results;
  for (int i = 0; op && i < op->num_results(); ++i) results.push_back(op->result(i));
  return done(std::move(results));
}

Value* Node::constant(int id) { return failed() || id < 0 ? nullptr : build.constant(id); }
Value* Node::ints(const std::vector<int64_t>& values) { return failed() ? nullptr : build.ints(values); }
Value* Node::int_scalar(int64_t value) { return failed() ? nullptr : build.constant(state.module.constants.add_i64("", {}, {value})); }
Value* Node::scalar(DType t, double value) {
  if (t == DType::str || is_complex(t)) fail(unsupported(describe() + " of " + dtype_name(t)));
  return failed() ? nullptr : build.scalar(t, value);
}

Value* Node::cast(Value* v, DType t) {
  if (dtype(v) == t) return failed() ? nullptr : v;
  CastAttrs a;
  a.to = t;
  return op(OpKind::cast, {v}, a);
}
Value* Node::reshape(Value* v, const std::vector<int64_t>& dims) { return reshape_to(v, ints(dims)); }
Value* Node::reshape_to(Value* v, Value* dims, bool allowzero) {
  ReshapeAttrs a;
  a.allowzero = allowzero;
  return op(OpKind::reshape, {v, dims}, a);
}
Value* Node::with_rank(Value* v, int rank) {
  if (!v || !v->type.is_tensor() || v->type.ranked || rank < 1) return v;
  std::vector<int64_t> dims(rank, 0);
  dims.back() = -1;
  return reshape(v, dims);
}
Value* Node::transpose(Value* v, const std::vector<int64_t>& perm) {
  TransposeAttrs a;
  a.perm = perm;
  return op(OpKind::transpose, {v}, a);
}
Value* Node::unsqueeze(Value* v, const std::vector<int64_t>& axes) { return op(OpKind::unsqueeze, {v, ints(axes)}); }
Value* Node::squeeze(Value* v, const std::vector<int64_t>& axes) { return op(OpKind::squeeze, {v, ints(axes)}); }
Value* Node::shape_of(Value* v) { return op(OpKind::shape, {v}); }
Value* Node::dim_of(Value* v, int64_t axis) {
  ShapeAttrs a;
  a.start = axis;
  a.has_end = axis != -1;
  a.end = axis + 1;
  return op(OpKind::shape, {v}, a);
}
Value* Node::concat(std::vector<Value*> parts, int64_t axis) {
  ConcatAttrs a;
  a.axis = axis;
  return op(OpKind::concat, std::move(parts), a);
}
Value* Node::slice(Value* v, int64_t axis, int64_t start, int64_t end) { return op(OpKind::slice, {v, ints({start}), ints({end}), ints({axis})}); }
Value* Node::gather(Value* v, Value* indices, int64_t axis) {
  GatherAttrs a;
  a.axis = axis;
  return op(OpKind::gather, {v, indices}, a);
}
Value* Node::reduce_sum(Value* v, const std::vector<int64_t>& axes, bool keepdims) {
  ReduceAttrs a;
  a.keepdims = keepdims;
  return op(OpKind::reduce_sum, {v, ints(axes)}, a);
}
Value* Node::expand(Value* v, Value* dims) { return op(OpKind::expand, {v, dims}); }

}  // namespace weft
