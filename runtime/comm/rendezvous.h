// Where the ranks of a job meet: they find each other, compare what they are about to run, hand each other small values
// (NCCL's unique id, the address of shared memory), and learn when one of them dies. Rank 0 is the meeting point.
//
//   auto place = find_place();                        // environment.h
//   auto meeting = join_job(*place, {.facts = {{"artefact", hash}, {"mesh", "tp:4"}}});
//   auto world = (*meeting)->host_ranks({});          // collectives on host memory; ends before the meeting
//   auto id = (*meeting)->broadcast(my_nccl_id);      // rank 0's, for NCCL
//
// weft has no data transport of its own beyond one machine: there, collectives on host memory need MPI.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/comm/environment.h"

namespace weft {

struct JoinOptions {
  std::chrono::milliseconds timeout{60'000};  // until all ranks are there
  // Name and value, the same on all ranks: what is compared before anything runs. weft's version is always among them.
  std::vector<std::pair<std::string, std::string>> facts;
};

// All of it is thread safe.
class Rendezvous {
 public:
  virtual ~Rendezvous() = default;  // leaves the job in good order: who goes without it has died
  Rendezvous() = default;
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  const RankPlace& place() const { return place_; }  // with the size and rank that hold

  // The root's bytes (at most 1 MiB) on every rank; all ranks call it in the same order. Error kDevice when the root does not
  // come within the time-out; 0 is that of joining.
  virtual Result<std::string> broadcast(const std::string& bytes, int root = 0, std::chrono::milliseconds timeout = {}) = 0;
  // A rank has died or called abort: an Error that names it. Cheap.
  virtual std::optional<Error> failure() const = 0;
  // Makes that happen for the others.
  virtual void abort(const Error& why) = 0;
  // All ranks, on host memory. Error kUnsupported when no transport reaches them all.
  virtual Result<std::unique_ptr<Communicator>> host_ranks(const CommOptions& options) = 0;

 protected:
  RankPlace place_;
};

// Blocks until all ranks have come. Error kDevice that names the missing ranks after the time-out, kUsage for facts that
// differ, with both values. A place of one rank needs no rendezvous.
Result<std::shared_ptr<Rendezvous>> join_job(const RankPlace& place, const JoinOptions& options = {});

}  // namespace weft
