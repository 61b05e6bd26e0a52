// Independent pieces of work in child processes: a crash costs one piece, not the run.
#pragma once

#include <functional>
#include <string>

#include "ir/base/result.h"

namespace weft::cli {

// Calls work(i) for each i of [0, count) in one of `jobs` child processes, and done(i, what it returned) in this one, in the
// order in which they end. crashed(i, why) instead of done when the child died; another one takes over. Stops early, with
// pieces left out, once `stop` returns true. No thread may run in this process. Error kResources when there are no more
// processes.
Status run_jobs(int count, int jobs, const std::function<std::string(int)>& work, const std::function<void(int, std::string)>& done,
                const std::function<void(int, std::string)>& crashed, const std::function<bool()>& stop);

}  // namespace weft::cli
