// Ranks of one process, whose GPUs reach each other's memory: small collectives by the kernels of kernels/comm/push.cuh, all
// others by `large`, where there is one. A kernel waits on the device for those of other ranks; so what waits for the whole
// device (freeing memory, loading code) must not stand before a rank's part of a collective that another one has begun. Ranks
// that share a GPU cannot keep to that, and pass through the host; `share_gpu` is for tests, which can.
#pragma once

#include "runtime/cuda/gpu_impl.h"

namespace weft {

// All ranks of the group call it at the same time. code: what compile_push made for this GPU. Null on all of them where some
// GPU does not reach another one, or ranks are in several processes.
Result<std::unique_ptr<DeviceRanks>> join_peers(std::shared_ptr<CudaGpu> gpu, Communicator& group, std::span<const std::byte> code,
                                                std::unique_ptr<DeviceRanks>& large, bool share_gpu = false);

}  // namespace weft
