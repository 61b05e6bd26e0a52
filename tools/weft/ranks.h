// The ranks of a model with a mesh: threads of this process; or, in a job that a launcher has started, its processes, of which
// this one is a rank. All of them do the same, and the first one alone says what came out.
#pragma once

#include "tools/weft/cli.h"

namespace weft::cli {

// --rendezvous, --comm-timeout
void add_rank_options(Verb& v, Cli& cli);
// For the mesh that the options name, that is planned (--parallel auto), or that the model (.weft) was compiled for: sets
// cli.group, and joins the job if there is one; nothing where the mesh has one rank. Error kUsage for a mesh that has another
// size than the job. No thread may run before.
// alone: this process is the first rank, and the others are not there.
Status join_ranks(Cli& cli, const std::string& model, bool alone = false);
// At the end: who failed tells the others, and who did not waits until all have finished. The verdict on this rank.
Status leave_ranks(Cli& cli, Status status);
// The first rank's number, where ranks are processes: for what each would measure differently.
Result<int64_t> same_for_all(const Cli& cli, int64_t mine);

}  // namespace weft::cli
