// What CompileOptions::target means on this machine.
#pragma once

#include <string>

#include "ir/base/target.h"

namespace weft::api {

// "cuda" is the GPU `device`; "auto" too where there is such a GPU and NVRTC to compile for it, else the processor. Other
// texts as parse_target. note: why a GPU is left alone. Errors as parse_target and cuda_devices.
Result<Target> choose_target(const std::string& text, int device, std::string* note = nullptr);

}  // namespace weft::api
