#include "runtime/comm/shared.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "ir/base/text.h"
#include "runtime/comm/exchange.h"
#include "runtime/comm/futex.h"
#include "runtime/comm/reduce.h"
#include "runtime/cpu/thread_pool.h"

namespace weft {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kLook{50};   // between looks at whether the job still runs
constexpr std::chrono::microseconds kAlone{3}, kSpin{50};    // before the first sleep
constexpr int64_t kSlicedBytes = 1 << 16;        // pieces of an all_reduce from here on are shared out

class BoardCommunicator final : public Communicator {
 public:
  BoardCommunicator(std::shared_ptr<BoardJob> job, std::string key, Board world, Board board, std::vector<int> world_ranks, int rank,
                    int world_size, const CommOptions& options)
      : job_(std::move(job)), key_(std::move(key)), world_(std::move(world)), board_(std::move(board)), world_ranks_(std::move(world_ranks)),
        rank_(rank), world_size_(world_size), options_(options), spins_(options.spins.value_or(world_size <= usable_cores())),
        mails_(world_ranks_.size()) {}
  ~BoardCommunicator() override {
    board_.state(rank_).left.store(1);
    wake();
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_ranks_.size()); }
  const char* transport() const override { return job_->transport(); }
  std::string history() const override { return flight_text(board_.records(rank_)); }

  void abort(const Error& why) override {
    stop_job(world_.head(), world_ranks_[static_cast<size_t>(rank_)], why);
    wake();
  }

  Status run(const Collective& c, const void* in, void* out) override {
    if (std::optional<Error> e = job_stopped(world_.head(), world_rank())) return *e;
    Result<CollectiveBytes> bytes = collective_bytes(c, size());
    if (bytes.ok() && (c.kind == CollectiveKind::send || c.kind == CollectiveKind::recv) && c.root == rank_)
      bytes = invalid("rank " + std::to_string(world_rank()) + " exchanges with itself");
    if (!bytes.ok()) return fail(std::move(bytes.error().at_node(c.label)));
    switch (c.kind) {
      case CollectiveKind::send: return send(c, static_cast<const char*>(in), bytes->in);
      case CollectiveKind::recv: return recv(c, static_cast<char*>(out), bytes->out);
      default: return together(c, in, out, *bytes);
    }
  }

  Result<std::unique_ptr<Communicator>> split(std::span<const int> ranks) override {
    if (std::optional<Error> e = job_stopped(world_.head(), world_rank())) return *e;
    Result<int> mine = place_in_group(ranks, rank_, size());
    if (!mine.ok()) return fail(std::move(mine.error()));
    std::vector<int> members;
    std::string key = key_ + "/";
    for (int r : ranks) {
      members.push_back(world_ranks_[static_cast<size_t>(r)]);
      key += std::to_string(members.back()) + ".";
    }
    key += std::to_string(splits_[key]++);
    const int n = static_cast<int>(members.size());
    auto memory = job_->memory(key, n, *mine == 0);
    if (!memory.ok()) return fail(std::move(memory.error()));
    return std::unique_ptr<Communicator>(std::make_unique<BoardCommunicator>(job_, std::move(key), world_, Board(*memory, n), std::move(members),
                                                                             *mine, world_size_, options_));
  }

 private:
  int world_rank() const { return world_ranks_[static_cast<size_t>(rank_)]; }
  RankState& me() const { return board_.state(rank_); }
  void wake() const {
    board_.head().gate.fetch_add(1);
    futex_wake_all(board_.head().gate);
  }

  // This rank's own failure, and one that holds for all as it is said.
  Error fail(Error e) const {
    stop_job(world_.head(), world_rank(), e);
    wake();
    return e;
  }
  Error give_up(Error e) const {
    stop_job(world_.head(), -1, e);
    wake();
    return e;
  }

  bool all_here(uint32_t phase) const {
    for (int r = 0; r < size(); ++r)
      if (!here(r, phase)) return false;
    return true;
  }
  bool here(int r, uint32_t phase) const { return static_cast<int32_t>(board_.state(r).phase.load() - phase) >= 0; }

