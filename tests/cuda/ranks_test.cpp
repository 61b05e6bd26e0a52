// Ranks on GPUs: collectives in their memory against plain sums, on as many GPUs as there are, and several ranks on one.
#include <barrier>
#include <cmath>
#include <cstring>
#include <thread>

#include "codegen/cuda/push.h"
#include "runtime/comm/threads.h"
#include "runtime/cuda/peer_ranks.h"
#include "tests/support/cuda_kernels.h"

namespace weft {
namespace {

TEST(PushKernels, CompileForEveryIsa) {
  if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  for (const char* isa : {"cuda:sm_80", "cuda:sm_90a", "cuda:sm_100a", "cuda:compute_80"}) {
    auto code = compile_push(*parse_target(isa));
    ASSERT_TRUE(code.ok()) << isa << ": " << code.error().to_string();
    EXPECT_GT(code->size(), 1000u);
  }
}

class GpuRanks : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
    auto all = cuda_devices();
    if (!all.ok() || all->empty()) GTEST_SKIP() << "no GPU";
    for (size_t k = 0; k < all->size(); ++k) gpus.push_back(*open_gpu(static_cast<int>(k), 0.5));
    code = *compile_push(*parse_target("cuda:compute_80"));
  }
  // f(rank, its GPU, its queue, its ranks) in a thread for each.
  template <class F>
  void on_ranks(F&& f) {
    const int n = GetParam();
    auto worlds = std::move(thread_ranks(n)).value();
    std::vector<std::thread> threads;
    for (int r = 0; r < n; ++r)
      threads.emplace_back([&, r] {
        auto gpu = gpus[static_cast<size_t>(r) % gpus.size()];
        Communicator& world = *worlds[static_cast<size_t>(r)];
        std::unique_ptr<DeviceRanks> none;
        auto shared = std::dynamic_pointer_cast<CudaGpu>(gpu);
        auto ranks = static_cast<size_t>(n) > gpus.size() ? join_peers(shared, world, std::as_bytes(std::span(code)), none, true)
                                                           : gpu->join(world, std::as_bytes(std::span(code)));
        ASSERT_TRUE(ranks.ok()) << ranks.error().to_string();
        ASSERT_TRUE(*ranks);
        auto queue = std::move(gpu->queue(0)).value();
        f(r, *gpu, *queue, **ranks);
        (void)queue->finish().ok();
      });
    for (std::thread& t : threads) t.join();
  }
  std::vector<std::shared_ptr<Device>> gpus;
  std::string code;
};

TEST_P(GpuRanks, SumsAndGathers) {
  const int n = GetParam();
  constexpr int64_t kMost = 300000;
  std::barrier ready(n), end(n);
  on_ranks([&](int rank, Device& gpu, DeviceQueue& queue, DeviceRanks& ranks) {
    std::byte *in = *gpu.allocate(kMost * 4, MemoryUse::tensors), *out = *gpu.allocate(kMost * 4 * n, MemoryUse::tensors);
    ready.arrive_and_wait();
    for (DType t : {DType::f32, DType::bf16, DType::f16})
      for (int64_t count : {int64_t{1}, int64_t{7}, int64_t{4096}, int64_t{40000}, kMost})
        for (int turn = 0; turn < 5; ++turn) {
          auto number = [&](int r, int64_t i) { return std::sin(static_cast<double>(i * (r + 1) + turn)); };
          const int64_t bytes = count * byte_size(t);
          std::vector<double> v(static_cast<size_t>(count)), want(static_cast<size_t>(count)), got(static_cast<size_t>(count));
          for (int64_t i = 0; i < count; ++i) v[static_cast<size_t>(i)] = number(rank, i);
          std::vector<std::byte> mine(static_cast<size_t>(bytes)), back(static_cast<size_t>(bytes * n));
          store_row_f64(t, v.data(), mine.data(), count);
          // Copies to and from the host may wait for the whole GPU, on which another rank's kernel may wait for this one.
          ASSERT_TRUE(queue.upload(in, mine.data(), bytes).ok() && queue.finish().ok());
          ready.arrive_and_wait();
          Collective sum;
          sum.dtype = t;
          sum.inner = count;
          ASSERT_TRUE(ranks.run(sum, in, out, queue).ok() && queue.finish().ok());
          ready.arrive_and_wait();
          ASSERT_TRUE(queue.download(back.data(), out, bytes).ok());
          load_row_f64(t, back.data(), got.data(), count);
          const double tolerance = t == DType::f32 ? 1e-6 : t == DType::f16 ? 2e-3 : 2e-2;
          for (int64_t i = 0; i < count; ++i) {
            double x = 0;
            for (int r = 0; r < n; ++r) x += number(r, i);
            ASSERT_NEAR(got[static_cast<size_t>(i)], x, tolerance * n) << dtype_name(t) << " " << count << " at " << i;
          }
          Collective gather;
          gather.kind = CollectiveKind::all_gather;
          gather.dtype = t;
          gather.inner = count;
          if (ranks.supports(gather) || bytes % 8 == 0) {
            ready.arrive_and_wait();
            ASSERT_TRUE(ranks.run(gather, in, out, queue).ok() && queue.finish().ok());
            ready.arrive_and_wait();
            ASSERT_TRUE(queue.download(back.data(), out, bytes * n).ok());
            for (int r = 0; r < n; ++r) {
              load_row_f64(t, back.data() + r * bytes, got.data(), count);
              for (int64_t i = 0; i < count; ++i) ASSERT_NEAR(got[static_cast<size_t>(i)], number(r, i), tolerance) << r << " at " << i;
            }
          }
        }
    end.arrive_and_wait();
    gpu.release(in);
    gpu.release(out);
  });
}

TEST_P(GpuRanks, WhoWaitsIsWoken) {
  std::barrier ready(GetParam()), end(GetParam());  // nobody takes its memory away before all are done
  on_ranks([&](int rank, Device& gpu, DeviceQueue& queue, DeviceRanks& ranks) {
    std::byte* x = *gpu.allocate(1024, MemoryUse::tensors);
    ready.arrive_and_wait();
    Collective sum;
    sum.inner = 256;
    if (rank > 0) {  // the first one waits for the others, which do not come
      end.arrive_and_wait();
      gpu.release(x);
      return;
    }
    ASSERT_TRUE(ranks.run(sum, x, x, queue).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ranks.abort(error(Code::kDevice, "rank 1 is gone"));
    (void)queue.finish().ok();
    auto later = ranks.run(sum, x, x, queue);
    ASSERT_FALSE(later.ok());
    EXPECT_EQ(later.error().message, "rank 1 is gone");
    end.arrive_and_wait();
    gpu.release(x);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, GpuRanks, testing::Values(1, 2, 3, 4), [](const auto& info) { return std::to_string(info.param); });

}  // namespace
}  // namespace weft
