#include "runtime/cpu/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <system_error>

namespace weft {

namespace {
constexpr uint32_t kActiveMask = 0x7ff, kOpen = 0x800, kLaunch = 0x1000;
static_assert(ThreadPool::kMaxThreads <= static_cast<int>(kActiveMask));
constexpr int64_t kSpinNs = 40'000;

// The pool and index under which this thread is running a task, for calls from inside it.
struct Running {
  const ThreadPool* pool = nullptr;
  int index = 0;
};
thread_local Running running;

void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void futex_wake(std::atomic<uint32_t>& word, int count) { ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0); }

// Spins until done() or for `ns`; true when done.
template <class Done>
bool spin_until(int64_t ns, Done done) {
  if (done()) return true;
  if (ns == 0) return false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(ns);
  do {
    for (int i = 0; i < 32; ++i) {
      cpu_relax();
      if (done()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}
}  // namespace

int usable_cores() {
  // The kernel refuses a mask smaller than its own, so the size is found by trying.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(cpus));
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    const int rc = ::sched_getaffinity(0, bytes, set);
    const int count = rc == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (rc == 0) return std::max(count, 1);
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Result<std::shared_ptr<ThreadPool>> ThreadPool::create(int threads) {
  if (threads < 0 || threads > kMaxThreads)
    return usage("the number of threads must be between 0 (one per usable core) and " + std::to_string(kMaxThreads) + ", not " +
                 std::to_string(threads));
  const int cores = usable_cores();
  std::shared_ptr<ThreadPool> pool(new ThreadPool);
  pool->owner_ = ::getpid();
  pool->threads_ = threads == 0 ? std::min(cores, kMaxThreads) : threads;
  // With fewer cores than threads, a spinning thread would hold the core that another one needs.
  pool->spin_ns_ = pool->threads_ > 1 && pool->threads_ <= cores ? kSpinNs : 0;
  ThreadPool* p = pool.get();
  try {
    for (int i = 1; i < p->threads_; ++i) p->workers_.emplace_back([p, i] { p->worker_main(i); });
  } catch (const std::system_error& e) {
    return resources("cannot start thread " + std::to_string(p->workers_.size() + 1) + " of " + std::to_string(p->threads_) + ": " +
                     e.code().message());
  }
  return pool;
}

ThreadPool::~ThreadPool() {
  if (::getpid() != owner_) {  // a fork's copy: the threads do not exist here
    for (std::thread& t : workers_) t.detach();
    return;
  }
  stop_.store(true);
  state_.fetch_add(kLaunch);
  futex_wake(state_, INT_MAX);
  for (std::thread& t : workers_) t.join();
}

// Takes chunks until none is left. Guided: a chunk is a fixed share of what remains, so the first ones are large and
// the last ones even out the finish.
void ThreadPool::work(int thread_index) {
  const Running outer = running;
  running = {this, thread_index};
  const int64_t share = 2 * static_cast<int64_t>(threads_);
  int64_t begin = next_.load(std::memory_order_relaxed);
  while (begin < tasks_) {
    const int64_t left = tasks_ - begin, chunk = std::min(left, std::max(grain_, left / share));
    if (!next_.compare_exchange_weak(begin, begin + chunk, std::memory_order_relaxed)) continue;
    call_(fn_, begin, begin + chunk, thread_index);
    begin = next_.load(std::memory_order_relaxed);
  }
  running = outer;
}

void ThreadPool::run(int64_t tasks, int64_t grain, TaskFn call, void* fn) {
  if (tasks <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const bool inside = running.pool == this;
  if (threads_ == 1 || tasks <= grain || inside || busy_.exchange(true, std::memory_order_acquire)) {
    call(fn, 0, tasks, inside ? running.index : 0);
    return;
  }
  call_ = call;
  fn_ = fn;
  tasks_ = tasks;
  grain_ = grain;
  next_.store(0, std::memory_order_relaxed);
  const int helpers = static_cast<int>(std::min<int64_t>((tasks - 1) / grain, threads_ - 1));
  seats_.store(static_cast<uint32_t>(helpers), std::memory_order_relaxed);
  // Sequentially consistent with worker_main: either the worker that is falling asleep sees this launch, or it is
  // counted here.
  state_.fetch_add(kLaunch | kOpen);
  if (sleepers_.load() > 0) futex_wake(state_, helpers);
  work(0);
  state_.fetch_and(~kOpen);
  wait_for_workers();
  busy_.store(false, std::memory_order_release);
}

void ThreadPool::wait_for_workers() {
  auto all_left = [this] { return (state_.load() & kActiveMask) == 0; };
  if (spin_until(spin_ns_, all_left)) return;
  caller_sleeps_.store(1);
  for (;;) {
    const uint32_t seen = left_.load();
    if (all_left()) break;
    futex_wait(left_, seen);
  }
  caller_sleeps_.store(0);
}

void ThreadPool::worker_main(int thread_index) {
  ::pthread_setname_np(::pthread_self(), ("weft-" + std::to_string(thread_index)).c_str());
  uint32_t seen = 0;  // number of the launch last joined or left to others; 0 is before the first
  for (;;) {
    uint32_t state = state_.load();
    const uint32_t number = state & ~(kActiveMask | kOpen);
    if (stop_.load()) return;
    if (number != seen && (state & kOpen)) {
      if ((state & kActiveMask) >= seats_.load(std::memory_order_relaxed)) {
        seen = number;  // as many as there are chunks; a stale value here costs a helper, never a result
        continue;
      }
      if (!state_.compare_exchange_weak(state, state + 1)) continue;
      seen = number;
      work(thread_index);
      const uint32_t before = state_.fetch_sub(1);
      if ((before & (kActiveMask | kOpen)) == 1) {
        left_.fetch_add(1);
        if (caller_sleeps_.load()) futex_wake(left_, 1);
      }
      continue;
    }
    auto called = [this, seen] {
      const uint32_t s = state_.load();
      return stop_.load(std::memory_order_relaxed) || ((s & kOpen) && (s & ~(kActiveMask | kOpen)) != seen);
    };
    if (spin_until(spin_ns_, called)) continue;
    sleepers_.fetch_add(1);
    // Any change of the word ends the sleep; only a new launch wakes it up.
    for (uint32_t s = state_.load(); !called(); s = state_.load()) futex_wait(state_, s);
    sleepers_.fetch_sub(1);
  }
}

}  // namespace weft
