// How GPUs and network cards are connected, for `weft doctor`.
#pragma once

#include <string>
#include <vector>

#include "runtime/cuda/device.h"

namespace weft::cli {

struct Topology {
  std::vector<std::string> names;                // "GPU0", "mlx5_0"
  std::vector<std::vector<std::string>> links;   // names x names; "" on the diagonal
};

// GPU to GPU: NVLink, PCIe (access over the bus), host (copies over the host's memory). To and between network cards: switch
// (below one PCIe bridge), root (one PCIe root), node (one NUMA node), system.
Topology find_topology(const std::vector<CudaDevice>& devices);

// Of two devices by where they are in sysfs, as /sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0; numa: -1 when unknown.
std::string pci_relation(const std::string& a, int numa_a, const std::string& b, int numa_b);

}  // namespace weft::cli
