// The ranks of a model that run in this process: a thread for each but the first, whose work the caller's thread does.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "frontend/api/runtime/executable_state.h"

namespace weft::api {

class RankTeam {
 public:
  explicit RankTeam(int ranks);
  ~RankTeam();  // waits for the threads
  // f(rank) on all ranks at once; returns when all have. The first rank's Error, else another one's. Where a rank fails while
  // others are at work, and they do not end soon, `abort` is called: they may wait for it in a collective.
  Status run(const std::function<Status(int)>& f, const std::function<void(const Error&)>& abort);

 private:
  void serve(int rank);
  void work(int rank);

  std::mutex mutex_;
  std::condition_variable begin_, end_;
  const std::function<Status(int)>* f_ = nullptr;
  const std::function<void(const Error&)>* abort_ = nullptr;
  uint64_t turn_ = 0;
  int at_work_ = 0, here_ = 0;  // ranks whose f has not returned; ranks that may still call abort
  bool stop_ = false;
  std::optional<Error> aborted_;  // why: what the others then fail of says less
  std::vector<Status> results_;
  std::vector<std::thread> threads_;
};

// An executable for each rank of the plan's mesh that runs in this process, made at the same time as all others. A group of
// processes has one here, and its Error is every rank's; else ranks are threads, and divide the threads of `parts` between them.
// check_plan comes before. devices: of threads, rank r's is devices[r % size], with the functions that `load` finds in it; empty:
// parts.device and its functions for all.
Result<LocalRanks> make_local_ranks(ExecutableParts parts, const std::optional<Group>& group, const std::vector<std::shared_ptr<Device>>& devices = {},
                                    const std::function<Status(ExecutableParts&)>& load = {});
// The GPU that this process takes where the first rank of the machine takes `device`: the next one for each rank, in turn.
Result<int> device_here(const std::optional<Group>& group, int device);

}  // namespace weft::api
