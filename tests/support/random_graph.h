// Small valid modules made at random: elementwise chains, reductions, normalisations, movement, products, convolutions,
// pools, shape arithmetic, branches, and the spellings that passes look for. The same seed gives the same module.
#pragma once

#include <memory>

#include "ir/core/module.h"

namespace weft::test {

std::unique_ptr<Module> random_graph(uint64_t seed, int steps = 12);

}  // namespace weft::test
