// What passes ask about the tensor cores of a GPU.
#pragma once

#include "ir/base/target.h"
#include "ir/core/module.h"

namespace weft {

// Whether the target's tensor cores multiply elements of these types: f16, bf16, integers of 8 bits (i8, u8), floats of 8 bits
// (f8e4m3fn, f8e5m2); those of 8 bits in any pair of their kind.
bool multiplies_on_tensor_cores(DType a, DType b, const Target& target);
// A convolution in types that they multiply, over all channels. Its kernel copies its operand as it lies in memory: it takes
// no ops before it.
bool runs_on_tensor_cores(const Op& conv, const Target& target);

}  // namespace weft
