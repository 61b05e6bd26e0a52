#include "runtime/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace weft::thread_pool_test {
namespace {

std::shared_ptr<ThreadPool> make_pool(int threads) {
  auto pool = ThreadPool::create(threads);
  EXPECT_TRUE(pool.ok());
  return *pool;
}

TEST(ThreadPool, Creation) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_EQ(make_pool(0)->threads(), usable_cores());
  EXPECT_EQ(make_pool(5)->threads(), 5);
  for (int bad : {-1, ThreadPool::kMaxThreads + 1}) {
    auto pool = ThreadPool::create(bad);
    ASSERT_FALSE(pool.ok());
    EXPECT_EQ(pool.error().code, Code::kUsage);
  }
}

TEST(ThreadPool, CoversEveryTaskOnce) {
  for (int threads : {1, 2, 3, 8}) {
    auto pool = make_pool(threads);
    for (int64_t tasks : {0, 1, 2, 3, 7, 64, 1000, 100003})
      for (int64_t grain : {0, 1, 16, 1000000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(tasks));
        std::atomic<int64_t> bad{0};
        pool->parallel_for(
            tasks,
            [&](int64_t begin, int64_t end, int thread) {
              if (begin >= end || thread < 0 || thread >= threads) ++bad;
              if (end - begin < grain && end != tasks) ++bad;
              for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
            },
            grain);
        for (auto& s : seen) ASSERT_EQ(s.load(), 1);
        ASSERT_EQ(bad.load(), 0);
      }
    int calls = 0;
    pool->parallel_for(-5, [&](int64_t, int64_t, int) { ++calls; });
    EXPECT_EQ(calls, 0);
  }
}

// Plain (not atomic) memory per thread index and per task: a second thread on one index, or a write that is not
// visible to the caller, shows as a wrong sum, and as a report under TSan.
TEST(ThreadPool, BackToBackLaunchesSeeEachOther) {
  constexpr int kTasks = 32, kLaunches = 10000;
  for (int threads : {2, 4}) {  // on a machine of two cores: with and without spinning
    auto pool = make_pool(threads);
    std::vector<int64_t> cells(kTasks, 0), per_thread(static_cast<size_t>(threads) * 16, 0);
    for (int launch = 0; launch < kLaunches; ++launch) {
      pool->parallel_for(kTasks, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; ++i) {
          cells[static_cast<size_t>(i)] += launch;
          per_thread[static_cast<size_t>(thread) * 16] += 1;
        }
      });
    }
    for (int64_t c : cells) ASSERT_EQ(c, int64_t{kLaunches} * (kLaunches - 1) / 2);
    EXPECT_EQ(std::accumulate(per_thread.begin(), per_thread.end(), int64_t{0}), int64_t{kLaunches} * kTasks);
  }
}

TEST(ThreadPool, SleepingWorkersWakeUp) {
  auto pool = make_pool(2);
  std::atomic<int> helped{0};
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than any spin
    std::atomic<int> arrived{0};
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    pool->parallel_for(2, [&](int64_t, int64_t, int thread) {
      if (thread == 1) ++helped;
      ++arrived;
      while (arrived.load() < 2 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    });
    ASSERT_EQ(arrived.load(), 2);
  }
  EXPECT_EQ(helped.load(), 20);
}

TEST(ThreadPool, NestedCallsRunOnTheirThread) {
  auto pool = make_pool(4);
  std::atomic<int64_t> sum{0}, wrong{0};
  for (int round = 0; round < 200; ++round)
    pool->parallel_for(16, [&](int64_t begin, int64_t end, int outer) {
      const auto id = std::this_thread::get_id();
      for (int64_t i = begin; i < end; ++i)
        pool->parallel_for(10, [&](int64_t b, int64_t e, int inner) {
          if (inner != outer || std::this_thread::get_id() != id) ++wrong;
          sum += e - b;
        });
    });
  EXPECT_EQ(sum.load(), 200 * 16 * 10);
  EXPECT_EQ(wrong.load(), 0);
}

TEST(ThreadPool, TwoPoolsNested) {
  auto outer = make_pool(2), inner = make_pool(2);
  std::atomic<int64_t> sum{0};
  outer->parallel_for(8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) inner->parallel_for(8, [&](int64_t b, int64_t e, int) { sum += e - b; });
  });
  EXPECT_EQ(sum.load(), 64);
}

TEST(ThreadPool, ConcurrentCallers) {
  auto pool = make_pool(4);
  std::vector<std::thread> callers;
  std::atomic<int> failures{0};
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int launch = 0; launch < 3000; ++launch) {
        std::vector<int> cells(37, 0);
        pool->parallel_for(37, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; ++i) cells[static_cast<size_t>(i)] += 1;
        });
        for (int v : cells)
          if (v != 1) ++failures;
      }
    });
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(failures.load(), 0);
}

TEST(ThreadPool, ManyPoolsComeAndGo) {
  for (int i = 0; i < 200; ++i) {
    auto pool = make_pool(3);
    std::atomic<int> n{0};
    if (i % 2) pool->parallel_for(5, [&](int64_t b, int64_t e, int) { n += static_cast<int>(e - b); });
    EXPECT_EQ(n.load(), i % 2 ? 5 : 0);
  }
}

double process_cpu_seconds() {
  rusage u;
  ::getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

TEST(ThreadPool, IdleUsesNoProcessor) {
  auto pool = make_pool(4);
  pool->parallel_for(64, [](int64_t, int64_t, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(process_cpu_seconds() - before, 0.03);
}

TEST(ThreadPool, WorksInAForkedChild) {
  auto pool = make_pool(3);
  pool->parallel_for(64, [](int64_t, int64_t, int) {});
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int64_t n = 0;
    pool->parallel_for(100, [&](int64_t b, int64_t e, int) { n += e - b; });
    pool.reset();
    ::_exit(n == 100 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace weft::thread_pool_test
