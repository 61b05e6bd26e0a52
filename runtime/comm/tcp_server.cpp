#include "runtime/comm/tcp_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <map>
#include <thread>
#include <vector>

#include "ir/base/text.h"
#include "runtime/comm/tcp.h"

namespace weft {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kHelloTime{10}, kFarewell{2};
constexpr size_t kMaxStrangers = 64, kMaxUnsent = 16 << 20;

struct Peer {
  Descriptor fd;
  std::string in, out;
  Clock::time_point since = Clock::now();
  int rank = -1;  // -1: has not said hello
  std::string name;  // "rank 3 (process 17 on node2)"
  std::string host;
  uint64_t process = 0;
  std::vector<std::pair<std::string, std::string>> facts;
  std::vector<std::string> asked;  // keys that are not set yet
  bool ended = false;              // has said bye
  bool closing = false;            // as soon as `out` is sent
};

class Server final : public TcpServer {
 public:
  Server(Descriptor listener, Descriptor wake, const TcpServerOptions& options)
      : listener_(std::move(listener)), wake_(std::move(wake)), options_(options), deadline_(Clock::now() + options.timeout) {}
  ~Server() override {
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof one);
    thread_.join();
  }
  void begin(Descriptor first) {
    peers_.emplace_back().fd = std::move(first);
    thread_ = std::thread([this] { serve(); });
  }

 private:
  bool member(const Peer& p) const { return p.rank >= 0; }

  void serve() {
    for (;;) {
      std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
      for (const Peer& p : peers_) fds.push_back({p.fd.get(), static_cast<short>(POLLIN | (p.out.empty() ? 0 : POLLOUT)), 0});
      poll(fds.data(), fds.size(), 100);
      if (fds[0].revents && !leaving_) {
        uint64_t n = 0;
        (void)!read(wake_.get(), &n, sizeof n);
        leaving_ = Clock::now();
      }
      size_t i = 2;
      for (Peer& p : peers_) {
        const short events = fds[i++].revents;
        if (events & POLLOUT) flush(p);
        if (events & (POLLIN | POLLHUP | POLLERR)) receive(p);
      }
      if (fds[1].revents) accept_some();
      look_at_clock();
      std::erase_if(peers_, [](const Peer& p) { return !p.fd || (p.closing && p.out.empty()); });
      if (leaving_ && (!ready_ || failure_ || others_have_left() || Clock::now() - *leaving_ > kFarewell)) break;
    }
    // What is on its way should arrive, but nobody waits for it.
    for (Peer& p : peers_) {
      if (ready_ && member(p)) answer(p, FrameWriter(WireKind::bye));
      flush(p);
    }
  }

  // Rank 0 goes last, if the others are about to go: they may still ask for something, or for who has died.
  bool others_have_left() const {
    return std::none_of(peers_.begin(), peers_.end(), [](const Peer& p) { return p.rank > 0 && !p.ended; });
  }

