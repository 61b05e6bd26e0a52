#include "tests/multi/forked.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

namespace weft::multi_test {

Forked::Forked(int n, const std::function<std::string(int)>& f) {
  for (int rank = 0; rank < n; ++rank) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const std::string out = f(rank);
      for (size_t done = 0; done < out.size();) {
        const ssize_t k = write(ends[1], out.data() + done, out.size() - done);
        if (k <= 0) break;
        done += static_cast<size_t>(k);
      }
      _exit(0);
    }
    close(ends[1]);
    pids_.push_back(pid);
    pipes_.push_back(ends[0]);
  }
}

std::string Forked::finish(int rank) {
  const auto r = static_cast<size_t>(rank);
  std::string text;
  char buffer[4096];
  for (ssize_t k; (k = read(pipes_[r], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(k));
  int status = 0;
  waitpid(pids_[r], &status, 0);
  pids_[r] = 0;
  if (WIFSIGNALED(status)) text += "signal " + std::to_string(WTERMSIG(status));
  else if (WEXITSTATUS(status) != 0) text += "exit " + std::to_string(WEXITSTATUS(status));
  return text;
}

std::vector<std::string> Forked::finish() {
  std::vector<std::string> out;
  for (size_t r = 0; r < pids_.size(); ++r) out.push_back(finish(static_cast<int>(r)));
  return out;
}

Forked::~Forked() {
  for (pid_t p : pids_)
    if (p > 0) kill(p, SIGKILL), waitpid(p, nullptr, 0);
  for (int p : pipes_) close(p);
}

std::string fresh_folder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(info->test_suite_name()) + "." + info->name();
  for (char& c : name)
    if (c == '/') c = '_';
  const std::string path = testing::TempDir() + "weft-multi." + std::to_string(getpid()) + "/" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  if (bind(fd, reinterpret_cast<sockaddr*>(&a), size) != 0 || getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size) != 0) std::abort();
  close(fd);
  return ntohs(a.sin_port);
}

}  // namespace weft::multi_test
