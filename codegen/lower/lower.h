// Lowering: a Module after the passes -> Plan and KernelSpecs. One op (or `fused` op) becomes one or more kernels, a view,
// a host call or a region of commands.
#pragma once

#include "codegen/tuning.h"
#include "ir/core/module.h"
#include "ir/plan/plan.h"

namespace weft {

struct Lowered {
  Plan plan;
  std::vector<KernelSpec> specs;      // parallel to plan.kernels
  std::vector<int> constants;         // plan.constants[i] is module.constants[constants[i]]; -1: it was made of others
};

// A plan for each of the module's graphs, which are the stages of a pipeline; else it has one. Error kUnsupported with every op
// that the target cannot run, before any kernel is built.
// tuning: what was measured, for choosing; else null. ordered_sums: KernelSpec::ordered of all kernels.
Result<std::vector<Lowered>> lower_module(Module& m, const Target& target, const Tuning* tuning = nullptr, bool ordered_sums = false);

}  // namespace weft
