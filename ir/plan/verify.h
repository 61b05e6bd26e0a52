// The parts of verify_plan, in the order in which they run: each relies on what those before it have shown.
#pragma once

#include "ir/plan/plan.h"

namespace weft {

Status verify_tables(const Plan& p);    // verify.cpp: symbols, constants, kernels, buffers, tensors, ports
Status verify_commands(const Plan& p);  // verify_commands.cpp
Status verify_arena(const Plan& p);     // verify_memory.cpp
Status verify_streams(const Plan& p);   // verify_streams.cpp

// No poison, all symbols declared. `what` names the place in the message.
Status verify_dim(const Plan& p, const Dim& d, const std::string& what);
// Whether a run gives the buffer memory: a caller binds one pointer per port, to where the port's tensor lies. A buffer of
// that storage elsewhere may be left over, but not used.
bool is_bound(const Plan& p, int buffer);
std::string tensor_name(const Plan& p, int t);
std::string buffer_name(const Plan& p, int b);

}  // namespace weft
