// What one rank of a partitioned module takes: seconds of a step, by kinds of ops and by collectives, and bytes of memory.
//
// Seconds add up, but for exchanges that run beside what computes (see Timeline), in the order of the graph. Memory is what
// must be there at once: weights as the rank reads them, states with the lengths at hand (one that is overwritten twice), and
// the most bytes of activations alive between two ops, in the order of the graph; inputs are among these.
//
// The stages of a pipeline work one behind the other, and the one that needs most memory counts; each microbatch behind the
// first adds what the slowest stage takes, and has states of its own.
#pragma once

#include "passes/shard/cost.h"

namespace weft {

struct Prediction {
  struct Part {
    std::string what;   // "products", "attention", "other"; of exchanges "all_reduce tp", "recv pp"
    int64_t ops = 0;
    double seconds = 0;
    double bytes = 0;   // of exchanges: of the tensors
  };
  std::vector<Part> compute, exchanges;
  double flops = 0;
  double hidden_s = 0; // seconds of exchanges beside what computes
  double waves_s = 0;  // seconds of the microbatches behind the first one
  double weight_bytes = 0, state_bytes = 0, activation_bytes = 0;

  double compute_seconds() const { return sum(compute); }
  double exchange_seconds() const { return sum(exchanges); }
  double seconds() const { return compute_seconds() + exchange_seconds() - hidden_s + waves_s; }
  double bytes() const { return weight_bytes + state_bytes + activation_bytes; }

 private:
  static double sum(const std::vector<Part>& parts);
};

// beside: exchanges run beside what computes. microbatches: of a pipeline; its symbols have the sizes of one.
Prediction predict(const Module& m, const ShardingCosts& costs, bool beside = false, int64_t microbatches = 1);

}  // namespace weft
