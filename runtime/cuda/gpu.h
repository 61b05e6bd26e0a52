// A GPU as the executor's device: memory, streams and kernels through the CUDA driver.
#pragma once

#include "runtime/cuda/device.h"
#include "runtime/executor/device.h"

namespace weft {

// The GPU of that number, in its primary context (shared with other users of CUDA in the process). Errors of
// cuda_driver(); kDevice when there is no such GPU.
Result<std::shared_ptr<Device>> open_gpu(int ordinal);

}  // namespace weft
