// A GPU as a device: memory, uploads, queues, faults. Without one the tests are skipped; sources are compiled all the same.
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "runtime/cpu/thread_pool.h"
#include "runtime/cuda/gpu.h"
#include "runtime/executor/device_copy.h"
#include "tests/support/cuda_kernels.h"
#include "weft/compile.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModel = R"(weft.module 1 "tanh"
graph @main(%x: f32[n,1000]) -> (y = %y) {
  %t = tanh(%x) : f32[n,1000] loc("Tanh_0")
  %s = softmax(%t) {axis=1} : f32[n,1000] loc("Softmax_1")
  %y = add(%s, %x) : f32[n,1000] loc("Add_2")
}
)";

class CudaDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = open_gpu(0, 0.9);
    if (!opened.ok()) GTEST_SKIP() << opened.error().message;
    gpu = *opened;
    queue = std::move(gpu->queue(0)).value();
  }
  std::vector<std::byte> random_bytes(size_t n) {
    std::vector<std::byte> v(n);
    for (size_t i = 0; i + 8 <= n; i += 8) {
      const uint64_t x = random();
      std::memcpy(v.data() + i, &x, 8);
    }
    return v;
  }
  std::shared_ptr<Device> gpu;
  std::unique_ptr<DeviceQueue> queue;
  std::mt19937_64 random{7};
};

TEST_F(CudaDeviceTest, UploadsPieces) {
  const std::vector<std::byte> source = random_bytes(50 << 20);
  std::vector<UploadPiece> pieces;
  int64_t at = 0, from = 0;
  while (from < static_cast<int64_t>(source.size()) - (9 << 20)) {
    const auto bytes = static_cast<int64_t>(random() % (random() % 4 ? 5000 : 9 << 20) + 1);
    at = (at + 255) / 256 * 256;
    pieces.push_back({at, source.data() + from, bytes});
    at += bytes;
    from += bytes;
  }
  for (int threads : {1, 4}) {
    auto pool = ThreadPool::create(threads).value();
    std::byte* memory = gpu->allocate(at, MemoryUse::weights).value();
    ASSERT_TRUE(gpu->upload(memory, pieces, threads > 1 ? pool.get() : nullptr).ok());
    std::vector<std::byte> back(static_cast<size_t>(at));
    ASSERT_TRUE(queue->download(back.data(), memory, at).ok());
    for (const UploadPiece& p : pieces) ASSERT_EQ(std::memcmp(back.data() + p.offset, p.from, static_cast<size_t>(p.bytes)), 0);
    gpu->release(memory);
  }
}

// The threads that stage bytes ask about them first: all of them, and an Error ends the upload.
TEST_F(CudaDeviceTest, ChecksWhatItUploads) {
  struct Check : BytesCheck {
    Status check(int64_t begin, int64_t end) const override {
      asked += end - begin;
      return begin <= wrong && wrong < end ? Status(invalid("byte " + std::to_string(wrong) + " is wrong")) : Status();
    }
    mutable std::atomic<int64_t> asked{0};
    int64_t wrong = -1;
  };
  const std::vector<std::byte> source = random_bytes(30 << 20);
  auto pool = ThreadPool::create(4).value();
  std::byte* memory = gpu->allocate(40 << 20, MemoryUse::weights).value();
  for (int64_t wrong : {-1, 0, 10'000'000, (30 << 20) - 1}) {
    Check check;
    check.wrong = wrong;
    const UploadPiece pieces[] = {{256, source.data(), 1000}, {3 << 20, source.data(), 30 << 20, &check}};
    const Status s = gpu->upload(memory, pieces, pool.get());
    if (wrong < 0) {
      EXPECT_TRUE(s.ok()) << s.error().to_string();
      EXPECT_EQ(check.asked, 30 << 20);
    } else {
      ASSERT_FALSE(s.ok());
      EXPECT_NE(s.error().message.find("is wrong"), std::string::npos) << s.error().message;
    }
  }
  gpu->release(memory);
}

