// How fast bytes move: between the host and a GPU, on it, and between GPUs. For `weft doctor --measure`.
#pragma once

#include "runtime/cuda/device.h"

namespace weft {

// Bytes a second, of copies of page-locked memory and of the GPU's own (read and written bytes both counted).
struct CopyRates {
  double to_device = 0, from_device = 0, on_device = 0;
};

// Takes tenths of a second and 512 MiB of the GPU's memory. Errors kDevice, kResources.
Result<CopyRates> measure_copies(int ordinal);
// From one GPU's memory to another's.
Result<double> measure_peer_copy(int from, int to);

// Whether a GPU can access another's memory, and whether by NVLink: only there are there atomics of the hardware.
struct PeerLink {
  bool access = false, nvlink = false;
};
Result<PeerLink> peer_link(int from, int to);

}  // namespace weft
