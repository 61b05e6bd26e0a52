// Processes that belong together: the ranks of one job on this machine. When one fails the others are ended; when this
// process dies the system ends them all. Signals that would end this process are passed on.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ir/base/result.h"

namespace weft::cli {

struct LaunchOptions {
  int ranks = 1;
  std::vector<std::string> command;
  double timeout_s = 0;  // 0: none
  double grace_s = 5;    // from SIGTERM to SIGKILL
  bool share_processors = true;
  std::function<void(const std::string&)> log;
};

struct RankEnd {
  int code = 0;    // of its exit; 128 + the signal for one that a signal ended
  int signal = 0;
  double seconds = 0;
  bool ended_by_us = false;  // after another's failure, a signal to us, or the time-out
};

struct LaunchResult {
  std::vector<RankEnd> ranks;
  int first_failed = -1;   // the rank that failed first by itself
  int signal = 0;          // that was passed on
  bool timed_out = false;
  int exit_code() const;   // of the first failure; 7 (cancelled) after a signal, 5 (resources) after the time-out
};

// Lines that the ranks write go to stdout and stderr behind "[rank] ". Their stdin is empty. Error kUsage for a command that
// cannot be started, kResources when the system refuses a process or a socket.
Result<LaunchResult> launch(const LaunchOptions& options);

}  // namespace weft::cli
