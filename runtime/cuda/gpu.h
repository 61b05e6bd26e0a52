// A GPU as the executor's device: memory, streams and kernels through the CUDA driver.
#pragma once

#include "runtime/cuda/device.h"
#include "runtime/executor/device.h"

namespace weft {

// The GPU of that number, in its primary context (shared with other users of CUDA in the process). memory_fraction: of its
// memory, what may be taken through this object. Errors of cuda_driver(); kDevice when there is no such GPU, kUsage.
Result<std::shared_ptr<Device>> open_gpu(int ordinal, double memory_fraction);

}  // namespace weft
