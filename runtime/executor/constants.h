// Where a plan's constants lie while it runs: on the host the caller's own bytes where they serve, on a device one block of
// memory, filled through the fast way. Needs no code, so that weights can be on their way while kernels are compiled.
#pragma once

#include <memory>
#include <vector>

#include "ir/plan/plan.h"
#include "runtime/executor/memory.h"

namespace weft {

struct ConstantBytes;
class ThreadPool;

struct LoadedConstants {
  struct Fixed {
    std::byte* data = nullptr;
    int64_t bytes = 0;
    Block block = Block();          // when the memory is its own
  };
  std::vector<Fixed> fixed;         // per buffer: memory of constants and of prepared tensors; null for other storages
  Block kept, passing;              // of a device: what runs read; what the prepare region alone reads
  int64_t uploaded_bytes = 0;
  double upload_s = 0;
};

// Which buffers the region's commands access.
std::vector<char> buffers_used(const Plan& plan, const Region& region);

// Memory for constants, filled, and for prepared tensors. The plan is verified; `bytes` is parallel to its constants, and
// lives as long as the result. device: null for the host. Errors: kInvalidModel for bytes that do not fit (naming the
// tensor) or that their check refuses, kUnsupported, kResources, kDevice.
Result<LoadedConstants> load_constants(const Plan& plan, const SymbolValues& symbols, std::span<const ConstantBytes> bytes, Device* device,
                                       ThreadPool* pool);

}  // namespace weft
