// eliminate-dead: removes ops that nothing uses, captures that no body reads, and results of the prepare graph that no
// `prepared` names.
#include <algorithm>
#include <set>

#include "ir/core/builder.h"
#include "ir/ops/structure.h"
#include "passes/pass_manager.h"
#include "passes/rewrite/captures.h"

namespace weft {

static bool drop_unused_prepared(Module& m) {
  if (!m.prepare) return false;
  std::set<std::string> named;
  auto note = [&](Op* op) {
    if (op->kind == OpKind::prepared) named.insert(op->attr<PreparedAttrs>().name);
  };
  for (auto& g : m.graphs) walk_nested(*g, note);
  walk_nested(*m.prepare, note);
  Graph& p = *m.prepare;
  bool changed = false;
  for (size_t i = p.outputs.size(); i-- > 0;) {
    if (named.count(p.output_names[i])) continue;
    p.outputs.erase(p.outputs.begin() + i);
    p.output_names.erase(p.output_names.begin() + i);
    changed = true;
  }
  remove_dead(p);
  if (p.outputs.empty()) m.prepare = nullptr;
  return changed;
}

Result<bool> pass_eliminate_dead(Module& m, PassContext&) {
  bool changed = false;
  auto drop = [&](Op* op) { changed = (!op->graphs.empty() && drop_unread_captures(*op)) || changed; };
  for (auto& g : m.graphs) {
    changed = remove_dead(*g) > 0 || changed;
    walk_nested(*g, drop);
    changed = remove_dead(*g) > 0 || changed;
  }
  return drop_unused_prepared(m) || changed;
}

}  // namespace weft
