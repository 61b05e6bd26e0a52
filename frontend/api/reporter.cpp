#include "frontend/api/reporter.h"

namespace weft {

namespace {
constexpr std::chrono::milliseconds kQuiet{800};   // at most so long without a word
constexpr std::chrono::milliseconds kPause{20};    // between two words about one stage
}  // namespace

Reporter::Reporter(const api::CompileOptions& options)
    : callback_(options.progress), logger_(options.log), cancel_(options.cancel), begin_(std::chrono::steady_clock::now()), told_(begin_) {
  if (callback_) ticker_ = std::thread([this] { tick(); });
}

Reporter::~Reporter() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (ticker_.joinable()) ticker_.join();
}

double Reporter::elapsed_s() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

void Reporter::progress(const std::string& stage, const std::string& detail, int64_t done, int64_t total) {
  if (!callback_) return;
  std::lock_guard lock(mutex_);
  bool new_stage = now_.stage != stage;
  now_ = {stage, detail, done, total, elapsed_s()};
  auto now = std::chrono::steady_clock::now();
  if (!new_stage && done != total && now - told_ < kPause) return;
  told_ = now;
  callback_(now_);
}

void Reporter::log(api::LogLevel level, const std::string& text) {
  if (!logger_) return;
  std::lock_guard lock(log_mutex_);
  logger_(level, text);
}

void Reporter::tick() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    wake_.wait_for(lock, kQuiet / 2);
    auto now = std::chrono::steady_clock::now();
    if (stop_ || now - told_ < kQuiet || now_.stage.empty()) continue;
    told_ = now;
    now_.elapsed_s = elapsed_s();
    callback_(now_);
  }
}

}  // namespace weft
