// What a public Group holds, and the points at which the ranks of a job wait for each other.
//
// Processes agree by exchanges, each of which is a turn of every rank: whoever fails says so in place of what it would have
// said, and nobody is left waiting. All ranks must come to the same points in the same order; one that does not is an Error.
#pragma once

#include "runtime/comm/rendezvous.h"
#include "weft/group.h"

namespace weft {
struct Mesh;
struct Plan;
}

namespace weft::api {

struct Group::State {
  int rank = 0, size = 1;
  std::string source = "threads";
  CommOptions comm;
  std::shared_ptr<Rendezvous> meeting;  // null: the ranks are threads, or the others are not there
  std::shared_ptr<Communicator> world;  // of processes; null: the ranks are threads
  int local_rank = 0;
  int threads = 0;                      // of processes: this one's share of the processors
};

// Whether this process is one rank of several or all of them; no group: all.
inline bool has_processes(const std::optional<Group>& g) { return g && g->state()->world; }

// Threads for runs, where nothing else is said.
int threads_of(const std::optional<Group>& g);

// All processes of the group come to `step`. `mine`: how far this one has come. The same verdict for all: the Error of the first
// that failed, or of facts that are not rank 0's.
Status agree(const Group& g, const std::string& step, const Status& mine, const std::vector<std::pair<std::string, std::string>>& facts = {});

// The stage that a rank runs, of so many.
size_t stage_of(const Mesh& mesh, size_t stages, size_t rank);
// Whether this process has ranks that run the plan.
bool runs_here(const std::optional<Group>& g, const Plan& plan);
// Whether these are the plans of all stages, in their order, the group has the size of their mesh, and its processes the same
// plans. Without a group: threads can always be made.
Status check_plans(const std::optional<Group>& g, const std::vector<const Plan*>& plans);

}  // namespace weft::api
