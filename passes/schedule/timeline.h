// When the ops of a graph run on a device whose collectives run beside its kernels, by what ShardingCosts says of them: kernels
// one behind the other; collectives likewise; a collective begins when all kernels before it in the order have ended, and a
// kernel when what it reads is there.
#pragma once

#include <unordered_map>
#include <vector>

#include "passes/shard/cost.h"

namespace weft {

class Timeline {
 public:
  // Kernels beside which something is exchanged take longer by this share of the exchange: it has multiprocessors and bandwidth
  // of its own. Measured on two H200 with NCCL.
  static constexpr double kBeside = 0.5;

  explicit Timeline(const ShardingCosts& costs) : costs_(costs) {}

  // The next op; what it reads has been there before, or is a constant or an input.
  void add(const Op& op);
  // From when on all that the op reads is there.
  double ready(const Op& op) const;

  double seconds(const Op& op) const;  // of kernels

  double kernels_end() const { return kernels_; }
  double end() const { return kernels_ > collectives_ ? kernels_ : collectives_; }
  double exchanging() const { return exchanging_; }               // seconds of collectives
  double exposed() const { return end() - computing_; }           // seconds in which no kernel runs

 private:
  const ShardingCosts& costs_;
  std::unordered_map<const Op*, double> ends_;
  double kernels_ = 0, collectives_ = 0;
  double computing_ = 0, exchanging_ = 0;
};

inline bool is_collective(const Op& op) { return op_def(op).family == Family::collective; }

}  // namespace weft
