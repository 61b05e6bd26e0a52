// NVRTC, opened at run time: declared by us and neither linked nor included, so that weft starts without CUDA. Looked for
// on the system's search path, in the usual toolkit folders, and where `tools/setup --with-nvrtc` puts it; 13 before 12.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ir/base/result.h"

namespace weft {

namespace nvrtc_api {
using nvrtcResult = int;
using nvrtcProgram = struct NvrtcProgram*;
enum : int {
#define NVRTC_VALUE(name, value) name = value,
#include "codegen/cuda/nvrtc.def"
};
}  // namespace nvrtc_api

struct Nvrtc {
  using nvrtcResult = nvrtc_api::nvrtcResult;
  using nvrtcProgram = nvrtc_api::nvrtcProgram;
#define NVRTC_FUNCTION(result, name, parameters) result(*name) parameters = nullptr;
#include "codegen/cuda/nvrtc.def"
  std::string path;           // of the library
  int major = 0, minor = 0;
  std::vector<int> archs;     // it compiles for these compute capabilities: 75, 80, 90, …
};

// Opened once per process; a failure is remembered, too. Error kUnsupported says what is missing and how to get it.
Result<const Nvrtc*> nvrtc();

struct CudaSource {
  std::string name;  // for messages
  std::string text;  // may include the headers of kernels/ as "kernels/core/scalar.cuh"
};
struct CudaBinary {
  std::string code;  // cubin, or PTX without its closing zero
  std::string log;   // warnings, and ptxas's account of registers and spills
};
// Compiles one source for an ISA: `sm_90a` and the like give a cubin, `compute_80` and the like PTX. Thread safe. Error
// kInvalidModel with the compiler's log when the source is at fault, kUnsupported when this NVRTC does not know the ISA.
Result<CudaBinary> compile_cuda(const CudaSource& source, const std::string& isa);

}  // namespace weft
