// What a code generator offers the lowering. The CPU's lives in libweft-llvm.so and is opened on first use.
#pragma once

#include "codegen/tuning.h"

namespace weft {

class KernelCompiler {
 public:
  virtual ~KernelCompiler() = default;
  // Thread safe. `symbol` is the entry's name in the object.
  virtual Result<KernelCode> compile(const KernelSpec& spec, const Target& target, const std::string& symbol, bool want_listing) = 0;
};

// The LLVM code generator, opened once per process. Error kUnsupported naming the library and how to get it.
Result<KernelCompiler*> cpu_compiler();
// Where it is looked for, and the hash of that file, for cache keys; without opening it. Error as of cpu_compiler() when
// the file is not there.
std::string cpu_compiler_path();
Result<Hash> cpu_compiler_id();

// The same for GPUs. A launch has config.threads threads a block and config.shared_bytes of dynamic shared memory. Its grid is
// min(tasks, config.blocks) blocks, or simply config.blocks where tasks depends on run-time dims, so that no size changes a
// launch: the kernel's blocks stride over what there is to do.
// tuning: what was measured, else null; so below.
void choose_cuda(KernelSpec& spec, const Target& target, const Tuning* tuning = nullptr);
// NVRTC, opened on first use. `listing` is the CUDA source; the object a cubin, or PTX for portable targets.
Result<KernelCompiler*> cuda_compiler();
Result<Hash> cuda_compiler_id();

// The one function that libweft-llvm.so exports.
extern "C" KernelCompiler* weft_make_cpu_compiler();

// Picks the template and its parameters for a spec (order of axes included): pure, analytic, no timing. Records
// runners-up in the spec.
// `like`: constant factors get the same form as under that configuration, so that variants of a kernel share them.
void choose_cpu(KernelSpec& spec, const Target& target, const SpecConfig* like = nullptr, const Tuning* tuning = nullptr);
// Scratch bytes that each thread needs, over params.
Dim scratch_cpu(const KernelSpec& spec);

}  // namespace weft
