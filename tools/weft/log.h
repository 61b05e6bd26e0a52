// Log lines and progress on stderr. The only door to spdlog, which log.cpp alone includes.
#pragma once

#include <memory>
#include <string>

#include "weft/compile.h"

namespace weft::cli {

class Log {
 public:
  Log();  // level info
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // "debug", "info", "warning", "error", "off"; false for another word.
  bool set_level(const std::string& level);
  void set_progress(bool on) { progress_on_ = on; }

  // Thread safe, all of them.
  void write(api::LogLevel level, const std::string& text);
  void debug(const std::string& text) { write(api::LogLevel::debug, text); }
  void info(const std::string& text) { write(api::LogLevel::info, text); }
  void warning(const std::string& text) { write(api::LogLevel::warning, text); }
  void error(const std::string& text) { write(api::LogLevel::error, text); }

  // On a terminal one line that is overwritten; elsewhere a line a second at most, and none for what takes less.
  void progress(const api::Progress& p);
  void progress(const std::string& text, double elapsed_s);
  void end_progress();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  bool progress_on_ = true;
};

}  // namespace weft::cli
