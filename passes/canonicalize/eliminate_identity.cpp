// eliminate-identity: ops that give back an operand as it is. What counts is that dims are provably equal: a reshape to a
// shape that merely might be the same stays.
#include <algorithm>

#include "ir/ops/move.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/random.h"
#include "ir/ops/reduce.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static bool keeps_order(const Op& op) {
  auto perm = transpose_perm(op);
  return perm.ok() && std::is_sorted(perm->begin(), perm->end());
}

static bool takes_all(const Op& op) {
  auto ranges = slice_ranges(op, op.graph->module->symbols);
  if (!ranges.ok()) return false;
  for (int d = 0; d < op.operands[0]->type.rank(); ++d) {
    const SliceRange& r = (*ranges)[d];
    if (r.step != 1 || !r.start.is(0) || !(r.length == op.operands[0]->type.shape[d])) return false;
  }
  return true;
}

static bool pads_nothing(const Op& op) {
  auto widths = pad_widths(op);
  if (!widths.ok()) return false;
  return std::all_of(widths->begin(), widths->end(), [](const PadWidth& w) { return w.before.is(0) && w.after.is(0); });
}

static bool reduces_nothing(const Op& op) {
  auto axes = reduced_axes(op);
  if (!axes.ok() || !axes->empty()) return false;
  return op.kind == OpKind::reduce_sum || op.kind == OpKind::reduce_mean || op.kind == OpKind::reduce_max || op.kind == OpKind::reduce_min ||
         op.kind == OpKind::reduce_prod;
}

// The operand that the first result equals; null: none is.
static Value* same_as(const Op& op) {
  Value* x = op.operand(0);
  switch (op.kind) {
    case OpKind::identity: return x;
    case OpKind::cast: return op.attr<CastAttrs>().to == x->type.dtype ? x : nullptr;
    case OpKind::bitcast: return op.attr<BitcastAttrs>().to == x->type.dtype ? x : nullptr;
    case OpKind::dropout: return drops_nothing(op) && (op.num_results() < 2 || op.result(1)->unused()) ? x : nullptr;
    // With equal dims the elements stand where they stood.
    case OpKind::reshape: case OpKind::squeeze: case OpKind::unsqueeze: case OpKind::flatten: case OpKind::expand: return x;
    case OpKind::transpose: return keeps_order(op) ? x : nullptr;
    case OpKind::slice: return takes_all(op) ? x : nullptr;
    case OpKind::pad: return pads_nothing(op) ? x : nullptr;
    case OpKind::concat: case OpKind::sum: case OpKind::mean: case OpKind::max: case OpKind::min: return op.num_operands() == 1 ? x : nullptr;
    case OpKind::split: return op.num_results() == 1 ? x : nullptr;
    case OpKind::tile: {
      auto repeats = const_ints(op.operands[1]);
      return repeats && std::all_of(repeats->begin(), repeats->end(), [](int64_t k) { return k == 1; }) ? x : nullptr;
    }
    case OpKind::reduce_sum: case OpKind::reduce_mean: case OpKind::reduce_max: case OpKind::reduce_min: case OpKind::reduce_prod:
      return reduces_nothing(op) ? x : nullptr;
    case OpKind::where: {
      if (op.operands[1] == op.operands[2]) return op.operands[1];
      auto c = uniform_value(op.operands[0]);
      return c ? op.operands[*c != 0 ? 1 : 2] : nullptr;
    }
    case OpKind::clip: return !op.operand(1) && !op.operand(2) ? x : nullptr;
    case OpKind::and_: case OpKind::or_: return op.operands[0] == op.operands[1] ? x : nullptr;
    default: return nullptr;
  }
}

// f(f(x)) of an idempotent f with equal attributes.
static Value* applied_before(const Op& op) {
  if (!has_trait(op, kIdempotent)) return nullptr;
  Op* inner = def_of(op.operand(0), op.kind);
  if (!inner || inner->num_operands() != op.num_operands() || !attrs_equal(*inner->attrs, *op.attrs)) return nullptr;
  for (int i = 1; i < op.num_operands(); ++i)
    if (op.operands[i] != inner->operands[i]) return nullptr;
  return op.operands[0];
}

Result<bool> pass_eliminate_identity(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) {
    Value* x = same_as(op);
    if (!x) x = applied_before(op);
    return x && replace_op(op, x);
  });
}

}  // namespace weft
