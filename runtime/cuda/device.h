// What the driver says of the devices, for choosing one and for `weft doctor`.
#pragma once

#include <vector>

#include "ir/base/target.h"
#include "runtime/cuda/driver.h"

namespace weft {

struct CudaDevice {
  int ordinal = 0;
  std::string name, pci;          // "NVIDIA H200", "0000:1b:00.0"
  int major = 0, minor = 0;       // compute capability
  int64_t memory_bytes = 0;
  int multiprocessors = 0;
  int64_t l2_bytes = 0;
  int64_t shared_per_block = 0;   // with opt-in
  int64_t shared_per_multiprocessor = 0;
  int64_t registers_per_multiprocessor = 0;
  int threads_per_multiprocessor = 0;
  int clock_khz = 0, memory_clock_khz = 0, memory_bus_bits = 0;
  bool virtual_memory = false;

  // The ISA that its code is best compiled for: "sm_90a".
  std::string isa() const;
  // What to compile for when this device is meant. Error kUnsupported for one that is older than weft supports.
  Result<Target> target() const;
  // Bytes a second by the memory's clock and width; 0 when the driver does not say.
  double memory_rate() const;
};

// In the driver's order. Errors of cuda_driver(), kDevice.
Result<std::vector<CudaDevice>> cuda_devices();

}  // namespace weft
