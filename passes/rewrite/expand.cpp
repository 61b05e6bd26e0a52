// Ops that no kernel computes become combinations of simpler ones (ir/expand), which fusion then sees.
#include "ir/expand/expand.h"
#include "passes/pass_manager.h"

namespace weft {

Result<bool> pass_expand(Module& m, PassContext&) {
  bool changed = false;
  for (auto& g : m.graphs) {
    TRY_ASSIGN(bool done, expand_composites(*g));
    changed = changed || done;
  }
  return changed;
}

}  // namespace weft
