// The communicator of an MPI job: the same pieces as on a board (exchange.h), moved by MPI, reduced by us.
#include <algorithm>
#include <cstring>
#include <deque>
#include <map>

#include "runtime/comm/exchange.h"
#include "runtime/comm/flight.h"
#include "runtime/comm/mpi_job.h"
#include "runtime/comm/reduce.h"

namespace weft {

namespace {

constexpr int64_t kPieceBytes = 1 << 20, kSliced = 1 << 16;
constexpr int kRecordTag = 0, kDataTag = 1;

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(std::shared_ptr<MpiJob> job, void* comm, std::vector<int> world_ranks, int rank, const CommOptions& options)
      : job_(std::move(job)), comm_(comm), world_ranks_(std::move(world_ranks)), rank_(rank), options_(options), mails_(world_ranks_.size()),
        send_(kPieceBytes + 16 * world_ranks_.size()) {}
  ~MpiCommunicator() override {
    (void)job_->call([this](const weft_mpi& m) { return m.close(comm_), 0; }, "").ok();
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_ranks_.size()); }
  const char* transport() const override { return "mpi"; }
  std::string history() const override {
    std::lock_guard lock(records_mutex_);
    return flight_text(records_list());
  }
  void abort(const Error& why) override { job_->stop(world_rank(), why); }

  Status run(const Collective& c, const void* in, void* out) override {
    if (std::optional<Error> e = job_->failure()) return *e;
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
    if (std::optional<Error> e = job_->failure()) return *e;
    Result<int> mine = place_in_group(ranks, rank_, size());
    if (!mine.ok()) return fail(std::move(mine.error()));
    std::vector<int> members;
    for (int r : ranks) members.push_back(world_ranks_[static_cast<size_t>(r)]);
    const int tag = splits_[members]++ % 1000;
    void* comm = nullptr;
    TRY(job_->call([&](const weft_mpi& m) { return m.group(job_->world(), members.data(), static_cast<int>(members.size()), tag, &comm); },
                   "making a group"));
    return std::unique_ptr<Communicator>(std::make_unique<MpiCommunicator>(job_, comm, std::move(members), *mine, options_));
  }

 private:
  int world_rank() const { return world_ranks_[static_cast<size_t>(rank_)]; }
  Error fail(Error e) const {
    job_->stop(world_rank(), e);
    return e;
  }
  std::vector<FlightRecord> records_list() const { return {records_.begin(), records_.end()}; }
  void note(const FlightRecord& r) {
    std::lock_guard lock(records_mutex_);
    records_.push_back(r);
    if (records_.size() > kFlightRecords) records_.pop_front();
  }
  void done() {
    std::lock_guard lock(records_mutex_);
    records_.back().done = 1;
  }

  // One operation of MPI's. `from`: whose data it brings, -1: that of all, of which `test` tells.
  using Begin = std::function<int(const weft_mpi&)>;
  Status move(const Collective& c, int from, const Begin& begin, MpiJob::Waiting what = MpiJob::Waiting::for_one) {
    TRY(job_->call(begin, collective_name(c.kind)));
    come_.assign(static_cast<size_t>(size()), from >= 0);
    if (from >= 0) come_[static_cast<size_t>(from)] = 0;
    return job_->finish(comm_, world_ranks_, options_, come_, what, [&](const std::string& why) {
      const std::string me = "rank " + std::to_string(world_rank());
      Error e = error(Code::kDevice, me + " in " + records_.back().to_string() + ": " + why + "\n  last collectives of " + me + ":\n" + history());
      e.message.pop_back();
      return e.at_node(c.label).with_hint("see what these ranks do; a longer time-out helps if they are only slow");
    });
  }
  // Part r of `in` (stride 0: all of it), `bytes` long, to rank r, and its part for this rank to out[r].
  Status all_to_each(const Collective& c, const void* in, int64_t stride, void* out, int64_t bytes, MpiJob::Waiting what = MpiJob::Waiting::for_data) {
    return move(c, -1, [&](const weft_mpi& m) { return m.all(comm_, in, static_cast<int>(stride), out, static_cast<int>(bytes)); }, what);
  }