TEST_F(CudaDeviceTest, RangesGrowInPlace) {
  auto range = gpu->range(MemoryUse::activations);
  ASSERT_TRUE(range.ok()) << range.error().to_string();
  ASSERT_TRUE(*range) << "the device has no virtual memory management";
  ASSERT_TRUE((*range)->grow(1000).ok());
  std::byte* base = (*range)->data();
  const std::vector<std::byte> bytes = random_bytes(1000);
  ASSERT_TRUE(queue->upload(base, bytes.data(), 1000).ok());
  ASSERT_TRUE((*range)->grow(100 << 20).ok());
  EXPECT_EQ((*range)->data(), base);
  ASSERT_TRUE(queue->clear(base + 1000, (100 << 20) - 1000).ok());
  std::vector<std::byte> back(2000);
  ASSERT_TRUE(queue->download(back.data(), base, 2000).ok());
  EXPECT_EQ(std::memcmp(back.data(), bytes.data(), 1000), 0);
  EXPECT_EQ(back[1999], std::byte{0});
  const Status s = (*range)->grow(int64_t{1} << 50);
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.error().code, Code::kResources);
  EXPECT_NE(s.error().message.find("has taken activations 100.00 MiB"), std::string::npos) << s.error().message;
}

TEST_F(CudaDeviceTest, TheLimitIsKept) {
  auto small = open_gpu(0, 0.001).value();
  const int64_t room = small->available();
  EXPECT_GT(room, 0);
  EXPECT_FALSE(small->allocate(room + 1, MemoryUse::states).ok());
  std::byte* p = small->allocate(room, MemoryUse::states).value();
  EXPECT_EQ(small->available(), 0);
  EXPECT_FALSE(small->allocate(1, MemoryUse::weights).ok());
  small->release(p);
  EXPECT_EQ(small->available(), room);
  EXPECT_EQ(open_gpu(0, 1.5).error().code, Code::kUsage);
}

TEST_F(CudaDeviceTest, CopiesBetweenStrides) {
  struct Case {
    std::vector<int64_t> dims, to, from;
    DType dtype;
  };
  for (const Case& c : {Case{{5, 7, 3}, {21, 3, 1}, {200, 10, 1}, DType::f32}, Case{{4, 6}, {6, 1}, {1, 4}, DType::f16},
                        Case{{2, 3, 4, 5}, {60, 20, 5, 1}, {1, 2, 6, 24}, DType::f64}, Case{{3, 9}, {12, 1}, {16, 1}, DType::i4}}) {
    const int rank = static_cast<int>(c.dims.size());
    std::vector<std::byte> source = random_bytes(16384), want(16384), got(16384);
    std::byte *from = gpu->allocate(16384, MemoryUse::tensors).value(), *to = gpu->allocate(16384, MemoryUse::tensors).value();
    ASSERT_TRUE(queue->upload(from, source.data(), 16384).ok());
    ASSERT_TRUE(queue->clear(to, 16384).ok());
    ASSERT_TRUE(device_copy(*queue, {to, c.dtype, rank, c.dims.data(), c.to.data()}, {from, c.dtype, rank, c.dims.data(), c.from.data()}).ok());
    ASSERT_TRUE(queue->download(got.data(), to, 16384).ok());
    strided_copy({want.data(), c.dtype, rank, c.dims.data(), c.to.data()}, {source.data(), c.dtype, rank, c.dims.data(), c.from.data()}, nullptr);
    if (c.dtype == DType::i4)  // the last element's neighbour is padding
      for (int64_t r = 0; r < 3; ++r) got[static_cast<size_t>(r * 6 + 4)] &= std::byte{15}, want[static_cast<size_t>(r * 6 + 4)] &= std::byte{15};
    EXPECT_EQ(got, want) << dtype_name(c.dtype);
    gpu->release(from);
    gpu->release(to);
  }
}

