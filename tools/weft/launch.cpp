#include "tools/weft/launch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "ir/base/text.h"
#include "runtime/comm/descriptor.h"

namespace weft::cli {

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMaxLine = 64 << 10;
constexpr std::chrono::seconds kAfterlife{1};  // for output of what a rank left running

Error system_error(const std::string& what) { return resources(what + ": " + std::strerror(errno)); }

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

// One output of a rank: whole lines behind its number.
struct Stream {
  Descriptor fd;
  int to = STDOUT_FILENO;
  std::string prefix, line;

  void write_lines(bool end) {
    std::string out;
    size_t begin = 0;
    for (size_t at; (at = line.find('\n', begin)) != std::string::npos; begin = at + 1) out += prefix + line.substr(begin, at + 1 - begin);
    line.erase(0, begin);
    if (!line.empty() && (end || line.size() > kMaxLine)) out += prefix + std::exchange(line, "") + "\n";
    write_all(to, out);
  }
  void read_some() {
    char buffer[1 << 14];
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) return;
    if (n > 0) line.append(buffer, static_cast<size_t>(n));
    else fd.reset();
    write_lines(n <= 0);
  }
};

struct Rank {
  pid_t pid = 0;  // 0: has ended
  Stream out, err;
};

struct Meeting {
  Descriptor listener;
  std::string url, nonce;
};
Result<Meeting> open_meeting() {
  Meeting m;
  m.listener = Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  sockaddr* address = reinterpret_cast<sockaddr*>(&a);
  if (!m.listener || bind(m.listener.get(), address, size) != 0 || listen(m.listener.get(), 1024) != 0 ||
      getsockname(m.listener.get(), address, &size) != 0)
    return system_error("cannot listen for the ranks");
  m.url = "tcp://127.0.0.1:" + std::to_string(ntohs(a.sin_port));
  unsigned char word[16];
  if (getrandom(word, sizeof word, 0) != sizeof word) return system_error("no random bytes");
  for (unsigned char c : word) m.nonce += "0123456789abcdef"[c >> 4], m.nonce += "0123456789abcdef"[c & 15];
  return m;
}

// The processors of this process, in equal parts, where there are enough.
cpu_set_t share_of(int rank, int ranks) {
  cpu_set_t all, mine;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof all, &all);
  const int n = CPU_COUNT(&all);
  if (n < ranks) return all;
  for (int cpu = 0, i = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    if (i >= n * rank / ranks && i < n * (rank + 1) / ranks) CPU_SET(cpu, &mine);
    ++i;
  }
  return mine;
}

class Launch {
 public:
  explicit Launch(const LaunchOptions& options) : options_(options), ranks_(static_cast<size_t>(options.ranks)) {
    result_.ranks.resize(ranks_.size());
  }
  ~Launch() {
    for (const Rank& r : ranks_)
      if (r.pid) kill(-r.pid, SIGKILL), waitpid(r.pid, nullptr, 0);
    sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
  }

  Result<LaunchResult> run() {
    sigset_t mask;
    sigemptyset(&mask);
    for (int s : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&mask, s);
    sigprocmask(SIG_BLOCK, &mask, &old_mask_);
    signals_ = Descriptor(signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) return system_error("signalfd");
    TRY_ASSIGN(Meeting meeting, open_meeting());
    for (int r = 0; r < options_.ranks; ++r) TRY(start(r, meeting));
    while (running() || (any_output() && Clock::now() - last_end_ < kAfterlife)) step();
    for (Rank& r : ranks_)
      for (Stream* s : {&r.out, &r.err}) s->write_lines(true);
    if (stopping_)
      for (pid_t group : groups_) kill(-group, SIGKILL);  // what ranks had started themselves
    return result_;
  }

 private:
  Status start(int rank, const Meeting& meeting) {
    int out[2], err[2], failed[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0 || pipe2(failed, O_CLOEXEC) != 0) return system_error("pipe");
    Rank& r = ranks_[static_cast<size_t>(rank)];
    const std::string prefix = "[" + std::to_string(rank) + "] ";
    r.out = {Descriptor(out[0]), STDOUT_FILENO, prefix, ""};
    r.err = {Descriptor(err[0]), STDERR_FILENO, prefix, ""};
    Descriptor out_end(out[1]), err_end(err[1]), failed_here(failed[0]), failed_there(failed[1]);
    const pid_t parent = getpid(), pid = fork();
    if (pid < 0) return system_error("cannot start a process");
    if (pid == 0) {
      become(rank, meeting, parent, out[1], err[1]);
      const int code = errno;
      (void)!write(failed[1], &code, sizeof code);
      _exit(127);
    }
    setpgid(pid, pid);  // here and there: whoever comes first
    r.pid = pid;
    groups_.push_back(pid);
    failed_there.reset();
    int code = 0;
    if (read(failed_here.get(), &code, sizeof code) == sizeof code)
      return usage("cannot start " + quote(options_.command[0]) + ": " + std::strerror(code));
    return {};
  }