  // All come with the record of what they run, and with their last ones where these differ.
  Status meet(const Collective& c, const FlightRecord& mine) {
    const size_t n = static_cast<size_t>(size());
    mine_ = mine;
    met_.resize(n);
    TRY(all_to_each(c, &mine_, 0, met_.data(), sizeof mine_, MpiJob::Waiting::for_all));
    for (size_t r = 0; r < n; ++r) {
      if (met_[r].same_as(mine)) continue;
      // Every rank has seen a difference and comes here.
      own_ = records_list();
      own_.resize(kFlightRecords);
      histories_.resize(n * kFlightRecords);
      TRY(all_to_each(c, own_.data(), 0, histories_.data(), kFlightRecords * sizeof(FlightRecord)));
      std::vector<FlightRecord> theirs(histories_.begin() + static_cast<std::ptrdiff_t>(r * kFlightRecords),
                                       histories_.begin() + static_cast<std::ptrdiff_t>((r + 1) * kFlightRecords));
      std::erase_if(theirs, [](const FlightRecord& x) { return x.sequence == 0; });
      const Error e = out_of_step(world_rank(), records_list(), world_ranks_[r], theirs);
      job_->stop(-1, e);
      return e;
    }
    return {};
  }

  Status together(const Collective& c, const void* in, void* out, const CollectiveBytes& bytes) {
    const FlightRecord record = flight_record(c, ++sequence_, bytes.in);
    note(record);
    TRY(meet(c, record));
    const Exchange x = exchange_of(c, rank_, size());
    const bool overlap = in < static_cast<char*>(out) + bytes.out && out < static_cast<const char*>(in) + bytes.in;
    if (overlap && bytes.in > kPieceBytes && x.packs) {  // later pieces must still find what they are made of
      stash_.assign(static_cast<const char*>(in), static_cast<const char*>(in) + bytes.in);
      in = stash_.data();
    }
    ExchangePiece p;
    for (bool more = first_piece(x, kPieceBytes, p); more; more = next_piece(x, kPieceBytes, p)) {
      if (x.packs) pack_piece(x, p, in, send_.data());
      TRY(deliver(c, x, p, out));
    }
    done();
    return {};
  }

  Status deliver(const Collective& c, const Exchange& x, const ExchangePiece& p, void* out) {
    const int64_t n = size(), part = p.units() * x.unit;
    std::vector<const void*> areas(static_cast<size_t>(n));
    const int bytes = static_cast<int>(part);
    auto received = [&](int64_t each) {
      receive_.resize(static_cast<size_t>(n * each));
      for (int64_t r = 0; r < n; ++r) areas[static_cast<size_t>(r)] = receive_.data() + r * each;
    };
    switch (x.kind) {
      case CollectiveKind::all_reduce:
        if (part >= kSliced && n > 1) return reduce_slices(c, x, p, out);
        [[fallthrough]];
      case CollectiveKind::all_gather:
        received(part);
        TRY(all_to_each(c, send_.data(), 0, receive_.data(), part));
        break;
      case CollectiveKind::reduce_scatter:
      case CollectiveKind::all_to_all:
        received(part);
        TRY(all_to_each(c, send_.data(), part, receive_.data(), part));
        break;
      case CollectiveKind::broadcast:
        TRY(move(c, x.source, [&](const weft_mpi& m) { return m.broadcast(comm_, send_.data(), bytes, x.source); }));
        areas[static_cast<size_t>(x.source)] = send_.data();
        break;
      default: {
        int to = -1;
        for (size_t i = 0; i + 1 < c.pairs.size(); i += 2)
          if (c.pairs[i] == rank_) to = static_cast<int>(c.pairs[i + 1]);
        receive_.resize(static_cast<size_t>(part));
        const int from = x.source >= 0 ? x.source : to >= 0 ? to : rank_;
        TRY(move(c, from, [&](const weft_mpi& m) { return m.exchange(comm_, send_.data(), bytes, to, receive_.data(), bytes, x.source, kDataTag); }));
        if (x.source >= 0) areas[static_cast<size_t>(x.source)] = receive_.data();
      }
    }
    deliver_piece(x, p, areas, out);
    return {};
  }

