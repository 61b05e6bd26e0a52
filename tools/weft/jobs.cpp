#include "tools/weft/jobs.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

namespace weft::cli {

namespace {

constexpr int kMaxJobs = 256;

// In memory that all processes share.
struct Board {
  std::atomic<int> next{0};
  std::atomic<int> at[kMaxJobs];  // the piece that a job works on, -1: none
};
static_assert(std::atomic<int>::is_always_lock_free);

struct Head {
  int index;
  uint32_t size;
};

struct Job {
  pid_t pid = -1;
  int fd = -1;
  std::string received;
};

bool write_all(int fd, const void* data, size_t size) {
  const char* p = static_cast<const char*>(data);
  while (size) {
    ssize_t n = write(fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

class Jobs {
 public:
  using Work = std::function<std::string(int)>;
  using Done = std::function<void(int, std::string)>;
  Jobs(Board* board, int count, const Work& work, const Done& done, const Done& crashed, const std::function<bool()>& stop)
      : board_(board), count_(count), work_(work), done_(done), crashed_(crashed), stop_(stop) {}

  Status run(int jobs) {
    jobs_.resize(static_cast<size_t>(jobs));
    for (size_t i = 0; i < jobs_.size(); ++i) TRY(start(i));
    std::vector<pollfd> fds;
    for (;;) {
      fds.clear();
      for (const Job& j : jobs_)
        if (j.fd >= 0) fds.push_back({j.fd, POLLIN, 0});
      if (fds.empty()) return {};
      if (poll(fds.data(), fds.size(), 500) < 0 && errno != EINTR) return resources(std::string("poll: ") + std::strerror(errno));
      if (stop_()) board_->next = count_;
      for (const pollfd& p : fds)
        if (p.revents) TRY(receive(p.fd));
    }
  }

 private:
  Status start(size_t i) {
    int ends[2];
    if (pipe(ends) != 0) return resources(std::string("pipe: ") + std::strerror(errno));
    board_->at[i] = -1;
    pid_t pid = fork();
    if (pid < 0) return resources(std::string("fork: ") + std::strerror(errno));
    if (pid == 0) {
      close(ends[0]);
      child(i, ends[1]);
    }
    close(ends[1]);
    jobs_[i] = {pid, ends[0], ""};
    return {};
  }

  [[noreturn]] void child(size_t i, int fd) {
    for (int k; !stop_() && (k = board_->next.fetch_add(1)) < count_;) {
      board_->at[i] = k;
      std::string text = work_(k);
      Head head{k, static_cast<uint32_t>(text.size())};
      if (!write_all(fd, &head, sizeof head) || !write_all(fd, text.data(), text.size())) _exit(1);
      board_->at[i] = -1;
    }
    _exit(0);
  }

  Status receive(int fd) {
    size_t i = 0;
    while (jobs_[i].fd != fd) ++i;
    Job& j = jobs_[i];
    char buffer[1 << 16];
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0) return {};
    j.received.append(buffer, static_cast<size_t>(n));
    Head head;
    while (j.received.size() >= sizeof head) {
      std::memcpy(&head, j.received.data(), sizeof head);
      if (j.received.size() < sizeof head + head.size) break;
      std::string text = j.received.substr(sizeof head, head.size);
      j.received.erase(0, sizeof head + head.size);
      done_(head.index, std::move(text));
    }
    return n == 0 ? ended(i) : Status();
  }

  Status ended(size_t i) {
    Job& j = jobs_[i];
    int status = 0;
    while (waitpid(j.pid, &status, 0) < 0 && errno == EINTR) {}
    close(j.fd);
    j.fd = -1;
    int lost = board_->at[i];
    if (lost < 0) return {};
    crashed_(lost, WIFSIGNALED(status) ? std::string("crashed: ") + strsignal(WTERMSIG(status))
                                       : "ended with exit code " + std::to_string(WEXITSTATUS(status)));
    return board_->next < count_ ? start(i) : Status();
  }

  Board* board_;
  const int count_;
  const Work& work_;
  const Done& done_;
  const Done& crashed_;
  const std::function<bool()>& stop_;
  std::vector<Job> jobs_;
};

}  // namespace

Status run_jobs(int count, int jobs, const std::function<std::string(int)>& work, const std::function<void(int, std::string)>& done,
                const std::function<void(int, std::string)>& crashed, const std::function<bool()>& stop) {
  void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return resources("no memory to share between processes");
  Status s = Jobs(new (memory) Board, count, work, done, crashed, stop).run(std::min(std::min(jobs, count), kMaxJobs));
  munmap(memory, sizeof(Board));
  return s;
}

}  // namespace weft::cli
