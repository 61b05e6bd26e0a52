// The arithmetic of all_reduce and reduce_scatter, the same for every transport: element by element in the order of the
// ranks, so that results have the same bits however the data travelled and however it was cut.
//
// f16, bf16, fp8 and other narrow floats accumulate in f32 and round once; f32 and f64 in themselves; complex numbers in
// two f64. Integers wrap at their own width; the mean of integers is the 64-bit sum divided toward zero. bool: sum and max
// are `or`, prod, min and mean are `and`. A NaN wins in max and min. Overflow of fp8 saturates, as Cast does.
#pragma once

#include "runtime/comm/communicator.h"

namespace weft {

// dst[i] = reduction of sources[0][i], sources[1][i], …; `count` elements, contiguous, sub-byte ones packed. Any alignment.
// dst may be one of the sources, but must not overlap one in part.
void reduce_rows(DType t, CommReduction r, std::span<const void* const> sources, void* dst, int64_t count);

}  // namespace weft
