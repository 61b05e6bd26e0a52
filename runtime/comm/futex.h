// Sleeping on a word of memory that threads, or processes, share.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace weft {

// Until the word is not `expected`, somebody wakes it, or the time is over. May return early.
void futex_wait(std::atomic<uint32_t>& word, uint32_t expected, std::chrono::milliseconds time);
void futex_wake_all(std::atomic<uint32_t>& word);

}  // namespace weft
