// Kernels of a lowered module as code in memory: out of the disk cache, or compiled by several threads and kept there.
//
// The key of an entry is the kernel's spec without names, the target and the identity of the code generator's file; so the
// same layer of another model is a hit, and a new build of weft a miss. LLVM is opened at the first miss only. A broken or
// unwritable cache is a warning, never an Error.
#pragma once

#include "codegen/lower/lower.h"
#include "frontend/api/reporter.h"
#include "runtime/cache/disk_cache.h"
#include "runtime/cpu/object_loader.h"

namespace weft {

struct KernelBuild {
  // Parallel to Lowered::specs. For the host's processors loaded code, for GPUs cubins or PTX; with keep_code bytes for both.
  std::vector<std::shared_ptr<const LoadedObject>> objects;
  std::vector<std::string> binaries;
  int compiled = 0, cached = 0;
  int64_t code_bytes = 0;
  std::string generator;    // identity of the code generator
};

struct KernelBuildOptions {
  Target target;
  int threads = 1;
  DiskCache cache;          // may be disabled
  std::string user;         // the model's name, noted in the entries
  std::string sources;      // a folder of CUDA sources (kernel_sources.h); empty: none
  bool keep_code = false;   // the host's processors' code as bytes, too: KernelBuild::binaries
};

// Sets PlanKernel::object. Errors of the compiler, kCancelled.
Result<KernelBuild> build_kernels(Lowered& lowered, const KernelBuildOptions& options, Reporter& reporter);

// The text that identifies a kernel in the cache.
std::string kernel_cache_key(const KernelSpec& spec, const Target& target);

}  // namespace weft
