// Inputs, outputs and states of a lowering; see ports.cpp.
#pragma once

#include "codegen/lower/lowering.h"

namespace weft {

// Before the graph's ops: gives inputs and states their tensors, and outputs theirs where an op may write them directly.
Status bind_inputs(Lowering& l, Graph& g);
void declare_outputs(Lowering& l, Graph& g);
// After them: what no op has written in its place is copied; states get their next values.
Status bind_outputs(Lowering& l, Graph& g);

}  // namespace weft