// Inputs of the next runs go over the link while earlier ones run.
TEST_F(CudaDeviceTest, RunsInFlight) {
  auto exe = api::compile(std::as_bytes(std::span(std::string_view(kModel))), {.target = "cuda"});
  ASSERT_TRUE(exe.ok()) << exe.error().to_string();
  api::Context c = exe->context();
  constexpr int64_t kRows = 4096;
  constexpr size_t kRuns = 12;
  std::vector<api::Tensor> outputs;
  std::vector<float> x(kRows * 1000);
  for (size_t k = 0; k < kRuns; ++k) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 97) * 0.01f + static_cast<float>(k);
    outputs.push_back(exe->upload(api::Tensor::view(x.data(), {kRows, 1000}).copy().value()).value());
    api::Tensor in[] = {api::Tensor::view(x.data(), {kRows, 1000})}, out[] = {outputs.back()};
    ASSERT_TRUE(c.run(in, out, {.wait = false}).ok());
  }
  ASSERT_TRUE(c.finish().ok());
  for (size_t k = 0; k < kRuns; ++k) {
    const api::Tensor back = exe->download(outputs[k]).value();
    const auto* y = back.data_as<const float>();
    for (int64_t row : {int64_t{0}, kRows / 2, kRows - 1}) {
      double sum = 0;
      auto in = [&](int64_t j) { return static_cast<float>((row * 1000 + j) % 97) * 0.01f + static_cast<float>(k); };
      for (int64_t j = 0; j < 1000; ++j) sum += std::exp(std::tanh(in(j)));
      for (int64_t j : {0, 500, 999}) ASSERT_NEAR(y[row * 1000 + j], std::exp(std::tanh(in(j))) / sum + in(j), 2e-6 * (1 + in(j))) << "run " << k;
    }
  }
}

// In a process of its own: nothing of it can use the GPU afterwards.
TEST_F(CudaDeviceTest, FaultsNameTheKernel) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto run = [] {
    const fs::path folder = fs::temp_directory_path() / ("weft_sources_" + std::to_string(getpid()));
    api::CompileOptions o;
    o.target = "cuda";
    o.kernel_sources = folder.string();
    const auto model = std::as_bytes(std::span(std::string_view(kModel)));
    (void)api::compile(model, o);
    for (const fs::directory_entry& e : fs::directory_iterator(folder)) {
      std::ifstream f(e.path());
      std::string text{std::istreambuf_iterator<char>(f), {}};
      const size_t entry = text.find("__global__"), body = text.find('{', entry);
      text.insert(body + 1, " asm volatile(\"trap;\"); ");
      std::ofstream(e.path()) << text;
    }
    auto exe = api::compile(model, o);
    fs::remove_all(folder);
    std::vector<float> x(4000, 1.0f);
    auto out = exe->context().run({{"x", api::Tensor::view(x.data(), {4, 1000})}});
    std::fprintf(stderr, "%s\n", out.ok() ? "no fault" : out.error().to_string().c_str());
    std::_Exit(out.ok() ? 0 : 3);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(3), "in kernel .* of Tanh_0");
}

TEST(CudaSources, AreChanged) {
  if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  const fs::path folder = fs::temp_directory_path() / ("weft_sources_" + std::to_string(getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "model.wir") << kModel;
  api::CompileOptions o;
  o.use_cache = false;
  o.kernel_sources = (folder / "sources").string();
  std::string said;
  o.log = [&](api::LogLevel, const std::string& text) { said += text + "\n"; };
  auto compile = [&] { return api::compile_to_file((folder / "model.wir").string(), (folder / "model.weft").string(), {"cuda:sm_90a"}, o); };
  ASSERT_TRUE(compile().ok());
  ASSERT_TRUE(compile().ok());
  EXPECT_EQ(said.find("changed source"), std::string::npos) << said;
  fs::path path;
  for (const fs::directory_entry& e : fs::directory_iterator(folder / "sources")) path = e.path();
  std::ifstream f(path);
  std::string text{std::istreambuf_iterator<char>(f), {}};
  EXPECT_NE(text.find("// ONNX nodes: Tanh_0, Softmax_1, Add_2"), std::string::npos) << text.substr(0, 500);
  std::ofstream(path, std::ios::app) << "\n// mine\n";
  ASSERT_TRUE(compile().ok());
  EXPECT_NE(said.find("is compiled from its changed source"), std::string::npos) << said;
  std::ofstream(path, std::ios::app) << "\nnonsense;\n";
  const auto wrong = compile();
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, Code::kUsage);
  EXPECT_EQ(wrong.error().node, "Tanh_0");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace weft
