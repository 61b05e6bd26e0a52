// Ranks as threads of one process: simulated ranks, and models on several targets of one process.
#pragma once

#include "runtime/comm/communicator.h"

namespace weft {

// n communicators, one for each rank; each may go to a thread of its own. Error kResources for n < 1 or n > 256.
Result<std::vector<std::unique_ptr<Communicator>>> thread_ranks(int n, const CommOptions& options = {});

}  // namespace weft
