#include "tools/weft/topology.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "runtime/cuda/measure.h"

namespace weft::cli {

namespace {

namespace fs = std::filesystem;

struct Place {
  std::string path;  // empty: unknown
  int numa = -1;
};

Place place_of(const fs::path& device) {
  Place p;
  std::error_code failed;
  p.path = fs::canonical(device, failed).string();
  if (failed) return {};
  std::ifstream f(fs::path(p.path) / "numa_node");
  if (!(f >> p.numa)) p.numa = -1;
  return p;
}

std::string gpu_link(const CudaDevice& a, const CudaDevice& b) {
  const auto link = peer_link(a.ordinal, b.ordinal);
  if (!link.ok()) return "unknown";
  return link->nvlink ? "NVLink" : link->access ? "PCIe" : "host";
}

}  // namespace

std::string pci_relation(const std::string& a, int numa_a, const std::string& b, int numa_b) {
  if (a.empty() || b.empty()) return "unknown";
  const fs::path x(a), y(b);
  auto [p, q] = std::mismatch(x.begin(), x.end(), y.begin(), y.end());
  // /sys/devices/pci0000:00 is the root; what comes after it is a bridge that both are below.
  const auto common = std::distance(x.begin(), p);
  const auto root = std::distance(x.begin(), std::find_if(x.begin(), p, [](const fs::path& s) { return s.string().starts_with("pci"); }));
  if (root + 1 < common) return "switch";
  if (root < common) return "root";
  return numa_a >= 0 && numa_a == numa_b ? "node" : "system";
}

Topology find_topology(const std::vector<CudaDevice>& devices) {
  Topology t;
  std::vector<Place> places;
  for (const CudaDevice& d : devices) {
    t.names.push_back("GPU" + std::to_string(d.ordinal));
    std::string pci = d.pci;
    std::transform(pci.begin(), pci.end(), pci.begin(), [](unsigned char c) { return std::tolower(c); });
    places.push_back(place_of("/sys/bus/pci/devices/" + pci));
  }
  std::error_code failed;
  std::vector<std::string> cards;
  for (const fs::directory_entry& e : fs::directory_iterator("/sys/class/infiniband", failed)) cards.push_back(e.path().filename().string());
  std::sort(cards.begin(), cards.end());
  for (const std::string& card : cards) {
    t.names.push_back(card);
    places.push_back(place_of("/sys/class/infiniband/" + card + "/device"));
  }
  for (size_t i = 0; i < places.size(); ++i) {
    t.links.emplace_back(places.size());
    for (size_t j = 0; j < places.size(); ++j) {
      if (i == j) continue;
      const bool gpus = i < devices.size() && j < devices.size();
      t.links[i][j] = gpus ? gpu_link(devices[i], devices[j]) : pci_relation(places[i].path, places[i].numa, places[j].path, places[j].numa);
    }
  }
  return t;
}

}  // namespace weft::cli
