// DeviceTable: what is known of the devices that a model is shared out between and of the links that connect them. Links are
// tiers: the first one joins devices (of a host, say), each further one groups of the tier below. Ranks are numbered so that
// neighbours share the lowest tier; so the last axis of a mesh lies on the fastest links. Devices are equal: where they are
// not, the table describes the slowest. docs/planning.md has the form in which users write tables.
//
// Collectives take a start, a step for each doubling of the ranks, and bytes over the rate for messages of that size. Over
// several tiers they are hierarchical: what is summed is cut within a tier first, so that the next one carries one part.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/mesh.h"
#include "ir/base/target.h"

namespace weft {

struct DeviceTable {
  // Types that devices compute in; bf16 counts as f16, all 8-bit floats as f8, integers of up to 8 bits as i8.
  enum Number : uint8_t { f64, f32, tf32, f16, f8, i8, kNumbers };
  static constexpr std::array<const char*, kNumbers> kNumberNames = {"f64", "f32", "tf32", "f16", "f8", "i8"};
  // Of a message of up to so many bytes; ascending, the last one holds for all above.
  struct Rate {
    double up_to_bytes = 0;
    double bytes_per_s = 0;  // out of one device, while as much comes in
  };
  struct Tier {
    std::string name;
    int64_t joins = 1;       // devices, or groups of the tier below
    double start_s = 0, step_s = 0;
    std::vector<Rate> rates;
    double rate(double bytes) const;
  };

  std::string name, device, source;     // source: where the figures are from
  std::array<double, kNumbers> flops{};  // a second; 0: as the next wider type that has a figure
  double memory_rate = 0;                // bytes a second
  double memory_bytes = 0;               // 0: not known, no limit
  double launch_s = 0;
  // Shares of these figures that kernels reach: products, attention, and all that waits for memory; collectives of a link.
  double contraction = 1, attention = 1, memory = 1, link = 1;
  std::vector<Tier> tiers;

  int64_t devices() const;
  double flops_of(DType t, bool as_tf32 = false) const;
};

// The ranks of a collective as the tiers between them: how many groups of each tier below take part.
class LinkGroup {
 public:
  LinkGroup() = default;
  // Ranks that differ along these axes of the mesh.
  LinkGroup(const DeviceTable& table, const Mesh& mesh, const std::vector<std::string>& axes);

  int64_t size() const { return size_; }
  // Seconds. bytes: of the whole tensor that the group has in the end (all_to_all, permute: of one rank's part).
  double all_gather(double bytes) const;
  double reduce_scatter(double bytes) const { return all_gather(bytes); }
  double all_reduce(double bytes) const { return all_reduce(bytes, 0); }
  double all_to_all(double bytes) const;
  double permute(double bytes) const;  // each rank sends to another, at worst over the highest tier

 private:
  struct Part {
    const DeviceTable::Tier* tier;
    int64_t ranks;
  };
  double all_reduce(double bytes, size_t from) const;
  double gather(const Part& p, double bytes) const;
  double rate(const Part& p, double bytes) const { return p.tier->rate(bytes) * share_; }

  std::vector<Part> parts_;  // the lowest tier first, each with more than one; full, where the last group of a tier is not
  double share_ = 1;
  int64_t size_ = 1;
};

// Where no table is given: a target's figures, all devices joined by one kind of link.
DeviceTable default_devices(const Target& target);

}  // namespace weft
