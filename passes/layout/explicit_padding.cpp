// explicit-padding: the padding of convolutions and max pools becomes a `pad` op before them, which is one copy. What is
// left reads whole vectors without asking at every element whether it lies inside the image. Only where all amounts are
// known numbers.
#include <algorithm>
#include <limits>

#include "ir/core/builder.h"
#include "ir/ops/move.h"
#include "ir/ops/pool.h"
#include "passes/pass_manager.h"

namespace weft {

namespace {

// Begins, then ends, of all dims; empty: nothing to do, or not known. A window beyond the end padding gets what it lacks.
std::vector<int64_t> padding_of(const Op& op) {
  auto axes = window_axes_of(op);
  if (!axes.ok()) return {};
  size_t rank = axes->size() + 2;
  std::vector<int64_t> pads(2 * rank, 0);
  for (size_t k = 0; k < axes->size(); ++k) {
    const WindowAxis& a = (*axes)[k];
    Dim reach = (a.out - Dim(1)) * Dim(a.stride) + (a.kernel - Dim(1)) * Dim(a.dilation) + Dim(1) - a.in - a.pad_begin;
    Dim end = op.kind == OpKind::conv ? a.pad_end : reach;
    if (!a.pad_begin.is_const() || !end.is_const()) return {};
    pads[k + 2] = a.pad_begin.value();
    pads[rank + k + 2] = std::max<int64_t>(end.value(), op.kind == OpKind::conv ? end.value() : 0);
  }
  bool any = std::any_of(pads.begin(), pads.end(), [](int64_t p) { return p != 0; });
  bool crops = std::any_of(pads.begin(), pads.end(), [](int64_t p) { return p < 0; });
  return any && !crops ? pads : std::vector<int64_t>{};
}

double pad_value(const Op& op) {
  DType t = op.operands[0]->type.dtype;
  if (op.kind == OpKind::conv) return 0;
  return is_float(t) ? -std::numeric_limits<double>::infinity() : static_cast<double>(int_min(t));
}

bool pad_explicitly(Op& op) {
  bool pool = op.kind == OpKind::max_pool && op.num_results() == 1;
  if (op.kind != OpKind::conv && !pool) return false;
  if (!op.operands[0]->type.is_ranked()) return false;
  std::vector<int64_t> pads = padding_of(op);
  if (pads.empty()) return false;
  Builder b(op.graph, &op);
  b.provenance = op.provenance;
  Value* x = op.operands[0];
  Value* padded = b.op(OpKind::pad, {x, b.ints(pads), b.scalar(x->type.dtype, pad_value(op))});
  op.set_operand(0, padded);
  WindowAttrs* w = pool ? static_cast<WindowAttrs*>(&op.attr<MaxPoolAttrs>()) : &op.attr<ConvAttrs>();
  w->auto_pad = "NOTSET";
  w->pads.assign(pads.size() - 4, 0);
  if (pool) op.attr<MaxPoolAttrs>().ceil_mode = false;
  return true;
}

}  // namespace

Result<bool> pass_explicit_padding(Module& m, PassContext& cx) {
  if (cx.target.backend == Backend::cuda) return false;  // a thread's guard costs less than a launch
  bool changed = false;
  for (auto& g : m.graphs) {
    Status status;
    walk_nested(*g, [&](Op* op) {
      if (op->kind == OpKind::fused || !pad_explicitly(*op)) return;
      changed = true;
      if (status.ok()) status = infer_op(*op, m);
    });
    TRY(status);
  }
  return changed;
}

}  // namespace weft
