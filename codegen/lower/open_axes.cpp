// Reductions along axes that only data know. Every dim of the operand is walked by a result dim or by a row of the
// reduction; which of them has the dim's length and which one step is a number that the plan computes. So the operand is
// seen as a view [result dims..., rows...] and reduced along all its rows.
#include "codegen/lower/data_dims.h"
#include "ir/ops/common.h"
#include "ir/ops/reduce.h"

namespace weft {

static bool reduces(OpKind k) {
  switch (k) {
    case OpKind::reduce_sum: case OpKind::reduce_mean: case OpKind::reduce_max: case OpKind::reduce_min:
    case OpKind::reduce_prod: case OpKind::reduce_l1: case OpKind::reduce_l2: case OpKind::reduce_log_sum:
    case OpKind::reduce_log_sum_exp: case OpKind::reduce_sum_square:
      return true;
    default: return false;
  }
}

// The view of x; its first dims are the result's.
static Result<int> rows_view(Lowering& l, Op& op, int source, const Value* stand_in_result, Shape* dims) {
  Placement p = l.placement(source);
  int rank = static_cast<int>(p.dims.size()), to = static_cast<int>(stand_in_result->type.shape.size());
  const ReduceAttrs& a = op.attr<ReduceAttrs>();
  TRY_ASSIGN(std::vector<Dim> axes, l.contents(op.operands[1]));
  bool all = axes.empty() && !a.noop_with_empty_axes;
  AxisSet set;
  if (axes.empty()) {
    set.hit.assign(static_cast<size_t>(rank), Dim(all ? 1 : 0));
    set.before.assign(static_cast<size_t>(rank), Dim(0));
  } else {
    TRY_ASSIGN(set, axis_set(l, axes, rank));
  }
  *dims = stand_in_result->type.shape;
  std::vector<Dim> strides;
  for (int q = 0; q < to; ++q) {
    Dim s = a.keepdims || axes.empty() ? p.strides[q] : Dim(0);
    for (int j = 0; j < rank && !a.keepdims && !axes.empty(); ++j) s += set.place(j, q) * p.strides[j];
    strides.push_back(l.named(s));
  }
  for (int j = 0; j < rank; ++j) {
    dims->push_back(l.named(Dim(1) + set.hit[j] * (p.dims[j] - Dim(1))));
    strides.push_back(p.strides[j]);
  }
  return l.alias(nullptr, source, *dims, std::move(strides), 0);
}

Result<bool> Lowering::open_axes(Op& op) {
  if (!reduces(op.kind) || !op.operand(1) || reduced_axes(op).ok()) return false;
  TRY_ASSIGN(int source, tensor(op.operands[0]));
  Shape dims;
  TRY_ASSIGN(int view, rows_view(*this, op, source, op.result(), &dims));
  int to = op.result()->type.rank(), rank = op.operands[0]->type.rank();
  Value* rows = scratch_graph()->add_input(Type::tensor(op.operands[0]->type.dtype, dims), op.operands[0]->name);
  tensors[rows] = view;
  Builder b(scratch.get());
  std::vector<int64_t> last;
  for (int j = 0; j < rank; ++j) last.push_back(to + j);
  ReduceAttrs a;
  a.keepdims = false;
  TRY_ASSIGN(Op * reduction, b.create(op.kind, {rows, b.ints(last)}, std::make_unique<ReduceAttrs>(a)));
  tensors[reduction->result()] = result(op.result());
  TRY(kernel(op_name(op.kind), {rows}, {reduction->result()}));
  return true;
}

}  // namespace weft
