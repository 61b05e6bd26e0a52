// Which commands run beside each other on a device.
#pragma once

#include "ir/plan/plan.h"

namespace weft {

// Collectives run beside commands that need nothing of them: they get events, which whoever needs their results waits for.
// Where there are such, chains of launches that need nothing of each other run on two streams, 0 and 1, so that one goes on
// while the other one waits for its exchange, and fills what the other leaves free. Everything else is on stream 0 and waits for
// all before it, and so does the end of the region. The order of commands stays.
void assign_streams(Plan& p);

// Behind assign_lifetimes: what is accessed while both streams are at work keeps its bytes from when they part until they meet.
void widen_lifetimes(Plan& p);

}  // namespace weft
