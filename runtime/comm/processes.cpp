#include "runtime/comm/processes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

namespace weft {

namespace {

class ProcessJob final : public BoardJob {
 public:
  ProcessJob(std::shared_ptr<KeyValues> values, const CommOptions& options) : values_(std::move(values)), options_(options) {}

  Result<std::shared_ptr<SharedMemory>> memory(const std::string& key, int ranks, bool first) override {
    const size_t bytes = Board::bytes(ranks);
    if (first) {
      TRY_ASSIGN(std::shared_ptr<SharedMemory> m, SharedMemory::create(bytes));
      TRY(values_->set("board:" + key, std::to_string(getpid()) + " " + std::to_string(m->fd())));
      return m;
    }
    TRY_ASSIGN(std::string where, values_->get("board:" + key, options_.timeout));
    std::istringstream text(where);
    pid_t process = 0;
    int number = -1;
    text >> process >> number;
    const std::string path = "/proc/" + std::to_string(process) + "/fd/" + std::to_string(number);
    Descriptor fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    struct stat s;
    if (!fd || fstat(fd.get(), &s) != 0) {
      Error e = error(Code::kDevice, "cannot open the shared memory of process " + std::to_string(process) + ": " + std::strerror(errno));
      return e.with_hint("the ranks of one machine must run as one user and may not be hidden from each other");
    }
    if (!S_ISREG(s.st_mode) || static_cast<size_t>(s.st_size) != bytes)
      return error(Code::kDevice, "the shared memory of process " + std::to_string(process) + " has another size than " + std::to_string(bytes));
    return SharedMemory::map(std::move(fd), bytes);
  }
  std::optional<Error> lost() override { return values_->lost(); }
  const char* transport() const override { return "processes"; }

 private:
  std::shared_ptr<KeyValues> values_;
  CommOptions options_;
};

}  // namespace

std::shared_ptr<BoardJob> process_job(std::shared_ptr<KeyValues> values, const CommOptions& options) {
  return std::make_shared<ProcessJob>(std::move(values), options);
}

}  // namespace weft
