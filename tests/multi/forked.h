// Ranks as forked processes: each runs a function and tells what it came to through a pipe.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace weft::multi_test {

class Forked {
 public:
  // f(rank) in a process for each rank. Start it before the test has threads.
  Forked(int n, const std::function<std::string(int)>& f);
  ~Forked();  // kills who is left
  Forked(const Forked&) = delete;
  Forked& operator=(const Forked&) = delete;

  pid_t process(int rank) const { return pids_[static_cast<size_t>(rank)]; }
  // What each returned; "signal 9" for one that was killed. Waits for all of them.
  std::vector<std::string> finish();
  std::string finish(int rank);  // of one rank, once

 private:
  std::vector<pid_t> pids_;
  std::vector<int> pipes_;
};

// An empty folder of this test's own.
std::string fresh_folder();
// A port of this machine that was free a moment ago.
int free_port();

}  // namespace weft::multi_test
