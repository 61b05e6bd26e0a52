// The memory through which the ranks of one machine meet: a block that every rank of a group maps. It holds what each
// rank is doing, an area for the data of each, and a mailbox for each ordered pair. Memory of zeros is an empty board, so
// nobody has to come first. Ranks are threads (anonymous memory) or processes (a memfd): the code is the same.
//
// A barrier is a counter for each rank: the last one that arrives wakes the others, who sleep on `gate`. They wake every
// 50 ms at the latest to see whether the job has stopped, a rank is gone, or the time is over.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "runtime/comm/descriptor.h"
#include "runtime/comm/flight.h"

namespace weft {

constexpr int kMaxBoardRanks = 256;
constexpr int64_t kAreaBytes = 1 << 20;  // of a piece; each rank has two to alternate between, and one for what it reduced
constexpr int64_t kMailBytes = 1 << 16;

// Zeros, backed when they are touched. The owner unmaps.
class SharedMemory {
 public:
  static Result<std::shared_ptr<SharedMemory>> anonymous(size_t bytes);
  // A memfd, which ends with the last process that has it; and one that another process opened, by its descriptor.
  static Result<std::shared_ptr<SharedMemory>> create(size_t bytes);
  static Result<std::shared_ptr<SharedMemory>> map(Descriptor fd, size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  char* data() const { return data_; }
  size_t size() const { return size_; }
  int fd() const { return fd_.get(); }  // -1: anonymous

 private:
  SharedMemory() = default;
  char* data_ = nullptr;
  size_t size_ = 0;
  Descriptor fd_;
};

struct alignas(64) RankState {
  std::atomic<uint32_t> phase;  // barriers that this rank has come to
  std::atomic<uint32_t> left;   // it has given up its communicator
  std::atomic<uint32_t> written;  // records, ever
  std::atomic<uint64_t> posted[2][sizeof(FlightRecord) / 8];  // what it runs, in turns as the areas
  // As words, since others read them at any time: they may see a mixture, for a diagnosis.
  std::atomic<uint64_t> records[kFlightRecords][sizeof(FlightRecord) / 8];
};

struct alignas(64) Mailbox {
  std::atomic<uint32_t> full;  // 0: the sender's turn, 1: the receiver's
  std::atomic<uint64_t> record[sizeof(FlightRecord) / 8];
};

struct BoardHead {
  alignas(64) std::atomic<uint32_t> gate;
  // Of the job's first board: 0 runs, 1 somebody writes why not, 2 stopped.
  alignas(64) std::atomic<uint32_t> stopped;
  int32_t stop_rank, stop_code;     // rank -1: a verdict that holds for all
  char stop_text[12288], stop_hint[512];
};

// A typed view of the memory.
class Board {
 public:
  Board() = default;
  Board(std::shared_ptr<SharedMemory> memory, int ranks);
  static size_t bytes(int ranks);

  BoardHead& head() const { return *reinterpret_cast<BoardHead*>(memory_->data()); }
  RankState& state(int rank) const;
  Mailbox& mailbox(int from, int to) const;
  char* mail(int from, int to) const;
  char* area(int rank, int which) const;  // 0, 1: alternating; 2: reduced

  void write_record(int rank, const FlightRecord& r) const;  // a new one
  void finish_record(int rank, FlightRecord r) const;        // the newest one, done
  std::vector<FlightRecord> records(int rank) const;         // oldest first

 private:
  std::shared_ptr<SharedMemory> memory_;
  int ranks_ = 0;
};

void store_record(std::atomic<uint64_t>* words, const FlightRecord& r);
FlightRecord load_record(const std::atomic<uint64_t>* words);

// The job's end. The first cause stays; false: there was one already. `rank` is -1 when the text holds for all as it is.
bool stop_job(BoardHead& job, int rank, const Error& why);
// The cause, as a rank other than the one that failed sees it; nothing while the job runs.
std::optional<Error> job_stopped(BoardHead& job, int my_rank);

}  // namespace weft
