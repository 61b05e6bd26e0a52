// Which mesh a number of devices becomes: every way to write it as a product of axes is shared out and partitioned as a
// compilation would do it, and what comes out is priced (predict.h). The fastest one that fits into a device's memory wins. A mesh
// is not priced where its share of what one device computes takes longer than one that was found already, or its share of the weights
// does not fit.
//
// Beside it a plain rule to compare with, `greedy`: of those that were priced, the one whose step exchanges least for what it
// computes; neither its time nor its memory counts.
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
  std::vector<MeshCandidate> candidates;  // the fastest that fit, then those that do not, then those that were not shared out
  MeshCandidate one;                      // a single device
  MeshCandidate greedy;
  const MeshCandidate* best() const { return candidates.empty() || !candidates[0].fits || !candidates[0].impossible.empty() ? nullptr : &candidates[0]; }
};

// m: a module as it comes to the passes that share it out; it is not changed. cx: the target and the devices; its mesh does not
// count. microbatches: in how many parts the batch goes through a pipeline. A mesh for which a pass has an Error is impossible.
// Error kUsage for more devices than the table has; kCancelled.
Result<MeshPlan> plan_mesh(const Module& m, const PassContext& cx, int64_t devices, int64_t microbatches = 1);
// The same of cx.mesh alone.
Result<MeshCandidate> price_mesh(const Module& m, const PassContext& cx, int64_t microbatches = 1);

}  // namespace weft
