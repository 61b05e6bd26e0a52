// repeat-casts: every elementwise or rowwise reader of a widening cast, or of what a dequantize_linear gives, gets one of its own,
// which its kernel then does as it reads the narrow elements. One for all of them would be a kernel, and would write and read the
// wide ones.
#include "ir/base/check.h"
#include "ir/core/builder.h"
#include "passes/pass_manager.h"

namespace weft {

namespace {

bool widens(const Op& op) {
  if (op.kind == OpKind::dequantize_linear) return !op.result()->is_output() && !constant_of(op.operand(0));
  if (op.kind != OpKind::cast || op.result()->is_output() || !op.operand(0)->type.is_tensor()) return false;
  const DType from = op.operand(0)->type.dtype, to = op.result()->type.dtype;
  return is_float(from) && is_float(to) && byte_size(from) <= byte_size(to) && !constant_of(op.operand(0));
}

// Whether the reader's kernel would do the cast.
bool takes_cast(const Use& u) {
  const OpDef& def = op_def(*u.op);
  return def.scalar || ((def.family == Family::norm || def.family == Family::reduce) && u.index == 0);
}

bool repeat_casts(Graph& g) {
  bool changed = false;
  std::vector<std::pair<Op*, Use>> more;
  for (auto& op : g.ops) {
    if (op->kind != OpKind::fused)
      for (auto& sub : op->graphs) changed = repeat_casts(*sub) || changed;
    if (!widens(*op)) continue;
    size_t readers = 0;
    for (const Use& u : op->result()->uses)
      if (takes_cast(u) && readers++ > 0) more.emplace_back(op.get(), u);
  }
  for (auto& [op, use] : more) {
    Builder b(&g, op);
    b.provenance = op->provenance;
    auto made = b.create(op->kind, op->operands, op->attrs->clone());
    CHECK(made.ok());
    (*made)->result()->name = op->result()->name;
    (*made)->result()->type = op->result()->type;
    use.op->set_operand(use.index, (*made)->result());
  }
  return changed || !more.empty();
}

}  // namespace

Result<bool> pass_repeat_casts(Module& m, PassContext&) {
  bool changed = false;
  for (auto& g : m.graphs) changed = repeat_casts(*g) || changed;
  return changed;
}

}  // namespace weft