  // In the new process; comes back when the command cannot be started, with the reason in errno.
  void become(int rank, const Meeting& meeting, pid_t parent, int out, int err) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    for (int s : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
    Descriptor empty(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (dup2(empty.get(), STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) return;
    if (options_.share_processors) {
      const cpu_set_t mine = share_of(rank, options_.ranks);
      sched_setaffinity(0, sizeof mine, &mine);
    }
    auto set = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 1); };
    const std::string me = std::to_string(rank), all = std::to_string(options_.ranks);
    set("WEFT_RANK", me), set("WEFT_SIZE", all), set("WEFT_LOCAL_RANK", me), set("WEFT_LOCAL_SIZE", all);
    set("WEFT_RENDEZVOUS", meeting.url), set("WEFT_NONCE", meeting.nonce);
    unsetenv("WEFT_LISTENER");
    if (rank == 0) {
      const int listener = dup(meeting.listener.get());  // without close-on-exec
      if (listener < 0) return;
      set("WEFT_LISTENER", std::to_string(listener));
    }
    std::vector<char*> argv;
    for (const std::string& a : options_.command) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
  }

  bool running() const {
    for (const Rank& r : ranks_)
      if (r.pid) return true;
    return false;
  }
  bool any_output() const {
    for (const Rank& r : ranks_)
      if (r.out.fd || r.err.fd) return true;
    return false;
  }

  void step() {
    std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0}};
    std::vector<Stream*> streams;
    for (Rank& r : ranks_)
      for (Stream* s : {&r.out, &r.err})
        if (s->fd) fds.push_back({s->fd.get(), POLLIN, 0}), streams.push_back(s);
    poll(fds.data(), fds.size(), 100);
    for (size_t i = 0; i < streams.size(); ++i)
      if (fds[i + 1].revents) streams[i]->read_some();
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info)
      if (info.ssi_signo != SIGCHLD) pass_on(static_cast<int>(info.ssi_signo));
    reap();
    const Clock::time_point now = Clock::now();
    if (!stopping_ && options_.timeout_s > 0 && std::chrono::duration<double>(now - begin_).count() > options_.timeout_s && running()) {
      result_.timed_out = true;
      options_.log("the ranks did not end within " + number_text(options_.timeout_s) + " s");
      stop(SIGTERM);
    }
    if (stopping_ && !killed_ && std::chrono::duration<double>(now - stop_time_).count() > options_.grace_s) kill_all();
  }

  void reap() {
    for (size_t i = 0; i < ranks_.size(); ++i) {
      Rank& r = ranks_[i];
      int status = 0;
      if (!r.pid || waitpid(r.pid, &status, WNOHANG) != r.pid) continue;
      r.pid = 0;
      last_end_ = Clock::now();
      RankEnd& end = result_.ranks[i];
      end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      end.code = end.signal ? 128 + end.signal : WEXITSTATUS(status);
      end.seconds = std::chrono::duration<double>(last_end_ - begin_).count();
      end.ended_by_us = stopping_;
      if (end.code == 0 || stopping_) continue;
      result_.first_failed = static_cast<int>(i);
      const std::string how = end.signal ? "by signal " + std::to_string(end.signal) + " (" + strsignal(end.signal) + ")"
                                         : "with exit code " + std::to_string(end.code);
      options_.log("rank " + std::to_string(i) + " ended " + how + (running() ? "; the others are ended" : ""));
      stop(SIGTERM);
    }
  }

  void pass_on(int signal) {
    if (result_.signal) return kill_all();  // the second time
    result_.signal = signal;
    stop(signal);
  }
  void stop(int signal) {
    if (!std::exchange(stopping_, true)) stop_time_ = Clock::now();
    send(signal);
  }
  void kill_all() {
    killed_ = true;
    send(SIGKILL);
  }
  void send(int signal) {
    for (const Rank& r : ranks_)
      if (r.pid) kill(-r.pid, signal);
  }

  const LaunchOptions& options_;
  std::vector<Rank> ranks_;
  std::vector<pid_t> groups_;  // of processes, a rank each
  Descriptor signals_;
  sigset_t old_mask_{};
  LaunchResult result_;
  Clock::time_point begin_ = Clock::now(), stop_time_, last_end_;
  bool stopping_ = false, killed_ = false;
};

}  // namespace

int LaunchResult::exit_code() const {
  if (first_failed >= 0) return ranks[static_cast<size_t>(first_failed)].code;
  if (timed_out) return static_cast<int>(Code::kResources);
  return signal ? static_cast<int>(Code::kCancelled) : 0;
}

Result<LaunchResult> launch(const LaunchOptions& options) { return Launch(options).run(); }

}  // namespace weft::cli
