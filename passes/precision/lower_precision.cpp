// lower-precision: products of matrices, convolutions and attention of f32 compute in the narrower type that the user asked
// for (--precision): their operands are cast to it, their results back. Sums stay f32 within them; what is between them stays
// f32, too, in the kernels that it becomes part of. Nodes that the user named stay as they are (--keep-f32).
#include <algorithm>

#include "ir/ops/pointwise.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static bool computes(const Op& op, bool states) {
  // A cast of keys that a state holds would be a cast of all of them in every step.
  return op.kind == OpKind::contract || op.kind == OpKind::conv || (op.kind == OpKind::attention && !states);
}

Result<bool> pass_lower_precision(Module& m, PassContext& cx) {
  if (!cx.precision || *cx.precision == DType::f32) return false;
  int lowered = 0, kept = 0;
  const bool changed = rewrite_ops(m, [&](Op& op) {
    if (!computes(op, !m.states.empty()) || op.num_results() != 1 || op.result()->type.dtype != DType::f32) return false;
    for (const std::string& node : op.provenance)
      if (std::find(cx.keep_f32.begin(), cx.keep_f32.end(), node) != cx.keep_f32.end()) return ++kept, false;
    Builder b = build_before(op);
    CastAttrs narrow;
    narrow.to = *cx.precision;
    std::vector<Value*> operands;
    for (Value* v : op.operands) {
      const bool wide = v && v->type.is_tensor() && v->type.dtype == DType::f32;
      operands.push_back(wide ? try_build(b, OpKind::cast, {v}, attrs_of(narrow)) : v);
      if (v && !operands.back()) return false;
    }
    Value* y = try_build(b, op.kind, operands, op.attrs->clone());
    if (!y || y->type.dtype != *cx.precision) return false;
    Value* wide = try_build(b, OpKind::cast, {y}, attrs_of(CastAttrs()));
    return wide && replace_op(op, wide) && ++lowered;
  });
  if (changed || kept)
    cx.notes.push_back(std::to_string(lowered) + " products, convolutions and attentions compute in " + dtype_name(*cx.precision) + ", " +
                       std::to_string(kept) + " in f32 as asked");
  return changed;
}

}  // namespace weft
