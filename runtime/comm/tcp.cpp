#include "runtime/comm/tcp.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "runtime/comm/processes.h"
#include "runtime/comm/sockets.h"
#include "runtime/comm/tcp_server.h"

namespace weft {

Code checked_code(uint64_t code) {
  return code >= static_cast<uint64_t>(Code::kCheckFailed) && code <= static_cast<uint64_t>(Code::kCancelled) ? static_cast<Code>(code) : Code::kDevice;
}

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

class TcpRendezvous final : public Rendezvous, public KeyValues, public std::enable_shared_from_this<TcpRendezvous> {
 public:
  TcpRendezvous(const RankPlace& place, const JoinOptions& options) : options_(options) { place_ = place; }

  ~TcpRendezvous() override {
    if (reader_.joinable()) {
      send_frame(FrameWriter(WireKind::bye));
      const uint64_t one = 1;
      (void)!write(wake_.get(), &one, sizeof one);
      reader_.join();
    }
    socket_.reset();  // before the server, which sends the others a farewell
    if (!file_.empty()) unlink(file_.c_str());
  }

  Status join(const RendezvousUrl& url) {
    wake_ = Descriptor(eventfd(0, EFD_CLOEXEC));
    if (!wake_) return resources(std::string("eventfd: ") + std::strerror(errno));
    TRY(place_.rank == 0 ? meet_here(url) : meet_there(url));
    reader_ = std::thread([this] { read_frames(); });
    if (!file_.empty()) unlink(std::exchange(file_, "").c_str());
    return {};
  }

  // --- Rendezvous -----------------------------------------------------------------------------------------------------

  Result<std::string> broadcast(const std::string& bytes, int root, milliseconds timeout) override {
    if (root < 0 || root >= place_.size) return usage("a broadcast from rank " + std::to_string(root) + " of " + std::to_string(place_.size));
    const std::string key = "broadcast:" + std::to_string(broadcasts_++);
    if (root != place_.rank) return get(key, timeout.count() ? timeout : options_.timeout);
    TRY(set(key, bytes));
    return bytes;
  }
  std::optional<Error> failure() const override {
    if (!failed_.load(std::memory_order_acquire)) return {};
    std::lock_guard lock(mutex_);
    return failure_;
  }
  void abort(const Error& why) override {
    std::string text = why.message;
    if (!why.node.empty()) text += "\n  node: " + why.node;
    note_failure(why);
    send_frame(FrameWriter(WireKind::failed).number(static_cast<uint64_t>(why.code)).text(text).text(why.hint));
  }
  Result<std::unique_ptr<Communicator>> host_ranks(const CommOptions& options) override {
    for (const std::string& host : hosts_)
      if (host != hosts_[static_cast<size_t>(place_.rank)])
        return unsupported("collectives on host memory between ranks on several machines").with_hint("start the ranks with MPI and meet at mpi://");
    return board_communicator(process_job(shared_from_this(), options), place_.rank, place_.size, options);
  }

  // --- KeyValues ------------------------------------------------------------------------------------------------------

  Status set(const std::string& key, const std::string& value) override {
    if (key.size() + value.size() > (1 << 20)) return resources("more than 1 MiB for the other ranks");
    if (send_frame(FrameWriter(WireKind::set).text(key).text(value))) return {};
    return gone();
  }
  Result<std::string> get(const std::string& key, milliseconds timeout) override {
    if (!send_frame(FrameWriter(WireKind::get).text(key))) return gone();
    std::unique_lock lock(mutex_);
    const Clock::time_point deadline = Clock::now() + timeout;
    for (;;) {
      if (auto it = values_.find(key); it != values_.end()) return it->second;
      if (failure_) return *failure_;
      if (server_left_) return error(Code::kDevice, "rank 0 has ended");
      if (Clock::now() >= deadline) return error(Code::kDevice, "no rank has set " + key + " within " + std::to_string(timeout.count()) + " ms");
      // By the system's clock, which the thread sanitizer knows; a second at a time, since that clock may be set.
      changed_.wait_until(lock, std::chrono::system_clock::now() + std::min<Clock::duration>(deadline - Clock::now(), std::chrono::seconds(1)));
    }
  }
  std::optional<Error> lost() const override { return failure(); }

 private:
  Error gone() const {
    if (std::optional<Error> e = failure()) return *e;
    return error(Code::kDevice, "rank 0 has ended");
  }
  bool send_frame(const FrameWriter& w) {
    std::lock_guard lock(send_mutex_);
    return socket_ && send_all(socket_.get(), w.frame());
  }
  void note_failure(const Error& e) {
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = e;
    failed_.store(true, std::memory_order_release);
    changed_.notify_all();
  }

  std::string hello() const {
    FrameWriter w(WireKind::hello);
    w.text(kTcpMagic).number(kTcpVersion).text(place_.nonce).number(static_cast<uint64_t>(place_.rank)).number(static_cast<uint64_t>(place_.size));
    w.text(host_identity()).text(host_name()).number(static_cast<uint64_t>(getpid()));
    w.number(options_.facts.size() + 1).text("weft").text(WEFT_VERSION);
    for (const auto& [name, value] : options_.facts) w.text(name).text(value);
    return w.frame();
  }

