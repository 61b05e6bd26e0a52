// A device with memory and kernels of its own, as the executor sees it: what a GPU's runtime implements. Null where the
// executor takes one: the host itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "ir/base/result.h"

namespace weft {

struct DeviceLaunch {
  void* function = nullptr;
  int64_t grid[3] = {1, 1, 1}, cluster[3] = {1, 1, 1};  // in blocks
  int threads = 1;
  int64_t shared_bytes = 0;
  std::span<void* const> ptrs;          // tensors in the kernel's order
  const std::byte* dims = nullptr;      // the launch's dims, in device memory
};

// Launches recorded once, to be queued again by one call.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
};

// Work of one context in order. Not thread safe. What a call reads of the host may be changed once it has returned.
// Errors: kDevice naming what was being done; kResources.
class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;
  virtual Status upload(std::byte* to, const void* from, int64_t bytes) = 0;
  virtual Status download(void* to, const std::byte* from, int64_t bytes) = 0;  // waits for it
  virtual Status copy(std::byte* to, const std::byte* from, int64_t bytes) = 0;
  virtual Status clear(std::byte* to, int64_t bytes) = 0;
  virtual Status launch(const DeviceLaunch& l) = 0;
  // Between the two, launches are recorded and not run.
  virtual Status begin_graph() = 0;
  virtual Result<std::unique_ptr<DeviceGraph>> end_graph() = 0;
  virtual Status replay(DeviceGraph& graph) = 0;
  virtual Status finish() = 0;  // waits for everything
};

// Thread safe.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;
  virtual int number() const = 0;  // TensorView::device of its memory
  // Aligned to 256 bytes. Memory is given back when nothing that was queued uses it any more.
  virtual Result<std::byte*> allocate(int64_t bytes) = 0;
  virtual void release(std::byte* memory) = 0;
  virtual Result<std::unique_ptr<DeviceQueue>> queue() = 0;
  // Loads code (the bytes may go afterwards) and finds a kernel in it. The device owns both.
  virtual Result<void*> load(std::span<const std::byte> code, const std::string& kernel, int64_t shared_bytes) = 0;
};

}  // namespace weft
