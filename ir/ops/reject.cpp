// reject: a value that never comes to be, in the place of a branch that cannot be taken.
#include "ir/core/builder.h"
#include "ir/ops/common.h"
#include "ir/ops/control.h"

namespace weft {

OpDef def_reject() {
  return {.family = Family::control,
      .traits = kHostOnly,
      .attrs = make_attrs<RejectAttrs>,
      .infer = [](Op& op, InferContext&) -> Status {
        const Type& t = op.attr<RejectAttrs>().type;
        if (!t.is_ranked() || t.dtype == DType::str) return invalid("reject stands for tensors of numbers of known rank, not for " + t.to_string());
        set_type(op, 0, t);
        return {};
      },
      .eval = [](EvalCall& call) -> Result<std::vector<HostValue>> { return invalid(call.attr<RejectAttrs>().text); },
      .cost = [](const Op&) { return Cost(); }};
}

Status become_reject(Graph& branch, const Graph& other, const std::string& text, const std::vector<std::string>& provenance) {
  Builder b(&branch);
  b.provenance = provenance;
  for (const Value* v : other.outputs) {
    RejectAttrs attrs;
    attrs.text = text;
    attrs.type = v->type;
    TRY_ASSIGN(Op* op, b.create(OpKind::reject, {}, attrs.clone()));
    branch.outputs.push_back(op->result());
  }
  return {};
}

}  // namespace weft