  Status meet_here(const RendezvousUrl& url) {
    TRY_ASSIGN(Descriptor listener, listen_at(place_, url, &file_));
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return resources(std::string("socketpair: ") + std::strerror(errno));
    socket_ = Descriptor(pair[0]);
    TRY_ASSIGN(server_, TcpServer::start(std::move(listener), Descriptor(pair[1]), {place_.size, place_.nonce, options_.timeout}));
    send_all(socket_.get(), hello());
    TRY_ASSIGN(std::optional<Error> again, admission(Clock::now() + options_.timeout + kGrace));
    if (again) return *again;
    return {};
  }

  Status meet_there(const RendezvousUrl& url) {
    const Clock::time_point deadline = Clock::now() + options_.timeout;
    for (std::optional<Error> said;;) {  // what rank 0 said last says more than that nobody answers now
      Result<Descriptor> fd = connect_to(place_, url);
      Error why;
      if (fd.ok()) {
        socket_ = std::move(*fd);
        received_.clear();
        std::optional<Error> again = error(Code::kDevice, "the connection to rank 0 broke");
        if (send_all(socket_.get(), hello())) {
          TRY_ASSIGN(again, admission(deadline + kGrace));
        }
        if (!again) return {};
        why = *again;
        if (refused_) said = *again;
      } else {
        why = std::move(fd.error());
        if (why.code == Code::kUsage) return why;
      }
      if (Clock::now() >= deadline) {
        Error e = error(Code::kDevice, "rank " + std::to_string(place_.rank) + " did not find rank 0 at " + place_.rendezvous + " within " +
                                           std::to_string(options_.timeout.count()) + " ms: " + (said ? *said : why).message);
        return e.with_hint("see whether rank 0 runs, and with the same rendezvous and nonce");
      }
      poll(nullptr, 0, 50);
    }
  }

  // What rank 0 says to our hello. An Error inside: try again.
  Result<std::optional<Error>> admission(Clock::time_point deadline) {
    refused_ = false;
    for (;;) {
      TRY_ASSIGN(std::optional<WireFrame> f, take_frame(received_, kMaxFrame));
      if (f) {
        FrameReader r(*f);
        if (f->kind == WireKind::ready) {
          for (int i = 0; i < place_.size; ++i) hosts_.push_back(r.text()), r.number();
          if (r.done()) return std::optional<Error>();
        }
        if (f->kind != WireKind::refused) return std::optional<Error>(error(Code::kDevice, "what answers there is no rank 0"));
        Error e = error(checked_code(r.number()), "");
        e.message = r.text(), e.hint = r.text();
        refused_ = true;
        if (r.number()) return std::optional<Error>(std::move(e));
        return e;
      }
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
      pollfd p{socket_.get(), POLLIN, 0};
      if (left <= 0) return std::optional<Error>(error(Code::kDevice, "rank 0 waits for others"));
      poll(&p, 1, static_cast<int>(std::min<int64_t>(left, 1000)));
      if (p.revents && !receive()) return std::optional<Error>(error(Code::kDevice, "rank 0 broke the connection off"));
    }
  }

  bool receive() {
    char buffer[1 << 16];
    const ssize_t n = recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0) received_.append(buffer, static_cast<size_t>(n));
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
  }

  void read_frames() {
    for (;;) {
      for (;;) {
        Result<std::optional<WireFrame>> f = take_frame(received_, kMaxFrame);
        if (!f.ok()) return note_failure(f.error());
        if (!*f) break;
        if (!take(**f)) return;
      }
      pollfd p[2] = {{socket_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
      poll(p, 2, -1);
      if (p[1].revents) return;
      if (p[0].revents && !receive()) {
        Error e = error(Code::kDevice, "rank 0 has died");
        return note_failure(e.with_hint("its own output and the system's log say why"));
      }
    }
  }

  // False: there will be no more.
  bool take(const WireFrame& f) {
    FrameReader r(f);
    std::lock_guard lock(mutex_);
    if (f.kind == WireKind::value) {
      const std::string key = r.text();
      if (std::string value = r.text(); r.done()) values_[key] = std::move(value);
    } else if (f.kind == WireKind::failed) {
      Error e = error(checked_code(r.number()), "");
      e.message = r.text(), e.hint = r.text();
      if (!failure_) failure_ = std::move(e);
      failed_.store(true, std::memory_order_release);
    } else if (f.kind == WireKind::bye) {
      server_left_ = true;
    }
    changed_.notify_all();
    return !server_left_;
  }

  static constexpr milliseconds kGrace{2000};  // rank 0 knows who is missing; its message may come a little later

  JoinOptions options_;
  std::unique_ptr<TcpServer> server_;  // rank 0
  std::string file_;                   // rank 0 at a file:// rendezvous
  Descriptor socket_, wake_;
  std::mutex send_mutex_;
  std::string received_;
  bool refused_ = false;               // rank 0 answered the last hello, with a no
  std::vector<std::string> hosts_;     // of each rank
  std::thread reader_;
  std::atomic<uint64_t> broadcasts_{0};
  std::atomic<bool> failed_{false};
  mutable std::mutex mutex_;           // of what follows
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
  std::optional<Error> failure_;
  bool server_left_ = false;
};

}  // namespace

Result<std::shared_ptr<Rendezvous>> join_by_tcp(const RankPlace& place, const RendezvousUrl& url, const JoinOptions& options) {
  auto r = std::make_shared<TcpRendezvous>(place, options);
  TRY(r->join(url));
  return std::shared_ptr<Rendezvous>(std::move(r));
}

}  // namespace weft
