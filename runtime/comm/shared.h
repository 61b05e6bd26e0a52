// The communicator of ranks on one machine, over a board (board.h). Threads and processes differ in where the memory comes
// from and in how the death of a rank is noticed: that is a BoardJob.
//
// A collective is cut into pieces of an area: pack, barrier, deliver. Areas alternate, so one barrier a piece is enough: who
// packs into an area again has passed the barrier after the one in which it was read. Large pieces of an all_reduce are
// reduced by the ranks in equal slices, which takes a second barrier and gives the same bits.
#pragma once

#include "runtime/comm/board.h"

namespace weft {

class BoardJob {
 public:
  virtual ~BoardJob() = default;
  // The board's memory of a new group, the same for each rank that asks with this key. `first`: this rank is the group's rank 0.
  virtual Result<std::shared_ptr<SharedMemory>> memory(const std::string& key, int ranks, bool first) = 0;
  // Says which process is gone. Asked every 50 ms by whoever waits; thread safe.
  virtual std::optional<Error> lost() = 0;
  virtual const char* transport() const = 0;
};

// Rank `rank` of the job's first group.
Result<std::unique_ptr<Communicator>> board_communicator(std::shared_ptr<BoardJob> job, int rank, int size, const CommOptions& options);

}  // namespace weft
