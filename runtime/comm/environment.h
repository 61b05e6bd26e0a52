// Which rank this process is: what the user says, else what the launcher says in the environment. The order is: options,
// `weft launch`, torchrun, Open MPI, PMIx and PMI (MPICH, Intel MPI), Slurm, LeaderWorkerSet; else the process is alone.
//
// Ranks find each other at a rendezvous:
//   tcp://host:port    rank 0 listens there
//   file:///dir        rank 0 listens anywhere and says where in a file of that folder, which all ranks see
//   mpi://             MPI has connected the ranks already
//   env://             what the launcher's variables say, which is also the default
// The nonce is a word of this job: who does not know it belongs to another one (a process that stayed behind, an old file).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "ir/base/result.h"

namespace weft {

struct RankPlace {
  int rank = 0, size = 1;              // size 0: MPI knows
  int local_rank = 0, local_size = 1;  // among the ranks of this machine: which device to take
  std::string rendezvous;              // URL; empty: none is known
  std::string nonce;
  int listener = -1;                   // rank 0 of `weft launch`: an inherited socket that listens at the rendezvous
  std::string source = "alone";        // who said so: "options", "weft launch", "torchrun", …
};

struct RankPlaceOptions {
  std::optional<int> rank, size, local_rank;
  std::string rendezvous, nonce;
};

// Value of a variable, null when it is not set.
using Environment = std::function<const char*(const char*)>;

// Error kUsage for values that are not there in part, are no numbers, or contradict each other.
Result<RankPlace> find_place(const RankPlaceOptions& options, const Environment& environment);
Result<RankPlace> find_place(const RankPlaceOptions& options = {});  // of this process

struct RendezvousUrl {
  enum class Kind { tcp, file, mpi } kind = Kind::tcp;
  std::string host;  // tcp
  int port = 0;
  std::string path;  // file: an absolute folder
};
Result<RendezvousUrl> parse_rendezvous(const std::string& url);

}  // namespace weft
