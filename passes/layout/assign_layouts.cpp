// assign-layouts: every tensor gets the order in which its dims lie in memory. Row-major, but for the result of a kernel
// that is only read through a transpose which leaves the innermost dim in place (heads of attention going back between
// the tokens): the kernel writes it in the transposed order, at no cost, and the transpose and a reshape behind it are
// views of it instead of a copy.
#include "ir/ops/move.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

bool is_kernel_result(const Value* v) {
  if (!v->def || v->def->num_results() != 1 || has_trait(*v->def, kHostOnly) || has_trait(*v->def, kViewLike)) return false;
  switch (op_def(*v->def).family) {
    case Family::fused: case Family::contraction: case Family::norm: case Family::reduce: case Family::attention: return true;
    default: return false;
  }
}

bool set_order(Value* v, const std::vector<int>& order) {
  Layout l = Layout::strided(order);
  if (v->type.layout == l || (v->type.layout.is_any() && l.is_row_major())) return false;
  v->type.layout = l;
  return true;
}

bool assign(Graph& g) {
  bool changed = false;
  for (auto& op : g.ops) {
    if (op->kind != OpKind::fused)
      for (auto& sub : op->graphs) changed = assign(*sub) || changed;
    if (op->kind != OpKind::transpose) continue;
    Value *v = op->operands[0], *r = op->result();
    auto perm = transpose_perm(*op);
    if (!perm.ok() || perm->empty()) continue;
    // r's dim i is v's dim perm[i]: lying in the order of perm, v is row-major to its reader.
    bool innermost_stays = perm->back() == static_cast<int>(perm->size()) - 1;
    if (innermost_stays && is_kernel_result(v) && has_one_use(v)) {
      changed = set_order(v, *perm) || changed;
      continue;
    }
    if (r->is_output() || !(v->type.layout.is_any() || v->type.layout.is_row_major())) continue;
    std::vector<int> order(perm->size());
    for (size_t i = 0; i < perm->size(); ++i) order[(*perm)[i]] = static_cast<int>(i);
    changed = set_order(r, order) || changed;
  }
  return changed;
}

}  // namespace

Result<bool> pass_assign_layouts(Module& m, PassContext&) {
  bool changed = !m.concrete_layouts;
  for (auto& g : m.graphs) changed = assign(*g) || changed;
  m.complete_layouts();
  m.concrete_layouts = true;
  return changed;
}

}  // namespace weft
