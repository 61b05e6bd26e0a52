// What the communicators of an MPI job share: the plugin, one lock for all calls of it, and the first failure. MPI's
// operations never block here: one is begun, then looked at until it is done, the time is over, or somebody has failed.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "runtime/comm/communicator.h"
#include "runtime/comm/mpi/plugin.h"

namespace weft {

class MpiJob {
 public:
  MpiJob(const weft_mpi* api, void* world, const weft_mpi_place& place) : api_(api), world_(world), place_(place) {}
  ~MpiJob() { api_->close(world_); }
  MpiJob(const MpiJob&) = delete;
  MpiJob& operator=(const MpiJob&) = delete;

  const weft_mpi_place& place() const { return place_; }
  void* world() const { return world_; }

  // f(api) under the lock; the Error of a code that is not 0.
  Status call(const std::function<int(const weft_mpi&)>& f, const std::string& doing);

  // Until the operation that was begun on `comm` is done. `come` (optional, after meet): who has come. `late` makes the Error
  // of the time-out, which ends the job.
  Status finish(void* comm, std::chrono::milliseconds timeout, std::vector<uint8_t>* come, const std::function<Error()>& late);

  std::optional<Error> failure();  // also listens for the last word of another rank
  // Ends the job with the first cause. `rank` as in stop_job: -1 when the text holds for all.
  void stop(int rank, const Error& why);

 private:
  const weft_mpi* api_;
  void* world_;
  weft_mpi_place place_;
  std::mutex mutex_;
  std::optional<Error> failure_;
};

// All ranks of the job, on a communicator of their own. Collective.
Result<std::unique_ptr<Communicator>> mpi_ranks(std::shared_ptr<MpiJob> job, const CommOptions& options);

}  // namespace weft
