#include "runtime/cuda/peer_ranks.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace weft {

namespace {

// As in kernels/comm/push.cuh.
constexpr int64_t kSlots = 3, kBlocks = 32, kLines = 1024, kLineBytes = 16, kCarried = 8, kThreads = 256;
// Of a rank's tensor: above, a ring is quicker.
constexpr int64_t kMostBytes = kBlocks * kLines * kCarried;
constexpr int64_t kSizes = 1024, kNumbers = 8;  // different sizes of collectives, and the numbers that a kernel reads of each

class PeerRanks : public DeviceRanks {
 public:
  PeerRanks(std::shared_ptr<CudaGpu> gpu, int rank, int size, std::unique_ptr<DeviceRanks> large)
      : gpu_(std::move(gpu)), rank_(rank), size_(size), large_(std::move(large)) {}
  ~PeerRanks() override {
    large_.reset();
    for (std::byte* p : memory_) gpu_->release(p);
  }

  // This rank's memory, zeroed.
  Result<std::byte*> open(std::span<const std::byte> code) {
    const char* const kNames[] = {"push_all_reduce_f32", "push_all_reduce_f16", "push_all_reduce_bf16", "push_all_gather_bytes"};
    for (size_t k = 0; k < 4; ++k) {
      TRY_ASSIGN(functions_[k], gpu_->load(code, kNames[k], 0));
    }
    TRY_ASSIGN(std::byte * lines, zeroed(kSlots * size_ * kBlocks * kLines * kLineBytes));
    TRY_ASSIGN(epochs_, zeroed(kBlocks * 4));
    TRY_ASSIGN(numbers_, zeroed(kSizes * kNumbers * static_cast<int64_t>(sizeof(int64_t))));
    TRY_ASSIGN(std::byte * stop, gpu_->allocate(64, MemoryUse::pinned));
    memory_.push_back(stop);
    stop_ = reinterpret_cast<volatile uint32_t*>(stop);
    *stop_ = 0;
    return lines;
  }
  Status connect(const std::vector<uint64_t>& peers) {
    TRY_ASSIGN(peers_, zeroed(static_cast<int64_t>(peers.size() * sizeof(uint64_t))));
    return put(peers_, peers.data(), peers.size() * sizeof(uint64_t));
  }

  // What is large in one call may be small in another one.
  bool supports(const Collective& c) const override { return large_ ? large_->supports(c) : adds(c); }
  const char* transport(const Collective& c) const override {
    const auto bytes = collective_bytes(c, size_);
    return large_ && bytes.ok() && !pushes(c, bytes->in) ? large_->transport(c) : "peer memory";
  }
  void abort(const Error& why) override {
    *stop_ = 1;
    if (large_) large_->abort(why);
    std::lock_guard lock(mutex_);
    if (!failed_) failed_ = why;
  }

  Status run(const Collective& c, const std::byte* in, std::byte* out, DeviceQueue& queue) override {
    {
      std::lock_guard lock(mutex_);
      if (failed_) return *failed_;
    }
    TRY_ASSIGN(CollectiveBytes bytes, collective_bytes(c, size_));
    if (bytes.in == 0 && bytes.out == 0) return {};
    if (large_ && !pushes(c, bytes.in)) return large_->run(c, in, out, queue);
    void* function = functions_[gathers(c, bytes.in) ? 3 : c.dtype == DType::f32 ? 0 : c.dtype == DType::f16 ? 1 : 2];
    for (int64_t at = 0; at < bytes.in; at += kMostBytes) TRY(push(function, in + at, out + at, std::min(kMostBytes, bytes.in - at), bytes.in, queue));
    return {};
  }

 private:
  static bool adds(const Collective& c) {
    return c.kind == CollectiveKind::all_reduce && c.reduction == CommReduction::sum &&
           (c.dtype == DType::f32 || c.dtype == DType::f16 || c.dtype == DType::bf16);
  }
  static bool gathers(const Collective& c, int64_t bytes) { return c.kind == CollectiveKind::all_gather && c.outer == 1 && bytes % kCarried == 0; }
  static bool pushes(const Collective& c, int64_t bytes) { return bytes <= kMostBytes && (gathers(c, bytes) || adds(c)); }
  Status push(void* function, const std::byte* in, std::byte* out, int64_t bytes, int64_t stride, DeviceQueue& queue) {
    const int64_t lines = (bytes + kCarried - 1) / kCarried, blocks = std::min(kBlocks, (lines + kThreads - 1) / kThreads);
    // The numbers of each size lie in memory of their own: a graph reads them there.
    auto [dims, fresh] = dims_.try_emplace({bytes, stride}, numbers_ + static_cast<int64_t>(dims_.size() * kNumbers * sizeof(int64_t)));
    if (fresh) {
      if (static_cast<int64_t>(dims_.size()) > kSizes) return resources("collectives of more than " + std::to_string(kSizes) + " sizes");
      const int64_t numbers[] = {bytes, size_, rank_, (lines + blocks - 1) / blocks, stride};
      TRY(queue.upload(dims->second, numbers, sizeof numbers));
    }
    void* const ptrs[] = {const_cast<std::byte*>(in), out, peers_, epochs_, const_cast<uint32_t*>(stop_)};
    DeviceLaunch l;
    l.function = function;
    l.grid[0] = blocks;
    l.threads = kThreads;
    l.ptrs = ptrs;
    l.dims = dims->second;
    return queue.launch(l);
  }

