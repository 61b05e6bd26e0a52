// Collectives beside other work.
#pragma once

#include "ir/plan/plan.h"

namespace weft {

// A collective behind which stand commands that need nothing of it gets an event: it runs beside them, and the first one
// that needs its result, or writes over its operand, is behind a wait for it. Control flow waits for all that is under way.
void start_collectives(Region& region, const Plan& p);

}  // namespace weft
