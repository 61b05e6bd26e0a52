// A region tree as a list of steps; part of compile_plan.
#pragma once

#include "runtime/executor/code.h"

namespace weft {

// code: its tables are complete, its programs not yet.
Result<Program> flatten(const Plan& plan, const ExecutableParts& parts, PlanCode& code, const Region& tree);

}  // namespace weft
