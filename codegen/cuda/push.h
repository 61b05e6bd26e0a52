// The kernels of collectives over peers' memory (kernels/comm/push.cuh), as the runtime loads them.
#pragma once

#include <string>

#include "ir/base/target.h"

namespace weft {

// Defines push_all_reduce_f32, _f16, _bf16 and push_all_gather_bytes.
std::string push_source();
// Machine code, or PTX for a portable target. Errors of compile_cuda.
Result<std::string> compile_push(const Target& target);

}  // namespace weft
