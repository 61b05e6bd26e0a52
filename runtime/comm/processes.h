// Ranks as processes of one machine, over a board in shared memory. A group's first rank makes the memory, a file without a
// name, and tells the others through the rendezvous where to open it; nothing is left behind when processes are killed.
#pragma once

#include "runtime/comm/shared.h"

namespace weft {

// What processes need of their rendezvous.
class KeyValues {
 public:
  virtual ~KeyValues() = default;
  virtual Status set(const std::string& key, const std::string& value) = 0;
  virtual Result<std::string> get(const std::string& key, std::chrono::milliseconds timeout) = 0;  // waits until it is set
  virtual std::optional<Error> lost() const = 0;
};

std::shared_ptr<BoardJob> process_job(std::shared_ptr<KeyValues> values, const CommOptions& options);

}  // namespace weft