  std::string where() const { return "rank " + std::to_string(world_rank()) + " in " + board_.records(rank_).back().to_string() + ": "; }
  Error lost_in(const Collective& c, Error e) const {
    return e.prefix(where()).at_node(c.label);
  }
  Error missing(const Collective& c, const std::vector<int>& absent, const std::string& why) const {
    std::vector<std::string> names;
    for (int r : absent) names.push_back(std::to_string(world_ranks_[static_cast<size_t>(r)]));
    Error e = error(Code::kDevice, where() + why + " rank" + (names.size() > 1 ? "s " : " ") + join(names, ", "));
    for (int r : std::vector<int>{rank_, absent.front()})
      e.message += "\n  last collectives of rank " + std::to_string(world_ranks_[static_cast<size_t>(r)]) + ":\n" + flight_text(board_.records(r));
    e.message.pop_back();
    return e.at_node(c.label);
  }

  // Until done(), sleeping on the word. `absent` lists the ranks that are waited for.
  template <class Done, class Absent>
  Status wait(const Collective& c, std::atomic<uint32_t>& word, Done done, Absent absent) const {
    if (done()) return {};
    const Clock::time_point begin = Clock::now();
    while (spins_ && Clock::now() - begin < kSpin) {
      if (done()) return {};
      if (Clock::now() - begin > kAlone) sched_yield();  // both may be on one processor, whatever there is
    }
    for (;;) {
      const uint32_t seen = word.load();
      if (done()) return {};
      if (std::optional<Error> e = job_stopped(world_.head(), world_rank())) return *e;
      if (std::optional<Error> e = job_->lost()) return give_up(lost_in(c, *e));
      std::vector<int> gone;
      for (int r : absent())
        if (board_.state(r).left.load()) gone.push_back(r);
      if (!gone.empty() && !done()) return give_up(missing(c, gone, "without it has ended"));
      const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
      if (waited >= options_.timeout) {
        const std::vector<int> who = absent();
        if (who.empty()) return {};
        return give_up(missing(c, who, "waited " + std::to_string(waited.count()) + " ms for")
                           .with_hint("see what these ranks do; a longer time-out helps if they are only slow"));
      }
      futex_wait(word, seen, std::min(kLook, options_.timeout - waited));
    }
  }

  Status barrier(const Collective& c) {
    const uint32_t phase = me().phase.fetch_add(1) + 1;
    if (all_here(phase)) {
      wake();
      return {};
    }
    return wait(c, board_.head().gate, [&] { return all_here(phase); }, [&] {
      std::vector<int> absent;
      for (int r = 0; r < size(); ++r)
        if (!here(r, phase)) absent.push_back(r);
      return absent;
    });
  }

  // After the barrier: whether all have come for the same thing.
  Status compare(const FlightRecord& mine, int turn) const {
    for (int r = 0; r < size(); ++r)
      if (!load_record(board_.state(r).posted[turn]).same_as(mine))
        return give_up(out_of_step(world_rank(), board_.records(rank_), world_ranks_[static_cast<size_t>(r)], board_.records(r)));
    return {};
  }

  Status together(const Collective& c, const void* in, void* out, const CollectiveBytes& bytes) {
    const FlightRecord record = flight_record(c, ++sequence_, bytes.in);
    board_.write_record(rank_, record);
    store_record(me().posted[turn_], record);
    const Exchange x = exchange_of(c, rank_, size());
    ExchangePiece p;
    bool more = first_piece(x, kAreaBytes, p);
    const bool overlap = in < static_cast<char*>(out) + bytes.out && out < static_cast<const char*>(in) + bytes.in;
    if (overlap && bytes.in > kAreaBytes && x.packs) {  // later pieces must still find what they are made of
      stash_.assign(static_cast<const char*>(in), static_cast<const char*>(in) + bytes.in);
      in = stash_.data();
    }
    bool first = true;
    do {
      if (more && x.packs) pack_piece(x, p, in, board_.area(rank_, turn_));
      TRY(barrier(c));
      if (std::exchange(first, false)) TRY(compare(record, turn_));
      if (more) TRY(deliver(c, x, p, out));
      turn_ ^= 1;
    } while (more && next_piece(x, kAreaBytes, p));
    board_.finish_record(rank_, record);
    return {};
  }

