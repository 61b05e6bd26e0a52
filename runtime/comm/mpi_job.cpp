#include "runtime/comm/mpi_job.h"

#include <algorithm>
#include <thread>

#include "ir/base/text.h"
#include "runtime/comm/tcp.h"
#include "runtime/comm/wire.h"

namespace weft {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

// What MPI sends at once, without the receiver's help.
constexpr size_t kLastWord = 3800, kLastHint = 200;
constexpr std::chrono::milliseconds kLinger{100};
constexpr microseconds kSpin{5}, kListen{500};  // before the first sleep, and before it looks whether somebody has failed
constexpr microseconds kMoving{50'000};         // so long data that all have begun to move are asked for without sleep

std::string cut(const std::string& s, size_t n) { return s.size() <= n ? s : s.substr(0, n) + " …"; }

}  // namespace

Status MpiJob::call(const std::function<int(const weft_mpi&)>& f, const std::string& doing) {
  std::lock_guard lock(mutex_);
  const int code = f(*api_);
  if (code == 0) return {};
  char text[512] = "";
  api_->error_text(code, text, sizeof text);
  return error(Code::kDevice, "MPI, " + doing + ": " + text);
}

std::optional<Error> MpiJob::failure() {
  std::lock_guard lock(mutex_);
  if (failure_) return failure_;
  std::string text(kMaxHello, 0);
  int bytes = 0, from = -1;
  if (api_->hear(world_, text.data(), static_cast<int>(text.size()), &bytes, &from) != 0 || from < 0) return {};
  text.resize(static_cast<size_t>(bytes));
  Result<std::optional<WireFrame>> f = take_frame(text, kMaxHello);
  if (!f.ok() || !*f) return {};
  FrameReader r(**f);
  const bool told = r.number() != 0;
  Error e = error(checked_code(r.number()), told ? "rank " + std::to_string(from) + " failed: " : "");
  e.message += r.text(), e.hint = r.text();
  failure_ = std::move(e);
  return failure_;
}

void MpiJob::stop(int rank, const Error& why, const std::vector<uint8_t>& heard_by) {
  {
    std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = why;
    std::string text = why.message;
    if (!why.node.empty()) text += "\n  node: " + why.node;
    const std::string word = FrameWriter(WireKind::failed).number(rank >= 0).number(static_cast<uint64_t>(why.code))
                                 .text(cut(text, kLastWord)).text(cut(why.hint, kLastHint)).frame();
    api_->tell(world_, word.data(), static_cast<int>(word.size()), heard_by.empty() ? nullptr : heard_by.data());
  }
  if (heard_by.empty()) return;
  // MPI's launcher ends all ranks when one ends: the others shall hear why before that.
  for (const Clock::time_point end = Clock::now() + kLinger; Clock::now() < end; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
    std::lock_guard lock(mutex_);
    int done;
    api_->test(world_, &done, nullptr);
  }
}

Status MpiJob::finish(void* comm, const std::vector<int>& ranks, const CommOptions& options, std::vector<uint8_t>& come, Waiting what,
                      const std::function<Error(const std::string&)>& late) {
  const Clock::time_point begin = Clock::now();
  std::vector<std::string> absent;
  auto give_up = [&](const std::string& why, const std::vector<uint8_t>& heard_by) {
    for (size_t r = 0; r < come.size(); ++r)
      if (!come[r]) absent.push_back(std::to_string(ranks[r]));
    const Error e = late(why + (absent.empty() ? " the other ranks" : (absent.size() > 1 ? " ranks " : " rank ") + join(absent, ", ")));
    stop(-1, e, heard_by);
    return e;
  };
  // MPI moves data only while it is asked: often at first, the seldomer the longer it takes.
  for (;;) {
    int done = 0;
    const Status looked = call([&](const weft_mpi& m) { return m.test(comm, &done, what == Waiting::for_one ? nullptr : come.data()); }, "waiting");
    if (!looked.ok()) {  // those who have not come may be gone: MPI ends a process that sends to such
      std::vector<uint8_t> here(static_cast<size_t>(place_.size));
      for (size_t r = 0; r < come.size(); ++r) here[static_cast<size_t>(ranks[r])] = come[r];
      return give_up(looked.error().message + ", as it waited for", here);
    }
    if (done) return {};
    const auto waited = std::chrono::duration_cast<microseconds>(Clock::now() - begin);
    if (waited < kSpin) continue;
    if (waited > kListen)
      if (std::optional<Error> e = failure()) return *e;
    if (options.cancel && options.cancel->load()) return give_up("was told to end as it waited for", {});  // so are the others; there is no time to lose
    if (waited >= options.timeout) return give_up("waited " + std::to_string(options.timeout.count()) + " ms for", everybody());
    if (what == Waiting::for_data && waited < kMoving) std::this_thread::yield();
    else std::this_thread::sleep_for(std::min(microseconds(1000), waited / 8));
  }
}

}  // namespace weft
