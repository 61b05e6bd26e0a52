// From when to when each buffer's bytes must stay its own, as the commands of one region tree demand it.
//   - from the first to the last access in pre-order; a collective with an event accesses its tensors until that is waited for
//   - over a whole loop, where a buffer is used inside and outside of it, or is its condition
//   - over all loops around it, unless one command at the top of the region that holds all accesses overwrites all of
//     the buffer before them: else its value may come from the iteration before
//   - to the end, when it holds an output that is copied to the caller afterwards
//   - swapped buffers equally long
#pragma once

#include <vector>

#include "ir/plan/plan.h"

namespace weft {

struct LiveRange {
  int first = -1, last = -1;
  bool empty() const { return first < 0; }
  void add(int from, int to) {
    first = first < 0 || from < first ? from : first;
    last = to > last ? to : last;
  }
};

// Per buffer; empty for one that the tree does not access. Indices in the plan must be in range.
std::vector<LiveRange> required_lifetimes(const Plan& p, const Region& tree);

}  // namespace weft
