// Views: ops whose result is the operand's bytes under other dims and strides. No command is made.
#include "codegen/lower/lowering.h"

namespace weft {

// Strides of `to` over a tensor of dims/strides `from`, when no copy is needed: dims are matched in groups of equal
// products, each of which must be walked evenly.
static bool reshape_strides(const Shape& from, const std::vector<Dim>& strides, const Shape& to, std::vector<Dim>* out) {
  out->assign(to.size(), Dim(1));
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    if (i < from.size() && from[i].is(1)) {
      ++i;
      continue;
    }
    if (j < to.size() && to[j].is(1)) {
      ++j;
      continue;
    }
    if (i >= from.size() || j >= to.size()) return false;
    size_t i0 = i, j0 = j;
    Dim a = from[i++], b = to[j++];
    while (a != b) {
      bool grow_to = a.is_const() && b.is_const() ? b.value() < a.value() : j < to.size();
      if (grow_to && j < to.size()) b *= to[j++];
      else if (i < from.size()) a *= from[i++];
      else return false;
    }
    for (size_t k = i0; k + 1 < i; ++k)
      if (!from[k].is(1) && strides[k] != strides[k + 1] * from[k + 1]) return false;
    Dim s = strides[i - 1];
    for (size_t k = j; k-- > j0;) {
      (*out)[k] = s;
      s *= to[k];
    }
  }
  return true;
}

Result<bool> Lowering::view(Op& op) {
  const OpDef& def = op_def(op);
  Value* r = op.result();
  // A value that must lie in the caller's buffer is written there, unless it is a mere copy of its source.
  if (tensors.count(r)) return false;
  if ((def.traits & kViewLike) || op.kind == OpKind::identity) {
    if (op.operands.empty() || !op.operands[0] || !op.operands[0]->type.is_ranked() || op.operands[0]->type.dtype != r->type.dtype) return false;
    TRY_ASSIGN(int src, tensor(op.operands[0]));
    std::vector<Dim> strides;
    Placement p = placement(src);
    if (dense(src) && numel(p.dims) == numel(r->type.shape)) strides = dense_strides(r->type.shape);
    else if (!reshape_strides(p.dims, p.strides, r->type.shape, &strides)) return false;
    alias(r, src, r->type.shape, std::move(strides), Dim(0));
    return true;
  }
  return false;
}

}  // namespace weft