  Result<std::byte*> zeroed(int64_t bytes) {
    TRY_ASSIGN(std::byte * p, gpu_->allocate(bytes, MemoryUse::activations));
    memory_.push_back(p);
    TRY_ASSIGN(std::unique_ptr<DeviceQueue> queue, gpu_->queue(0));
    TRY(queue->clear(p, bytes));
    TRY(queue->finish());
    return p;
  }
  Status put(std::byte* to, const void* from, size_t bytes) {
    TRY_ASSIGN(std::unique_ptr<DeviceQueue> queue, gpu_->queue(0));
    TRY(queue->upload(to, from, static_cast<int64_t>(bytes)));
    return queue->finish();
  }

  std::shared_ptr<CudaGpu> gpu_;
  int64_t rank_, size_;
  std::unique_ptr<DeviceRanks> large_;  // null: none
  std::vector<std::byte*> memory_;
  void* functions_[4] = {};
  std::byte *peers_ = nullptr, *epochs_ = nullptr, *numbers_ = nullptr;
  volatile uint32_t* stop_ = nullptr;   // in memory of the host that kernels look at
  std::map<std::pair<int64_t, int64_t>, std::byte*> dims_;
  std::mutex mutex_;                    // of failed_
  std::optional<Error> failed_;
};

template <class T>
Result<std::vector<T>> gather(Communicator& group, const T& mine, const char* label) {
  std::vector<T> all(static_cast<size_t>(group.size()));
  Collective c;
  c.kind = CollectiveKind::all_gather;
  c.dtype = DType::u8;
  c.inner = sizeof(T);
  c.label = label;
  TRY(group.run(c, &mine, all.data()));
  return all;
}

struct Process {
  char host[64];
  int64_t pid;
  uint64_t context;
  int32_t device;
  bool operator==(const Process& o) const { return !std::strcmp(host, o.host) && pid == o.pid; }
};

// Both ways are needed; the other rank sees to its own.
bool reaches(CudaGpu& gpu, const Process& other, bool share_gpu) {
  if (other.device == gpu.facts().ordinal) return share_gpu;
  Current current(gpu.driver, gpu.context);
  cu::CUdevice mine = 0, theirs = 0;
  int can = 0;
  bool found = gpu.driver.cuDeviceGet(&mine, gpu.facts().ordinal) == cu::CUDA_SUCCESS && gpu.driver.cuDeviceGet(&theirs, other.device) == cu::CUDA_SUCCESS;
  if (!found || gpu.driver.cuDeviceCanAccessPeer(&can, mine, theirs) != cu::CUDA_SUCCESS || !can) return false;
  cu::CUresult r = gpu.driver.cuCtxEnablePeerAccess(reinterpret_cast<cu::CUcontext>(other.context), 0);
  return r == cu::CUDA_SUCCESS || r == cu::CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
}

}  // namespace

Result<std::unique_ptr<DeviceRanks>> join_peers(std::shared_ptr<CudaGpu> gpu, Communicator& group, std::span<const std::byte> code,
                                                std::unique_ptr<DeviceRanks>& large, bool share_gpu) {
  Process mine{};
  gethostname(mine.host, sizeof mine.host - 1);
  mine.pid = code.empty() ? -1 - group.rank() : getpid();
  mine.context = reinterpret_cast<uint64_t>(gpu->context);
  mine.device = gpu->facts().ordinal;
  TRY_ASSIGN(std::vector<Process> all, gather(group, mine, "processes of ranks"));
  // Contexts mean something in their own process alone.
  int32_t fits = std::all_of(all.begin(), all.end(), [&](const Process& p) { return p == all[0]; });
  for (size_t r = 0; r < all.size(); ++r) fits = fits && (static_cast<int>(r) == group.rank() || reaches(*gpu, all[r], share_gpu));
  TRY_ASSIGN(std::vector<int32_t> everyone, gather(group, fits, "reach of GPUs"));
  for (int32_t f : everyone)
    if (!f) return std::unique_ptr<DeviceRanks>();
  auto ranks = std::make_unique<PeerRanks>(gpu, group.rank(), group.size(), std::move(large));
  TRY_ASSIGN(std::byte * lines, ranks->open(code));
  TRY_ASSIGN(std::vector<uint64_t> peers, gather(group, reinterpret_cast<uint64_t>(lines), "memory of ranks"));
  TRY(ranks->connect(peers));
  return std::unique_ptr<DeviceRanks>(std::move(ranks));
}

}  // namespace weft
