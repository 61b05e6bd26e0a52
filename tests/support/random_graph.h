// Small valid modules made at random: elementwise chains, reductions, normalisations, movement, products, convolutions,
// pools, shape arithmetic, branches, and the spellings that passes look for. The same seed gives the same module, and fewer steps
// a beginning of it. With another float type it is the same module in that type, its weights the same numbers.
#pragma once

#include <memory>

#include "ir/core/module.h"

namespace weft::test {

struct RandomGraphOptions {
  uint64_t seed = 1;
  int steps = 12;
  DType floats = DType::f32;
  bool integers = false;  // inputs and ops of integer types as well, which compare, select, gather and are cast
};
std::unique_ptr<Module> random_graph(const RandomGraphOptions& o);

// A number in the environment: WEFT_RANDOM_GRAPHS says how many graphs a test makes, WEFT_RANDOM_SEED where it begins.
int from_environment(const char* name, int otherwise);

}  // namespace weft::test
