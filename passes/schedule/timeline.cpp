#include "passes/schedule/timeline.h"

#include <algorithm>

#include "passes/shard/forms.h"

namespace weft {

// Parts of values and values of parts are mostly views; a region is the sum of its ops, which know what lies in registers between
// them.
double Timeline::seconds(const Op& op) const {
  if (is_fixed(op) || op.kind == OpKind::slice || op.kind == OpKind::concat || op.kind == OpKind::transpose) return 0;
  if (op.kind != OpKind::fused) return costs_.seconds(op);
  double s = 0;
  for (auto& inner : op.graphs[0]->ops) s += costs_.seconds(*inner);
  return s;
}

double Timeline::ready(const Op& op) const {
  double at = 0;
  for (const Value* v : op.operands)
    if (auto it = v ? ends_.find(v->def) : ends_.end(); it != ends_.end()) at = std::max(at, it->second);
  return at;
}

void Timeline::add(const Op& op) {
  if (is_collective(op)) {
    const double takes = costs_.exchange_seconds(op);
    exchanging_ += takes;
    ends_[&op] = collectives_ = std::max(collectives_, std::max(kernels_, ready(op))) + takes;
    return;
  }
  const double takes = seconds(op);
  computing_ += takes;
  if (takes == 0) return void(ends_[&op] = ready(op));
  ends_[&op] = kernels_ = std::max(kernels_, ready(op)) + takes;
}

}  // namespace weft
