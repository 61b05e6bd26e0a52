// ThreadPool: the one pool on which kernels run. A launch is `tasks` equal pieces of work that threads take in chunks,
// large ones first, until none is left; the calling thread works too, as thread 0.
//
// Why not join all workers at each launch: a launch of a few microseconds would wait for threads that still wake up.
// Here a worker that comes late finds the launch closed and goes back to sleep, so a launch never costs more than
// doing it alone plus one wake-up call. Workers spin for some tens of microseconds after a launch, so that the next
// one of the same run finds them awake, then sleep until called: an idle pool uses no processor time.
//
// Edge cases: a call from inside a task, and a call while another thread's launch is under way, run on the calling
// thread alone (the first under its own thread index, the second under index 0): nothing waits, nothing deadlocks.
// After a fork() that met no launch the child has no workers and its launches run on the caller. A task must not throw.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "ir/base/result.h"

namespace weft {

// The processors this process may run on (its affinity mask), at least 1.
int usable_cores();

class ThreadPool {
 public:
  // `threads` counts the caller: n starts n - 1 workers. 0: usable_cores(). Error kUsage for a negative number or more
  // than kMaxThreads, kResources when the system refuses a thread.
  static Result<std::shared_ptr<ThreadPool>> create(int threads = 0);
  ~ThreadPool();  // no launch may be under way
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  static constexpr int kMaxThreads = 1024;
  int threads() const { return threads_; }

  // Calls fn(begin, end, thread_index) until [0, tasks) is covered exactly once; returns when all calls have returned,
  // with their writes visible. Ranges are never empty; 0 <= thread_index < threads(), and within one launch no two
  // calls with the same index overlap. Chunks hold at least `grain` tasks (but the last). No heap allocation. Thread safe.
  template <class Fn>
  void parallel_for(int64_t tasks, Fn&& fn, int64_t grain = 1) {
    using F = std::remove_reference_t<Fn>;
    run(tasks, grain,
        [](void* f, int64_t begin, int64_t end, int thread_index) { (*static_cast<F*>(f))(begin, end, thread_index); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using TaskFn = void (*)(void* fn, int64_t begin, int64_t end, int thread_index);
  ThreadPool() = default;
  void run(int64_t tasks, int64_t grain, TaskFn call, void* fn);
  void work(int thread_index);
  void worker_main(int thread_index);
  void wait_for_workers();

  // The launch under way. Written by its caller before it opens, read by workers that joined.
  TaskFn call_ = nullptr;
  void* fn_ = nullptr;
  int64_t tasks_ = 0, grain_ = 1;
  alignas(64) std::atomic<int64_t> next_{0};  // first task not yet taken
  // Launch number (high bits), open flag, number of workers inside. A worker joins by adding 1 while the flag is up.
  alignas(64) std::atomic<uint32_t> state_{0};
  std::atomic<uint32_t> sleepers_{0};      // workers asleep on state_
  std::atomic<uint32_t> seats_{0};         // workers that the launch can use
  alignas(64) std::atomic<uint32_t> left_{0};  // rises when the last worker leaves a closed launch; the caller sleeps on it
  std::atomic<uint32_t> caller_sleeps_{0};
  std::atomic<bool> busy_{false};          // a caller owns the launch
  std::atomic<bool> stop_{false};
  int threads_ = 1;
  int owner_ = 0;  // process that started the workers
  int64_t spin_ns_ = 0;
  std::vector<std::thread> workers_;
};

// fn(task) for each of [0, tasks), by the pool's threads (null: by this one). The Error of the first task that failed; later
// ones may not have run.
template <class Fn>
Status for_all(ThreadPool* pool, int64_t tasks, Fn&& fn) {
  std::atomic<int64_t> failed{tasks};
  std::mutex mutex;
  Status first;
  auto work = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end && i < failed.load(std::memory_order_relaxed); ++i) {
      Status s = fn(i);
      if (s.ok()) continue;
      std::lock_guard lock(mutex);
      if (i >= failed) continue;
      failed = i;
      first = std::move(s);
    }
  };
  if (pool) pool->parallel_for(tasks, work);
  else work(0, tasks, 0);
  return first;
}

}  // namespace weft
