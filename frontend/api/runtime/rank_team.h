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

// Finds the kernels of a stage in parts.device, which becomes parts.functions.
using LoadFunctions = std::function<Status(ExecutableParts& parts, size_t stage)>;
// An executable for each rank of the plans' mesh that runs in this process, made at the same time as all others. A group of
// processes has one here, and its Error is every rank's; else ranks are threads, and divide the threads of the first stage's parts
// between them. stages: what the ranks of each have in common; those that do not run here need nothing but their plan. check_plans
// comes before. devices: of threads, rank r's is devices[r % size]; empty: there are none.
Result<LocalRanks> make_local_ranks(std::vector<ExecutableParts> stages, const std::optional<Group>& group,
                                    const std::vector<std::shared_ptr<Device>>& devices, const LoadFunctions& load);
// A GPU for each rank of this process, the first one, number `device`, given, in the driver's order; where there are fewer, ranks
// share them, which becomes a note.
Result<std::vector<std::shared_ptr<Device>>> rank_devices(const std::optional<Group>& group, std::shared_ptr<Device> first, int device, int64_t ranks,
                                                          double gpu_memory, std::vector<std::string>& notes);
// The GPU that this process takes where the first rank of the machine takes `device`: the next one for each rank, in turn.
Result<int> device_here(const std::optional<Group>& group, int device);

}  // namespace weft::api
