// Which passes run at which level, in which order, and why there.
#include "passes/pass_manager.h"

namespace weft {

std::vector<Stage> pipeline_of(int opt_level) {
  if (opt_level <= 0) return {};
  std::vector<Stage> out;
  // Everything later looks at single uses and equal operands.
  out.push_back({{"eliminate-dead", "eliminate-common"}, 4});
  // What targets have no kernels for; before fusion, which makes kernels of the parts.
  out.push_back({{"expand", "eliminate-dead", "eliminate-common"}, 1});
  // Last: what lies inside a region is out of reach for rewrites.
  out.push_back({{"explicit-padding"}, 1});
  out.push_back({{"fuse"}, 1});
  return out;
}

}  // namespace weft
