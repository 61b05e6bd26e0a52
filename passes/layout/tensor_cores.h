// What passes ask about the tensor cores of a GPU.
#pragma once

#include "ir/base/target.h"
#include "ir/core/module.h"

namespace weft {

// A convolution in types that the target's tensor cores multiply, over all channels. Its kernel copies its operand as it lies in memory: it takes
// no ops before it.
bool runs_on_tensor_cores(const Op& conv, const Target& target);

}  // namespace weft
