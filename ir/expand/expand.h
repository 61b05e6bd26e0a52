// Ops as combinations of simpler ones: what a target without a kernel for attention, recurrent layers, Fourier transforms
// and the like runs instead. An expansion means the same as the op's eval, for symbolic dims too.
#pragma once

#include "ir/core/module.h"

namespace weft {

// Replaces every op of the graph, and of graphs inside it, that has an expansion; others stay. An op whose shapes or
// attributes its expansion does not take stays, too. Returns whether anything changed.
Result<bool> expand_composites(Graph& g);

}  // namespace weft
