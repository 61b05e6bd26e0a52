#include "passes/shard/device_table.h"

#include <algorithm>
#include <cmath>

namespace weft {

double DeviceTable::Tier::rate(double bytes) const {
  for (const Rate& r : rates)
    if (bytes <= r.up_to_bytes) return r.bytes_per_s;
  return rates.back().bytes_per_s;
}

int64_t DeviceTable::devices() const {
  int64_t n = 1;
  for (const Tier& t : tiers) n *= t.joins;
  return n;
}

double DeviceTable::flops_of(DType t, bool as_tf32) const {
  Number n = as_tf32 ? tf32 : f32;
  if (t == DType::f64 || t == DType::c128) n = f64;
  else if (is_float(t) && bit_width(t) <= 8) n = f8;
  else if (is_float(t) && bit_width(t) == 16) n = f16;
  else if (is_int(t) && bit_width(t) <= 8) n = i8;
  // Wider ones, in order.
  const Number chain[] = {n, n == i8 || n == f8 ? f16 : n, n == f64 ? f64 : f32, f32};
  for (Number k : chain)
    if (flops[k] > 0) return flops[k];
  return 0;
}

LinkGroup::LinkGroup(const DeviceTable& table, const Mesh& mesh, const std::vector<std::string>& axes) : share_(table.link) {
  std::vector<int64_t> ranks(table.tiers.size(), 1);
  int64_t stride = 1;
  for (auto a = mesh.axes.rbegin(); a != mesh.axes.rend(); ++a) {
    const auto [axis, size] = *a;
    if (std::find(axes.begin(), axes.end(), axis) != axes.end()) {
      size_ *= size;
      int64_t block = 1, below = 1;
      for (size_t t = 0; t < table.tiers.size(); ++t) {
        block *= table.tiers[t].joins;
        // How many of the axis's ranks lie in one group of this tier; beyond the last one there is none.
        const int64_t inside = t + 1 == table.tiers.size() ? size : std::clamp<int64_t>(block / stride, 1, size);
        ranks[t] *= (inside + below - 1) / below;
        below = inside;
      }
    }
    stride *= size;
  }
  for (size_t t = 0; t < ranks.size(); ++t)
    if (ranks[t] > 1) parts_.push_back({&table.tiers[t], ranks[t]});
}

// A rank gets all but its own part.
static double others(int64_t n) { return static_cast<double>(n - 1) / static_cast<double>(n); }
static double doublings(int64_t n) { return std::log2(static_cast<double>(n)); }

double LinkGroup::gather(const Part& p, double bytes) const {
  return p.tier->start_s + p.tier->step_s * doublings(p.ranks) + bytes * others(p.ranks) / rate(p, bytes / static_cast<double>(p.ranks));
}

// The highest tier first, while there is little to move.
double LinkGroup::all_gather(double bytes) const {
  double seconds = 0;
  for (const Part& p : parts_) {
    seconds += gather(p, bytes);
    bytes /= static_cast<double>(p.ranks);
  }
  return seconds;
}

// Small tensors go whole to everyone; large ones are cut, summed and gathered, and between the two the next tier has its turn.
double LinkGroup::all_reduce(double bytes, size_t from) const {
  if (from == parts_.size()) return 0;
  const Part& p = parts_[from];
  double cut = 2 * gather(p, bytes) + all_reduce(bytes / static_cast<double>(p.ranks), from + 1);
  double whole = p.tier->start_s + p.tier->step_s * doublings(p.ranks) + bytes * static_cast<double>(p.ranks - 1) / rate(p, bytes) +
                 all_reduce(bytes, from + 1);
  return std::min(cut, whole);
}

double LinkGroup::all_to_all(double bytes) const {
  double seconds = 0;
  const auto all = static_cast<double>(size_);
  int64_t inside = 1;
  for (const Part& p : parts_) {
    double beyond = static_cast<double>(inside * (p.ranks - 1)) / all;  // of the ranks, those that only this tier reaches
    seconds += p.tier->start_s + p.tier->step_s * doublings(p.ranks) + bytes * beyond / rate(p, bytes / all);
    inside *= p.ranks;
  }
  return seconds;
}

double LinkGroup::permute(double bytes) const {
  if (parts_.empty()) return 0;
  const Part& p = parts_.back();
  return p.tier->start_s + p.tier->step_s + bytes / rate(p, bytes);
}

// --- without a table ------------------------------------------------------------------------------------------------

// Multiply-adds of a multiprocessor in a clock, twice: f32, and f16 on its tensor cores without sparsity (CUDA programming guide
// and the architectures' white papers).
static std::pair<double, double> flops_per_clock(int sm) {
  if (sm >= 120) return {256, 2048};
  if (sm >= 100) return {256, 8192};
  if (sm >= 90) return {256, 4096};
  if (sm >= 86) return {256, 1024};
  if (sm >= 80) return {128, 2048};
  return {128, 1024};
}

DeviceTable default_devices(const Target& target) {
  DeviceTable t;
  t.source = "the target's figures; links are guessed";
  t.contraction = 0.7;
  t.attention = 0.5;
  t.memory = 0.85;
  if (target.backend != Backend::cuda) {
    t.name = t.device = "cpu";
    t.flops[DeviceTable::f32] = 1e11;
    t.memory_rate = 2e10;
    t.launch_s = 2e-6;
    t.tiers = {{"shared memory", 1 << 16, 2e-5, 2e-6, {{0, 4e9}}}};
    return t;
  }
  t.name = t.device = target.gpu.device;
  const auto [f32, f16] = flops_per_clock(target.gpu.sm);
  const double clocks = 1e6 * target.gpu.clock_mhz * target.gpu.multiprocessors;
  t.flops[DeviceTable::f32] = f32 * clocks;
  t.flops[DeviceTable::f16] = f16 * clocks;
  t.flops[DeviceTable::tf32] = target.gpu.has(Gpu::tf32_mma) ? f16 / 2 * clocks : 0;
  t.flops[DeviceTable::i8] = target.gpu.has(Gpu::int8_mma) ? f16 * 2 * clocks : 0;
  t.flops[DeviceTable::f8] = target.gpu.has(Gpu::fp8_mma) ? f16 * 2 * clocks : 0;
  t.memory_rate = target.gpu.memory_rate;
  t.launch_s = 3e-6;
  t.tiers = {{"NVLink", 1 << 16, 3e-6, 1e-6, {{0, 3e11}}}};
  return t;
}

}  // namespace weft
