// The GPU's class, for its own files alone: memory and modules (gpu.cpp), the queue (queue.cpp).
#pragma once

#include <array>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "runtime/cuda/current.h"
#include "runtime/cuda/gpu.h"

namespace weft {

class CudaGpu : public Device, public std::enable_shared_from_this<CudaGpu> {
 public:
  CudaGpu(const cu::Driver& d, CudaDevice facts, double fraction)
      : driver(d), fraction_(fraction), limit_(static_cast<int64_t>(static_cast<double>(facts.memory_bytes) * fraction)), facts_(std::move(facts)) {}
  ~CudaGpu() override;
  Status open();

  std::string name() const override { return "GPU " + std::to_string(facts_.ordinal) + " (" + facts_.name + ")"; }
  int number() const override { return facts_.ordinal; }
  const CudaDevice& facts() const { return facts_; }

  // Counts bytes as taken before they are, so that threads cannot pass the limit together.
  Status take(int64_t bytes, MemoryUse use);
  void give_back(int64_t bytes, MemoryUse use);
  // After a call of the driver for memory that was taken.
  Status checked(cu::CUresult r, int64_t bytes, MemoryUse use);

  Result<std::byte*> allocate(int64_t bytes, MemoryUse use) override;
  void release(std::byte* memory) override;
  Result<std::unique_ptr<DeviceRange>> range(MemoryUse use) override;
  int64_t available() const override;
  Status upload(std::byte* to, std::span<const UploadPiece> pieces, ThreadPool* pool) override;
  Result<std::unique_ptr<DeviceQueue>> queue(int urgency) override;
  Result<std::unique_ptr<DeviceRanks>> join(Communicator& group, std::span<const std::byte> code) override;  // nccl_ranks.cpp
  Result<void*> load(std::span<const std::byte> code, const std::string& kernel, int64_t shared_bytes) override;

  const cu::Driver& driver;
  cu::CUcontext context = nullptr;

 private:
  struct Taken {
    int64_t bytes = 0;
    MemoryUse use = MemoryUse::weights;
  };
  int64_t free_bytes() const;
  Error no_room(int64_t bytes, MemoryUse use) const;  // with the mutex

  const double fraction_;
  const int64_t limit_;
  CudaDevice facts_;
  mutable std::mutex mutex_;  // of what follows
  std::vector<cu::CUmodule> modules_;
  std::array<int64_t, kMemoryUses> taken_{};
  std::unordered_map<const std::byte*, Taken> blocks_;
};

}  // namespace weft
