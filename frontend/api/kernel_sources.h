// A folder of kernels' CUDA sources, for reading and for changing: each is written there once, and compiled as it then stands.
#pragma once

#include <optional>
#include <string>

#include "codegen/kernel_spec.h"
#include "ir/plan/plan.h"

namespace weft {

// What stands in the folder for the kernel, if somebody changed it; else writes our source there. The file's name has the
// spec's hash: a kernel that became another one is another file. Errors kResources, kUsage.
Result<std::optional<std::string>> changed_source(const std::string& folder, const KernelSpec& spec, const Target& target, const PlanKernel& kernel);

}  // namespace weft
