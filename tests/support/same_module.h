// Runs two modules on the same inputs through the reference evaluator, and holds their outputs against each other.
#pragma once

#include "ir/core/module.h"
#include "ir/eval/evaluator.h"

namespace weft::test {

// Inputs of the main graph: floats around 0 (spread over about -2..2), integers in [0, `ints`), bools. Symbols take the
// values given, others 2, 3, 4 … in the order of their names.
Result<std::vector<HostValue>> random_inputs(const Module& m, uint64_t seed, SymbolValues symbols = {}, int64_t ints = 2);
// On all ranks, where the module has a mesh: Error unless they agree.
Result<std::vector<HostValue>> run_main(const Module& m, const std::vector<HostValue>& inputs);
// Empty when equal; else what differs first. Floats may differ by `relative` of the largest value of the output.
std::string difference(const std::vector<HostValue>& got, const std::vector<HostValue>& want, double relative);

}  // namespace weft::test
