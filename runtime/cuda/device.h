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

  // "9.0"
  std::string capability() const { return std::to_string(major) + "." + std::to_string(minor); }
  // The ISA that its code is best compiled for: "sm_90a".
  std::string isa() const;
  // How well it runs code for a target: 0 is not at all, more is better. Machine code runs on the GPUs of one major version from
  // its own minor version on, that of an `a` ISA on its own alone, and PTX on its own and all later ones.
  int fitness(const Target& t) const;
  // What to compile for when this device is meant. Error kUnsupported for one that is older than weft supports.
  Result<Target> target() const;
  // Bytes a second by the memory's clock and width; 0 when the driver does not say.
  double memory_rate() const;
};

// Whether machine code for it uses what only one architecture has, as that for sm_90a does.
bool is_of_one_architecture(const Target& t);

// In the driver's order. Errors of cuda_driver(), kDevice.
Result<std::vector<CudaDevice>> cuda_devices();

}  // namespace weft
