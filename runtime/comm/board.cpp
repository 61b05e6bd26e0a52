#include "runtime/comm/board.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/comm/futex.h"

namespace weft {

// --- memory -----------------------------------------------------------------------------------------------------------

static Error no_memory(const std::string& what) { return resources(what + ": " + std::strerror(errno)); }

Result<std::shared_ptr<SharedMemory>> SharedMemory::anonymous(size_t bytes) {
  std::shared_ptr<SharedMemory> m(new SharedMemory);
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return no_memory("cannot map " + std::to_string(bytes) + " bytes for a group of ranks");
  m->data_ = static_cast<char*>(p);
  m->size_ = bytes;
  return m;
}

Result<std::shared_ptr<SharedMemory>> SharedMemory::create(size_t bytes) {
  Descriptor fd(memfd_create("weft-ranks", MFD_CLOEXEC));
  if (!fd) return no_memory("cannot create shared memory");
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return no_memory("cannot size shared memory to " + std::to_string(bytes) + " bytes");
  return map(std::move(fd), bytes);
}

Result<std::shared_ptr<SharedMemory>> SharedMemory::map(Descriptor fd, size_t bytes) {
  std::shared_ptr<SharedMemory> m(new SharedMemory);
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
  if (p == MAP_FAILED) return no_memory("cannot map " + std::to_string(bytes) + " bytes of shared memory");
  m->fd_ = std::move(fd);
  m->data_ = static_cast<char*>(p);
  m->size_ = bytes;
  return m;
}

SharedMemory::~SharedMemory() {
  if (data_) munmap(data_, size_);
}

// --- the board --------------------------------------------------------------------------------------------------------

static_assert(std::atomic<uint32_t>::is_always_lock_free && std::atomic<uint64_t>::is_always_lock_free, "processes share them");

namespace {

struct Offsets {
  size_t states, mailboxes, areas, mails, end;
};
Offsets offsets(int ranks) {
  const size_t n = static_cast<size_t>(ranks);
  auto page = [](size_t x) { return (x + 4095) / 4096 * 4096; };
  Offsets o;
  o.states = page(sizeof(BoardHead));
  o.mailboxes = o.states + n * sizeof(RankState);
  o.areas = page(o.mailboxes + n * n * sizeof(Mailbox));
  o.mails = o.areas + n * 3 * kAreaBytes;
  o.end = o.mails + n * n * kMailBytes;
  return o;
}

}  // namespace

Board::Board(std::shared_ptr<SharedMemory> memory, int ranks) : memory_(std::move(memory)), ranks_(ranks) {}
size_t Board::bytes(int ranks) { return offsets(ranks).end; }

RankState& Board::state(int rank) const { return reinterpret_cast<RankState*>(memory_->data() + offsets(ranks_).states)[rank]; }
Mailbox& Board::mailbox(int from, int to) const {
  return reinterpret_cast<Mailbox*>(memory_->data() + offsets(ranks_).mailboxes)[from * ranks_ + to];
}
char* Board::mail(int from, int to) const { return memory_->data() + offsets(ranks_).mails + static_cast<size_t>(from * ranks_ + to) * kMailBytes; }
char* Board::area(int rank, int which) const { return memory_->data() + offsets(ranks_).areas + static_cast<size_t>(rank * 3 + which) * kAreaBytes; }

void store_record(std::atomic<uint64_t>* words, const FlightRecord& r) {
  uint64_t raw[sizeof r / 8];
  std::memcpy(raw, &r, sizeof r);
  for (size_t i = 0; i < std::size(raw); ++i) words[i].store(raw[i], std::memory_order_relaxed);
}
FlightRecord load_record(const std::atomic<uint64_t>* words) {
  uint64_t raw[sizeof(FlightRecord) / 8];
  for (size_t i = 0; i < std::size(raw); ++i) raw[i] = words[i].load(std::memory_order_relaxed);
  FlightRecord r;
  std::memcpy(static_cast<void*>(&r), raw, sizeof r);
  return r;
}

void Board::write_record(int rank, const FlightRecord& r) const {
  RankState& s = state(rank);
  const uint32_t i = s.written.load(std::memory_order_relaxed);
  store_record(s.records[i % kFlightRecords], r);
  s.written.store(i + 1, std::memory_order_release);
}
void Board::finish_record(int rank, FlightRecord r) const {
  RankState& s = state(rank);
  r.done = 1;
  store_record(s.records[(s.written.load(std::memory_order_relaxed) - 1) % kFlightRecords], r);
}
std::vector<FlightRecord> Board::records(int rank) const {
  const RankState& s = state(rank);
  const uint32_t written = s.written.load(std::memory_order_acquire), n = std::min<uint32_t>(written, kFlightRecords);
  std::vector<FlightRecord> out;
  for (uint32_t i = written - n; i != written; ++i) out.push_back(load_record(s.records[i % kFlightRecords]));
  return out;
}

// --- the job's end ----------------------------------------------------------------------------------------------------

static void write_text(char* to, size_t size, const std::string& text) {
  const size_t n = std::min(text.size(), size - 1);
  std::memcpy(to, text.data(), n);
  to[n] = 0;
}

bool stop_job(BoardHead& job, int rank, const Error& why) {
  uint32_t runs = 0;
  if (!job.stopped.compare_exchange_strong(runs, 1)) return false;
  job.stop_rank = rank;
  job.stop_code = static_cast<int32_t>(why.code);
  std::string text = why.message;
  if (!why.node.empty()) text += "\n  node: " + why.node;
  write_text(job.stop_text, sizeof job.stop_text, text);
  write_text(job.stop_hint, sizeof job.stop_hint, why.hint);
  job.stopped.store(2, std::memory_order_release);
  job.gate.fetch_add(1);
  futex_wake_all(job.gate);
  return true;
}

std::optional<Error> job_stopped(BoardHead& job, int my_rank) {
  if (job.stopped.load(std::memory_order_acquire) != 2) return {};
  const int code = std::clamp(job.stop_code, static_cast<int32_t>(Code::kCheckFailed), static_cast<int32_t>(Code::kCancelled));
  const std::string text(job.stop_text, strnlen(job.stop_text, sizeof job.stop_text));
  const bool told = job.stop_rank >= 0 && job.stop_rank != my_rank;
  Error e = error(static_cast<Code>(code), told ? "rank " + std::to_string(job.stop_rank) + " failed: " + text : text);
  if (job.stop_hint[0]) e.with_hint(std::string(job.stop_hint, strnlen(job.stop_hint, sizeof job.stop_hint)));
  return e;
}

}  // namespace weft