  void accept_some() {
    for (;;) {
      Descriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd) return;
      size_t strangers = 0;
      for (const Peer& p : peers_) strangers += !member(p);
      if (strangers >= kMaxStrangers + static_cast<size_t>(options_.size)) continue;
      watch_connection(fd.get());
      peers_.emplace_back().fd = std::move(fd);
    }
  }

  void look_at_clock() {
    const Clock::time_point now = Clock::now();
    for (Peer& p : peers_)
      if (!member(p) && !p.closing && now - p.since > kHelloTime) p.fd.reset();
    if (ready_ || failure_ || now < deadline_) return;
    if (mismatch_) return fail(*mismatch_);
    std::vector<std::string> missing;
    for (int r = 0; r < options_.size; ++r)
      if (!find(r)) missing.push_back(std::to_string(r));
    fail(error(Code::kDevice, "rank" + std::string(missing.size() > 1 ? "s " : " ") + join(missing, ", ") + " of " + std::to_string(options_.size) +
                                  " did not come within " + std::to_string(options_.timeout.count()) + " ms")
             .with_hint("see whether all processes were started, and reach rank 0"));
  }

  Peer* find(int rank) {
    for (Peer& p : peers_)
      if (p.rank == rank) return &p;
    return nullptr;
  }

  void flush(Peer& p) {
    while (p.fd && !p.out.empty()) {
      const ssize_t n = ::send(p.fd.get(), p.out.data(), p.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) p.out.erase(0, static_cast<size_t>(n));
      else if (errno == EINTR) continue;
      else if (errno == EAGAIN) return;
      else return lose(p);
    }
  }
  void answer(Peer& p, const FrameWriter& w) {
    if (!p.fd) return;
    p.out += w.frame();
    if (p.out.size() > kMaxUnsent) return lose(p);  // reads nothing
    flush(p);
  }

  void receive(Peer& p) {
    char buffer[1 << 16];
    for (;;) {
      const ssize_t n = p.fd ? recv(p.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT) : 0;
      if (n > 0) {
        p.in.append(buffer, static_cast<size_t>(n));
      } else if (n < 0 && errno == EINTR) {
        continue;
      } else if (n < 0 && errno == EAGAIN) {
        return;
      } else {
        return lose(p);
      }
      for (;;) {
        Result<std::optional<WireFrame>> f = take_frame(p.in, member(p) ? kMaxFrame : kMaxHello);
        if (!f.ok()) return lose(p);
        if (!*f) break;
        if (!p.closing) handle(p, **f);
        if (!p.fd) return;
      }
    }
  }

  void lose(Peer& p) {
    p.fd.reset();
    if (!member(p) || p.ended) return;
    if (ready_) {
      Error e = error(Code::kDevice, p.name + " has died");
      return fail(e.with_hint("its own output and the system's log say why"));
    }
    p.rank = -1;  // may come again
  }

  void fail(const Error& e) {
    if (failure_) return;
    failure_ = e;
    for (Peer& p : peers_) {
      if (!member(p)) continue;
      if (ready_) answer(p, FrameWriter(WireKind::failed).number(static_cast<uint64_t>(e.code)).text(e.message).text(e.hint));
      else refuse(p, e, false);
    }
  }

  void refuse(Peer& p, const Error& e, bool again) {
    answer(p, FrameWriter(WireKind::refused).number(static_cast<uint64_t>(e.code)).text(e.message).text(e.hint).number(again));
    p.closing = true;
  }

  void handle(Peer& p, const WireFrame& f) {
    FrameReader r(f);
    if (!member(p)) return f.kind == WireKind::hello ? greet(p, r) : lose(p);
    switch (f.kind) {
      case WireKind::set: {
        const std::string key = r.text(), value = r.text();
        if (!r.done()) return lose(p);
        values_[key] = value;
        for (Peer& q : peers_)
          if (std::erase(q.asked, key)) answer(q, FrameWriter(WireKind::value).text(key).text(value));
        return;
      }
      case WireKind::get: {
        const std::string key = r.text();
        if (!r.done()) return lose(p);
        auto it = values_.find(key);
        if (it == values_.end()) p.asked.push_back(key);
        else answer(p, FrameWriter(WireKind::value).text(key).text(it->second));
        return;
      }
      case WireKind::failed: {
        Error e = error(checked_code(r.number()), "");
        e.message = "rank " + std::to_string(p.rank) + " failed: " + r.text();
        e.hint = r.text();
        return r.done() ? fail(e) : lose(p);
      }
      case WireKind::bye: {
        p.ended = true;
        return;
      }
      default: return lose(p);
    }
  }

  void greet(Peer& p, FrameReader& r) {
    const std::string magic = r.text();
    const uint64_t version = r.number();
    const std::string nonce = r.text();
    const uint64_t rank = r.number(), size = r.number();
    p.host = r.text();
    const std::string host_name = r.text();
    p.process = r.number();
    for (uint64_t n = r.number(); r.ok() && n > 0; --n) {
      std::string name = r.text(), value = r.text();
      p.facts.emplace_back(std::move(name), std::move(value));
    }
    if (magic != kTcpMagic || !r.done()) return lose(p);
    if (nonce != options_.nonce) return refuse(p, error(Code::kDevice, "another job has its rendezvous there"), true);
    if (version != kTcpVersion)
      return refuse(p, usage("rank 0 speaks version " + std::to_string(kTcpVersion) + " of the rendezvous, rank " + std::to_string(rank) + " version " +
                             std::to_string(version)).with_hint("run the same weft everywhere"), false);
    if (ready_) return refuse(p, error(Code::kDevice, "the job there has begun already"), true);
    if (failure_) return refuse(p, *failure_, false);
    if (size != static_cast<uint64_t>(options_.size) || rank >= size)
      return refuse(p, usage("rank 0 belongs to " + std::to_string(options_.size) + " ranks, this one is " + std::to_string(rank) + " of " +
                             std::to_string(size)), false);
    if (find(static_cast<int>(rank))) return refuse(p, usage("there is a rank " + std::to_string(rank) + " already"), false);
    p.rank = static_cast<int>(rank);
    p.name = "rank " + std::to_string(rank) + " (process " + std::to_string(p.process) + " on " + host_name + ")";
    if (!mismatch_) mismatch_ = difference(p);
    begin_if_complete();
  }

  // From rank 0, or as long as that one is not there from any other.
  std::optional<Error> difference(const Peer& p) {
    for (const Peer& q : peers_) {
      if (!member(q) || &q == &p || (q.rank != 0 && p.rank != 0 && find(0))) continue;
      for (size_t i = 0; i < std::max(p.facts.size(), q.facts.size()); ++i) {
        auto fact = [i](const Peer& x) { return i < x.facts.size() ? x.facts[i] : std::pair<std::string, std::string>("nothing", ""); };
        if (fact(p) == fact(q)) continue;
        auto say = [&](const Peer& x) { return x.name + " has " + fact(x).first + " " + quote(fact(x).second); };
        return usage("the ranks do not fit together: " + say(q) + ", " + say(p)).with_hint("all ranks must run the same weft, model and options");
      }
    }
    return {};
  }

  void begin_if_complete() {
    FrameWriter w(WireKind::ready);
    for (int r = 0; r < options_.size; ++r) {
      const Peer* p = find(r);
      if (!p) return;
      w.text(p->host).number(p->process);
    }
    if (mismatch_) return fail(*mismatch_);  // when all are there to hear it
    ready_ = true;
    for (int r = 0; r < options_.size; ++r) answer(*find(r), w);
  }

  Descriptor listener_, wake_;
  TcpServerOptions options_;
  Clock::time_point deadline_;
  std::list<Peer> peers_;  // handlers hold references while others come
  std::map<std::string, std::string> values_;
  bool ready_ = false;
  std::optional<Clock::time_point> leaving_;  // since when rank 0 is
  std::optional<Error> mismatch_, failure_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<TcpServer>> TcpServer::start(Descriptor listener, Descriptor first, const TcpServerOptions& options) {
  Descriptor wake(eventfd(0, EFD_CLOEXEC));
  if (!wake) return resources(std::string("eventfd: ") + std::strerror(errno));
  auto server = std::make_unique<Server>(std::move(listener), std::move(wake), options);
  server->begin(std::move(first));
  return std::unique_ptr<TcpServer>(std::move(server));
}

}  // namespace weft