  Status deliver(const Collective& c, const Exchange& x, const ExchangePiece& p, void* out) {
    const void* areas[kMaxBoardRanks];
    const std::span<const void* const> all(areas, static_cast<size_t>(size()));
    const int64_t units = p.units(), n = size(), part = x.parts > 1 ? rank_ * units * x.unit : 0;
    for (int r = 0; r < size(); ++r) areas[r] = board_.area(r, turn_) + part;
    if (x.kind != CollectiveKind::all_reduce || units * x.unit < kSlicedBytes || n == 1) {
      deliver_piece(x, p, all, out);
      return {};
    }
    auto begin = [&](int64_t r) { return units * r / n; };
    const int64_t from = begin(rank_);
    for (int r = 0; r < size(); ++r) areas[r] = board_.area(r, turn_) + from * x.unit;
    reduce_rows(x.dtype, x.reduction, all, board_.area(rank_, 2), x.elements(begin(rank_ + 1) - from));
    TRY(barrier(c));
    for (int r = 0; r < size(); ++r)
      std::memcpy(static_cast<char*>(out) + (p.k0 + begin(r)) * x.unit, board_.area(r, 2), static_cast<size_t>((begin(r + 1) - begin(r)) * x.unit));
    return {};
  }

  // --- one to one: a message of nothing is a chunk of nothing -----------------------------------------------------------

  Status wait_mail(const Collective& c, Mailbox& box, uint32_t wanted) const {
    return wait(c, box.full, [&] { return box.full.load(std::memory_order_acquire) == wanted; },
                [&] { return box.full.load() == wanted ? std::vector<int>{} : std::vector<int>{static_cast<int>(c.root)}; });
  }
  static void turn_mail(Mailbox& box, uint32_t to) {
    box.full.store(to, std::memory_order_release);
    futex_wake_all(box.full);
  }

  Status send(const Collective& c, const char* in, int64_t bytes) {
    const int to = static_cast<int>(c.root);
    const FlightRecord record = flight_record(c, ++mails_[static_cast<size_t>(to)].sent, bytes);
    board_.write_record(rank_, record);
    Mailbox& box = board_.mailbox(rank_, to);
    int64_t done = 0;
    do {
      TRY(wait_mail(c, box, 0));
      const int64_t n = std::min(bytes - done, kMailBytes);
      if (n) std::memcpy(board_.mail(rank_, to), in + done, static_cast<size_t>(n));
      store_record(box.record, record);
      turn_mail(box, 1);
      done += n;
    } while (done < bytes);
    board_.finish_record(rank_, record);
    return {};
  }

  Status recv(const Collective& c, char* out, int64_t bytes) {
    const int from = static_cast<int>(c.root);
    const FlightRecord record = flight_record(c, ++mails_[static_cast<size_t>(from)].received, bytes);
    board_.write_record(rank_, record);
    Mailbox& box = board_.mailbox(from, rank_);
    int64_t done = 0;
    do {
      TRY(wait_mail(c, box, 1));
      if (!load_record(box.record).same_as(record))
        return give_up(out_of_step(world_rank(), board_.records(rank_), world_ranks_[static_cast<size_t>(from)], board_.records(from)));
      const int64_t n = std::min(bytes - done, kMailBytes);
      if (n) std::memcpy(out + done, board_.mail(from, rank_), static_cast<size_t>(n));
      turn_mail(box, 0);
      done += n;
    } while (done < bytes);
    board_.finish_record(rank_, record);
    return {};
  }

  struct Mails {
    uint64_t sent = 0, received = 0;
  };

  std::shared_ptr<BoardJob> job_;
  std::string key_;
  Board world_, board_;  // the job's first board, and this group's
  std::vector<int> world_ranks_;
  int rank_, world_size_;
  CommOptions options_;
  bool spins_;                         // there is a processor for each rank
  int turn_ = 0;
  uint64_t sequence_ = 0;
  std::vector<Mails> mails_;
  std::vector<char> stash_;
  std::map<std::string, int> splits_;  // how often a group of these ranks was made
};

}  // namespace

Result<std::unique_ptr<Communicator>> board_communicator(std::shared_ptr<BoardJob> job, int rank, int size, const CommOptions& options) {
  if (size < 1 || size > kMaxBoardRanks)
    return resources("a group of " + std::to_string(size) + " ranks on one machine; at most " + std::to_string(kMaxBoardRanks) + " are possible");
  TRY_ASSIGN(std::shared_ptr<SharedMemory> memory, job->memory("", size, rank == 0));
  std::vector<int> ranks;
  for (int r = 0; r < size; ++r) ranks.push_back(r);
  const Board board(std::move(memory), size);
  return std::unique_ptr<Communicator>(
      std::make_unique<BoardCommunicator>(std::move(job), "", board, board, std::move(ranks), rank, size, options));
}

}  // namespace weft
