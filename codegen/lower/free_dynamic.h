// Gives dynamic buffers back when a run needs them no more.
#pragma once

#include "ir/plan/plan.h"

namespace weft {

void free_dynamic(Plan& p);

}  // namespace weft
