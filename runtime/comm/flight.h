// The flight recorder: what a rank's last collectives were, in a fixed size that processes can share. Two ranks' records
// tell whether they run the same collective.
#pragma once

#include "runtime/comm/communicator.h"

namespace weft {

struct FlightRecord {
  uint64_t sequence = 0;  // counts from 1 in each communicator, send and recv for each pair; 0: empty
  uint64_t label_hash = 0;   // send, recv: 0
  uint64_t detail_hash = 0;  // of extents, root and pairs; send, recv: of the tag
  int64_t bytes = 0;         // of the operand (recv: of the result)
  uint8_t kind = 0, dtype = 0, reduction = 0, done = 0;
  char label[60] = {};  // its end is cut off

  // Whether two ranks may meet in this; a send and its recv, too.
  bool same_as(const FlightRecord& o) const;
  std::string to_string() const;  // #3 all_reduce sum f16 8192 bytes "MatMul_7"
};
static_assert(sizeof(FlightRecord) == 96);

constexpr int kFlightRecords = 10;

FlightRecord flight_record(const Collective& c, uint64_t sequence, int64_t bytes);

// Oldest first; one line each, "(none)" for none.
std::string flight_text(std::span<const FlightRecord> records);

// "rank 1 runs #3 …, rank 0 runs #3 …", and the last ten of both.
Error out_of_step(int rank, std::span<const FlightRecord> mine, int other, std::span<const FlightRecord> theirs);

}  // namespace weft
