// What this machine can do at best, measured: multiply-adds in registers, and copies within the caches and through memory.
// The share of its roof says how near a kernel comes to the time that these rates allow it.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "ir/base/target.h"

namespace weft::cli {

struct Roof {
  double flops_per_s = 0;  // f32 multiply-adds count two
  // Bytes read and written a second, by the bytes touched: up to .first, ascending; the last entry holds for all above.
  std::vector<std::pair<int64_t, double>> bytes_per_s;

  double rate_for(int64_t bytes) const;
  // The least seconds for so much work, done in `calls` equal launches.
  double seconds(double flops, double bytes, int64_t calls) const;
};

// Takes about a fifth of a second with `threads` threads.
Roof measure_roof(const Target& target, int threads);

}  // namespace weft::cli
