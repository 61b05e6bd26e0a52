// Which mesh a number of devices becomes: every way to write it as a product of axes is shared out and partitioned as a
// compilation would do it, and what comes out is priced (predict.h). The fastest one that fits into a device's memory wins.
//
// Beside it a plain rule to compare with: prime factor by prime factor, the axis for which a step then exchanges least for what it
// computes; memory does not count.
#pragma once

#include "passes/pass_manager.h"
#include "passes/shard/predict.h"

namespace weft {

struct MeshCandidate {
  Mesh mesh;
  std::string impossible;  // why it was not shared out; else what is predicted:
  Prediction prediction;
  bool fits = true;
};

struct MeshPlan {
  DeviceTable devices;
  SymbolValues symbols;                   // what symbolic dims count with
  std::vector<MeshCandidate> candidates;  // the fastest that fit, then those that do not, then those that cannot be
  MeshCandidate one;                      // a single device
  MeshCandidate greedy;
  const MeshCandidate* best() const { return candidates.empty() || !candidates[0].fits || !candidates[0].impossible.empty() ? nullptr : &candidates[0]; }
};

// m: a module as it comes to the pass `shard`; it is not changed. cx: the target and the devices; its mesh does not count.
// Error kUsage for more devices than the table has; Errors of passes.
Result<MeshPlan> plan_mesh(const Module& m, const PassContext& cx, int64_t devices);

}  // namespace weft
