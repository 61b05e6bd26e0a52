#include "runtime/comm/threads.h"

#include <map>
#include <mutex>

#include "runtime/comm/shared.h"

namespace weft {

namespace {

class ThreadJob final : public BoardJob {
 public:
  Result<std::shared_ptr<SharedMemory>> memory(const std::string& key, int ranks, bool) override {
    std::lock_guard lock(mutex_);
    std::shared_ptr<SharedMemory>& m = boards_[key];
    if (m) return m;
    TRY_ASSIGN(m, SharedMemory::anonymous(Board::bytes(ranks)));
    return m;
  }
  std::optional<Error> lost() override { return {}; }
  const char* transport() const override { return "threads"; }

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<SharedMemory>> boards_;
};

}  // namespace

Result<std::vector<std::unique_ptr<Communicator>>> thread_ranks(int n, const CommOptions& options) {
  auto job = std::make_shared<ThreadJob>();
  if (n < 1) return resources("a group of " + std::to_string(n) + " ranks");
  std::vector<std::unique_ptr<Communicator>> out;
  for (int r = 0; r < n; ++r) {
    TRY_ASSIGN(std::unique_ptr<Communicator> c, board_communicator(job, r, n, options));
    out.push_back(std::move(c));
  }
  return out;
}

}  // namespace weft
