// Compiles kernels with NVRTC, which needs no GPU, and checks what they take of a multiprocessor.
#pragma once

#include "codegen/kernel_spec.h"

namespace weft::test {

// ptxas's account of one kernel.
struct KernelUse {
  int registers = 0;
  int64_t stack_bytes = 0, spill_bytes = 0, shared_bytes = 0;
};
// Out of the log of a compilation to a cubin.
KernelUse parse_use(const std::string& log);

// Empty when NVRTC is there, else why not.
std::string nvrtc_missing();

// Every kernel compiles for the target, spills next to nothing and fits a block; its text parses back. Kernels that were checked
// before in this process are not compiled again. Adds failures to the running test.
void check_cuda_kernels(const std::vector<KernelSpec>& specs, const Target& target);

}  // namespace weft::test
