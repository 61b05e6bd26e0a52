// Passes progress and log lines on to the user's callbacks: one call at a time, and at least once a second while a
// compilation lasts, whatever it is busy with.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "weft/compile.h"

namespace weft {

class Reporter {
 public:
  explicit Reporter(const api::CompileOptions& options);
  ~Reporter();  // ends the ticking
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;

  // Thread safe, all of them.
  void progress(const std::string& stage, const std::string& detail, int64_t done = 0, int64_t total = 0);
  void log(api::LogLevel level, const std::string& text);
  bool cancelled() const { return cancel_ && cancel_->load(std::memory_order_relaxed); }
  double elapsed_s() const;

 private:
  void tick();

  const std::function<void(const api::Progress&)> callback_;
  const std::function<void(api::LogLevel, const std::string&)> logger_;
  const std::atomic<bool>* cancel_;
  const std::chrono::steady_clock::time_point begin_;
  std::mutex mutex_, log_mutex_;
  std::condition_variable wake_;
  api::Progress now_;
  std::chrono::steady_clock::time_point told_;
  bool stop_ = false;
  std::thread ticker_;  // only where there is a callback
};

}  // namespace weft
