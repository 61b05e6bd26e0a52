// lower-precision: products of matrices, convolutions and attention of f32 compute in the narrower type that the user asked
// for (--precision): their operands are cast to it, their results back. Sums stay f32 within them; what is between them stays
// f32, too, in the kernels that it becomes part of. For tf32 there is nothing to cast: products and convolutions say that they
// round their factors, and attention stays f32. Nodes that the user named stay as they are (--keep-f32).
#include <algorithm>
#include <utility>

#include "ir/ops/contract.h"
#include "ir/ops/conv.h"
#include "ir/ops/pointwise.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

bool computes(const Op& op, bool states) {
  // A cast of keys that a state holds would be a cast of all of them in every step.
  return op.kind == OpKind::contract || op.kind == OpKind::conv || (op.kind == OpKind::attention && !states);
}

bool is_wide(const Value* v) { return v && v->type.is_tensor() && v->type.dtype == DType::f32; }

bool compute_in(Op& op, DType type) {
  Builder b = build_before(op);
  CastAttrs narrow;
  narrow.to = type;
  std::vector<Value*> operands;
  for (Value* v : op.operands) {
    operands.push_back(is_wide(v) ? try_build(b, OpKind::cast, {v}, attrs_of(narrow)) : v);
    if (v && !operands.back()) return false;
  }
  Value* y = try_build(b, op.kind, operands, op.attrs->clone());
  if (!y || y->type.dtype != type) return false;
  Value* wide = try_build(b, OpKind::cast, {y}, attrs_of(CastAttrs()));
  return wide && replace_op(op, wide);
}

bool round_factors(Op& op) {
  if (op.kind == OpKind::attention || !is_wide(op.operands[0]) || !is_wide(op.operands[1])) return false;
  bool& rounds = op.kind == OpKind::conv ? op.attr<ConvAttrs>().tf32 : op.attr<ContractAttrs>().tf32;
  return !std::exchange(rounds, true);
}

}  // namespace

Result<bool> pass_lower_precision(Module& m, PassContext& cx) {
  if (!cx.precision || *cx.precision == Precision::f32) return false;
  const bool tf32 = *cx.precision == Precision::tf32;
  int lowered = 0, kept = 0;
  const bool changed = rewrite_ops(m, [&](Op& op) {
    if (!computes(op, !m.states.empty()) || op.num_results() != 1 || op.result()->type.dtype != DType::f32) return false;
    for (const std::string& node : op.provenance)
      if (std::find(cx.keep_f32.begin(), cx.keep_f32.end(), node) != cx.keep_f32.end()) return ++kept, false;
    const bool done = tf32 ? round_factors(op) : compute_in(op, *cx.precision == Precision::f16 ? DType::f16 : DType::bf16);
    lowered += done;
    return done;
  });
  const std::string what = tf32 ? " products and convolutions round their factors to " : " products, convolutions and attentions compute in ";
  if (changed || kept)
    cx.notes.push_back(std::to_string(lowered) + what + precision_name(*cx.precision) + ", " + std::to_string(kept) + " in f32 as asked");
  return changed;
}

}  // namespace weft
