// Indices that depend on values that are read.
#include <algorithm>

#include "codegen/kernel_spec.h"

namespace weft {

bool is_indirect(const Dim& d) {
  const std::vector<std::string> names = d.symbols();
  return std::any_of(names.begin(), names.end(), [](const std::string& s) { return s[0] == '$'; });
}

bool is_indirect(const SpecOperand& o) {
  return is_indirect(o.linear()) || std::any_of(o.guards.begin(), o.guards.end(), [](const SpecGuard& g) {
           return is_indirect(g.expr) || is_indirect(g.lo) || is_indirect(g.hi);
         });
}

}  // namespace weft
