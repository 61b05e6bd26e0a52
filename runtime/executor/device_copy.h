// Copies between strides within a device's memory.
#pragma once

#include "runtime/executor/device.h"
#include "runtime/executor/strided.h"

namespace weft {

// dst = src, queued; same dtype and dims, both on the queue's device, not overlapping. Elements between those of dst keep
// their values. Error kUnsupported for packed sub-byte elements whose strides differ.
Status device_copy(DeviceQueue& queue, const StridedRef& dst, const StridedRef& src);

}  // namespace weft
