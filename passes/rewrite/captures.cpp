#include "passes/rewrite/captures.h"

#include "ir/ops/control.h"

namespace weft {

int captured_input(const Op& op, int operand) {
  if (!op.operand(operand)) return -1;
  int64_t first = 0;
  switch (op.kind) {
    case OpKind::if_else: return operand >= 1 ? operand - 1 : -1;
    case OpKind::loop: first = 2 + op.attr<LoopAttrs>().num_carried; break;
    case OpKind::scan: first = op.attr<ScanAttrs>().num_carried + op.attr<ScanAttrs>().num_scan_inputs; break;
    default: return -1;
  }
  return operand >= first ? operand : -1;
}

static bool is_read(const Op& op, int input) {
  for (auto& g : op.graphs)
    if (!g->inputs[input]->unused()) return true;
  return false;
}

bool drop_unread_captures(Op& op) {
  std::vector<Value*> kept;
  bool changed = false;
  // From the back: the numbers of those before stay.
  for (int i = op.num_operands() - 1; i >= 0; --i) {
    int input = captured_input(op, i);
    if (input < 0 || is_read(op, input)) {
      kept.insert(kept.begin(), op.operands[i]);
      continue;
    }
    for (auto& g : op.graphs) {
      g->inputs.erase(g->inputs.begin() + input);
      for (size_t k = input; k < g->inputs.size(); ++k) g->inputs[k]->index = static_cast<int>(k);
    }
    changed = true;
  }
  if (!changed) return false;
  op.drop_operands();
  for (Value* v : kept) op.add_operand(v);
  return true;
}

}  // namespace weft
