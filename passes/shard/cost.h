// What sharing out takes: seconds of ops and of exchanges, by a roofline of the device and by latency and bandwidth of the
// links between ranks. Symbolic dims count with their optimum, else with a small number in their range.
#pragma once

#include "ir/base/target.h"
#include "ir/ops/sharding.h"

namespace weft {

class ShardingCosts {
 public:
  ShardingCosts(const Module& m, const Target& target);

  double bytes(const Value& v) const;
  // Of one rank, where an axis of `size` ranks cuts factor f (-1: none).
  double seconds(const Op& op, const ShardingRule& rule, int f, int64_t size) const;

  // bytes: of the whole tensor that the group has in the end (all_to_all: of one rank's part).
  double all_gather(double bytes, int64_t n) const { return latency_ + bytes * share(n) / link_; }
  double reduce_scatter(double bytes, int64_t n) const { return latency_ + bytes * share(n) / link_; }
  double all_reduce(double bytes, int64_t n) const { return 1.5 * latency_ + 2 * bytes * share(n) / link_; }
  double all_to_all(double bytes, int64_t n) const { return latency_ + bytes * share(n) / link_; }

 private:
  static double share(int64_t n) { return static_cast<double>(n - 1) / static_cast<double>(n); }
  double number(const Dim& d) const;
  double part(const Value& v, const ShardingRule::Dims& dims, const ShardingRule& rule, int f, int64_t size) const;

  SymbolValues values_;
  double flops_, memory_, link_, latency_, launch_;  // per second, bytes per second, seconds
};

}  // namespace weft