  // Each rank reduces a slice and gives it to the others. The last slices may be short or empty: what fills them up is not read.
  Status reduce_slices(const Collective& c, const Exchange& x, const ExchangePiece& p, void* out) {
    const int64_t n = size(), units = p.units(), slice = (units + n - 1) / n;
    const int bytes = static_cast<int>(slice * x.unit);
    if (send_.size() < static_cast<size_t>(n * bytes)) send_.resize(static_cast<size_t>(n * bytes));
    receive_.resize(static_cast<size_t>(n * bytes));
    TRY(all_to_each(c, send_.data(), bytes, receive_.data(), bytes));
    std::vector<const void*> parts;
    for (int64_t r = 0; r < n; ++r) parts.push_back(receive_.data() + r * bytes);
    auto length = [&](int64_t r) { return std::clamp(units - r * slice, int64_t{0}, slice); };
    reduce_rows(x.dtype, x.reduction, parts, send_.data(), x.elements(length(rank_)));
    TRY(all_to_each(c, send_.data(), 0, receive_.data(), bytes));
    for (int64_t r = 0; r < n; ++r)
      std::memcpy(static_cast<char*>(out) + (p.k0 + r * slice) * x.unit, receive_.data() + r * bytes, static_cast<size_t>(length(r) * x.unit));
    return {};
  }

  Status send(const Collective& c, const char* in, int64_t bytes) {
    const int to = static_cast<int>(c.root);
    const FlightRecord record = flight_record(c, ++mails_[static_cast<size_t>(to)].sent, bytes);
    note(record);
    mine_ = record;
    TRY(move(c, to, [&](const weft_mpi& m) { return m.exchange(comm_, &mine_, sizeof mine_, to, nullptr, 0, -1, kRecordTag); }));
    for (int64_t at = 0; at < bytes; at += kPieceBytes) {
      const int n = static_cast<int>(std::min(kPieceBytes, bytes - at));
      TRY(move(c, to, [&](const weft_mpi& m) { return m.exchange(comm_, in + at, n, to, nullptr, 0, -1, kDataTag); }));
    }
    done();
    return {};
  }

  Status recv(const Collective& c, char* out, int64_t bytes) {
    const int from = static_cast<int>(c.root);
    const FlightRecord record = flight_record(c, ++mails_[static_cast<size_t>(from)].received, bytes);
    note(record);
    met_.resize(1);
    TRY(move(c, from, [&](const weft_mpi& m) { return m.exchange(comm_, nullptr, 0, -1, met_.data(), sizeof met_[0], from, kRecordTag); }));
    if (!met_[0].same_as(record)) {
      const FlightRecord known[] = {met_[0]};  // the sender has gone on
      const Error e = out_of_step(world_rank(), records_list(), world_ranks_[static_cast<size_t>(from)], known);
      job_->stop(-1, e);
      return e;
    }
    for (int64_t at = 0; at < bytes; at += kPieceBytes) {
      const int n = static_cast<int>(std::min(kPieceBytes, bytes - at));
      TRY(move(c, from, [&](const weft_mpi& m) { return m.exchange(comm_, nullptr, 0, -1, out + at, n, from, kDataTag); }));
    }
    done();
    return {};
  }

  struct Mails {
    uint64_t sent = 0, received = 0;
  };

  std::shared_ptr<MpiJob> job_;
  void* comm_;
  std::vector<int> world_ranks_;
  int rank_;
  CommOptions options_;
  uint64_t sequence_ = 0;
  mutable std::mutex records_mutex_;
  std::deque<FlightRecord> records_;
  std::vector<Mails> mails_;
  // What MPI reads and writes outlives an operation that was given up.
  std::vector<char> send_, receive_, stash_;
  FlightRecord mine_{};
  std::vector<FlightRecord> met_, own_, histories_;
  std::vector<uint8_t> come_;  // whose data has come
  std::map<std::vector<int>, int> splits_;  // how often a group of these ranks was made
};

}  // namespace

Result<std::unique_ptr<Communicator>> mpi_ranks(std::shared_ptr<MpiJob> job, const CommOptions& options) {
  void* comm = nullptr;
  TRY(job->call([&](const weft_mpi& m) { return m.copy(job->world(), &comm); }, "copying the communicator"));
  std::vector<int> ranks;
  for (int r = 0; r < job->place().size; ++r) ranks.push_back(r);
  const int rank = job->place().rank;
  return std::unique_ptr<Communicator>(std::make_unique<MpiCommunicator>(std::move(job), comm, std::move(ranks), rank, options));
}

}  // namespace weft
