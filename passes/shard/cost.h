// What sharing out takes: seconds of ops and of exchanges, by a roofline of the device and by the links between ranks (see
// device_table.h). Symbolic dims count with their optimum, else with a small number in their range.
//
// What becomes one kernel later counts as one here: a result that the next pointwise op alone reads does not go through memory,
// and pointwise ops are not launched by themselves.
#pragma once

#include "ir/ops/sharding.h"
#include "passes/shard/device_table.h"
#include "passes/shard/forms.h"

namespace weft {

class ShardingCosts {
 public:
  // All three must outlive it.
  ShardingCosts(const Module& m, const DeviceTable& devices, const Mesh& mesh);

  double number(const Dim& d) const;
  double bytes(const Value& v) const;
  // Of one rank, where an axis of `size` ranks cuts factor f (-1: none).
  double seconds(const Op& op, const ShardingRule& rule, int f, int64_t size) const;
  // Likewise, where the mesh has cut it already, and computes so many times slower than it could.
  double seconds(const Op& op, const Cuts& ranks, int f, int64_t size, double slower) const;
  // Of the op as it is.
  double seconds(const Op& op) const { return seconds(op, ShardingRule(op), -1, 1); }
  // Of a collective. A send takes nothing: who receives it waits.
  double exchange_seconds(const Op& op) const;
  // The most bytes that a collective has of a tensor on a rank.
  double exchange_bytes(const Op& op) const;
  double flops(const Op& op) const;
  const SymbolValues& symbols() const { return values_; }
  // The ranks that differ along these axes.
  LinkGroup group(const std::vector<std::string>& axes) const { return {devices_, mesh_, axes}; }

 private:
  double seconds(const Op& op, const ShardingRule& rule, int f, int64_t size, double flops) const;
  double part(const Value& v, const ShardingRule::Dims& dims, const ShardingRule& rule, int f, int64_t size) const;

  const DeviceTable& devices_;
  const Mesh& mesh_;
  SymbolValues values_;
};

}  // namespace weft
