// cum_sum, cum_prod: types here, the sums in kernels/host.
#include "ir/ops/common.h"
#include "ir/ops/sort.h"
#include "kernels/host/generate.h"

namespace weft {

static Status infer_cumulative(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  const Type &x = type_of(op, 0), &axis = type_of(op, 1);
  if (!is_float(x.dtype) && !is_int(x.dtype)) return invalid(std::string(op_name(op.kind)) + " does not take " + dtype_name(x.dtype));
  if (!axis.is_tensor() || !is_int(axis.dtype)) return invalid("the axis must be an integer, is " + axis.to_string());
  if (auto a = const_ints(op.operands[1])) {
    if (a->size() != 1) return invalid("the axis must be one integer");
    TRY(normalize_axis((*a)[0], x.rank()));
  }
  return infer_same(op, cx);
}

static Result<std::vector<HostValue>> eval_cumulative(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  std::vector<int64_t> axes = load_all<int64_t>(call.tensor(1));
  if (axes.size() != 1) return invalid("the axis must be one integer");
  TRY_ASSIGN(int axis, normalize_axis(axes[0], x.rank()));
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, x.dims));
  const CumulativeAttrs& a = call.attr<CumulativeAttrs>();
  host_cumulative(view_of(x), axis, {a.exclusive, a.reverse, call.op.kind == OpKind::cum_prod}, view_of(y));
  return one(std::move(y));
}

// All dims but the axis.
static Result<ShardingRule> shard_cumulative(const Op& op) {
  auto axes = const_ints(op.operands[1]);
  if (!axes) return ShardingRule(op);
  TRY_ASSIGN(int axis, normalize_axis((*axes)[0], type_of(op, 0).rank()));
  return shard_alike(op, {axis}, 1);
}
static OpDef cumulative(const char* onnx) {
  return {.onnx = onnx, .family = Family::scan, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<CumulativeAttrs>,
          .infer = infer_cumulative, .eval = eval_cumulative, .shard = shard_cumulative};
}
OpDef def_cum_sum() { return cumulative("CumSum"); }
OpDef def_cum_prod() { return cumulative("CumProd"); }

}  // namespace weft
