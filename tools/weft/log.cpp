#include "tools/weft/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <unistd.h>

#include <mutex>

namespace weft::cli {

struct Log::Impl {
  spdlog::logger logger{"weft", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>()};
  std::mutex mutex;
  bool terminal = isatty(STDERR_FILENO) == 1;
  bool line_open = false;   // a progress line stands on the terminal
  double told_s = 0;        // when the last plain line was written

  void clear_line() {
    if (line_open) std::fputs("\r\x1b[K", stderr);
    line_open = false;
  }
};

Log::Log() : impl_(std::make_unique<Impl>()) {
  impl_->logger.set_pattern("%^%l%$: %v");
  set_level("info");
}

Log::~Log() { end_progress(); }

bool Log::set_level(const std::string& level) {
  if (level != "debug" && level != "info" && level != "warning" && level != "error" && level != "off") return false;
  impl_->logger.set_level(spdlog::level::from_str(level));
  return true;
}

void Log::write(api::LogLevel level, const std::string& text) {
  static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  std::lock_guard lock(impl_->mutex);
  impl_->clear_line();
  impl_->logger.log(kLevels[static_cast<int>(level)], "{}", text);
}

void Log::progress(const api::Progress& p) {
  std::string text = p.stage;
  if (p.total > 0) text += " " + std::to_string(p.done) + "/" + std::to_string(p.total);
  if (!p.detail.empty()) text += ": " + p.detail;
  progress(text, p.elapsed_s);
}

void Log::progress(const std::string& text, double elapsed_s) {
  if (!progress_on_) return;
  std::lock_guard lock(impl_->mutex);
  std::string line = fmt::format("[{:6.1f} s] {}", elapsed_s, text);
  if (impl_->terminal) {
    if (line.size() > 100) line.resize(100);
    std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
    std::fflush(stderr);
    impl_->line_open = true;
    return;
  }
  if (elapsed_s < impl_->told_s) impl_->told_s = 0;  // another compilation
  if (elapsed_s - impl_->told_s < 0.75) return;
  impl_->told_s = elapsed_s;
  std::fprintf(stderr, "%s\n", line.c_str());
}

void Log::end_progress() {
  std::lock_guard lock(impl_->mutex);
  impl_->clear_line();
  std::fflush(stderr);
}

}  // namespace weft::cli
