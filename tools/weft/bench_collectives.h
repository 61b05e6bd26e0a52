// weft bench --collectives: what the ranks' exchanges take, by transport, kind and size, without a model.
#pragma once

#include "tools/weft/cli.h"

namespace weft::cli {

// Over all ranks of the mesh that the options name: threads of this process, or the processes of a job. On the target's GPUs
// through each transport there is, and through host memory. Times are medians of rank 0.
Status bench_collectives(Cli& cli);

}  // namespace weft::cli
