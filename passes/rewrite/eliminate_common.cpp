// eliminate-common: of ops with the same kind, operands, attributes and result types, one is kept. Ops that hold graphs
// or draw random numbers are never merged, nor those whose dims the data decide: their results have symbols of their own.
// Operands of commutative ops may stand in either order.
#include <algorithm>
#include <unordered_map>

#include "ir/core/op_def.h"
#include "passes/pass_manager.h"

namespace weft {

static std::vector<Value*> ordered_operands(const Op& op) {
  std::vector<Value*> v = op.operands;
  if (has_trait(op, kCommutative)) std::sort(v.begin(), v.end());
  return v;
}

// What is cheap to hash: most ops already differ in their operands.
static size_t merge_key(const Op& op) {
  size_t h = static_cast<size_t>(op.kind) * 1000003 + op.results.size();
  for (Value* v : ordered_operands(op)) h = h * 1000003 ^ reinterpret_cast<size_t>(v);
  if (op.kind == OpKind::constant) h ^= static_cast<size_t>(op.attr<ConstantAttrs>().value.id) * 7919;
  return h;
}

static bool same_computation(const Op& a, const Op& b) {
  if (a.kind != b.kind || a.num_results() != b.num_results() || ordered_operands(a) != ordered_operands(b) ||
      !attrs_equal(*a.attrs, *b.attrs))
    return false;
  for (int i = 0; i < a.num_results(); ++i) {
    const Value &x = *a.result(i), &y = *b.result(i);
    if (!(x.type == y.type) || !(x.sharding == y.sharding) || x.place != y.place) return false;
  }
  return true;
}

static bool may_merge(const Op& op) {
  return op.graphs.empty() && !op.results.empty() && !has_trait(op, kNondeterministic) && op_def(op).family != Family::collective;
}

static bool merge_in(Graph& g) {
  bool changed = false;
  std::unordered_multimap<size_t, Op*> seen;
  walk(g, [&](Op* op) {
    for (auto& sub : op->graphs) changed = merge_in(*sub) || changed;
    if (!may_merge(*op)) return;
    size_t key = merge_key(*op);
    auto [it, end] = seen.equal_range(key);
    for (; it != end; ++it) {
      Op* first = it->second;
      if (!same_computation(*first, *op)) continue;
      merge_provenance(first->provenance, op->provenance);
      for (int i = 0; i < op->num_results(); ++i) {
        if (first->result(i)->name.empty()) first->result(i)->name = op->result(i)->name;
        g.replace_uses(op->result(i), first->result(i));
      }
      g.erase(op);
      changed = true;
      return;
    }
    seen.emplace(key, op);
  });
  return changed;
}

Result<bool> pass_eliminate_common(Module& m, PassContext&) {
  bool changed = false;
  for (auto& g : m.graphs) changed = merge_in(*g) || changed;
  if (m.prepare) changed = merge_in(*m.prepare) || changed;
  return changed;
}

}  // namespace weft
