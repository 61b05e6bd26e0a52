// Which of an artefact's targets this machine runs best.
#pragma once

#include <string>
#include <vector>

#include "ir/base/result.h"

namespace weft {

struct CudaDevice;

// The number of the best one of `targets`: a GPU's before a processor's, machine code before PTX, what was made for this very
// device before what is older. `wanted`: a target or its backend (`cuda`); empty: any. `gpu`: null where there is none.
// Error kUnsupported names what each target needs and what is here.
Result<size_t> choose_target(const std::vector<std::string>& targets, const std::string& wanted, const CudaDevice* gpu);

}  // namespace weft
