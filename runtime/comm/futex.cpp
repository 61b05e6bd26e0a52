#include "runtime/comm/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

namespace weft {

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected, std::chrono::milliseconds time) {
  const auto ms = std::max<int64_t>(time.count(), 1);
  const timespec t{ms / 1000, ms % 1000 * 1'000'000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, expected, &t, nullptr, 0);
}
void futex_wake_all(std::atomic<uint32_t>& word) { ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

}  // namespace weft
