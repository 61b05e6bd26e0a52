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

  // Of an operation of all: for them to come, or, once they are there, for data; or an operation of one other rank.
  enum class Waiting : uint8_t { for_all, for_data, for_one };
  // Until the operation that was begun on `comm` is done; else, because of the time-out, of options.cancel or of MPI, the Error that
  // `late` makes of "waited 300 ms for rank 3" or the like, which ends the job. ranks: those of `comm`, in the world; come: a flag
  // for each, whether it is not waited for, which weft_mpi::test sets in operations of all.
  Status finish(void* comm, const std::vector<int>& ranks, const CommOptions& options, std::vector<uint8_t>& come, Waiting what,
                const std::function<Error(const std::string&)>& late);

  std::optional<Error> failure();  // also listens for the last word of another rank
  // Ends the job with the first cause. `rank` as in stop_job: -1 when the text holds for all.
  void stop(int rank, const Error& why) { stop(rank, why, everybody()); }

 private:
  // heard_by: a flag for each rank that is told why; empty: none is.
  void stop(int rank, const Error& why, const std::vector<uint8_t>& heard_by);
  std::vector<uint8_t> everybody() const { return std::vector<uint8_t>(static_cast<size_t>(place_.size), 1); }

  const weft_mpi* api_;
  void* world_;
  weft_mpi_place place_;
  std::mutex mutex_;
  std::optional<Error> failure_;
};

// All ranks of the job, on a communicator of their own. Collective.
Result<std::unique_ptr<Communicator>> mpi_ranks(std::shared_ptr<MpiJob> job, const CommOptions& options);

}  // namespace weft
