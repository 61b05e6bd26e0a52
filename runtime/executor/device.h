// A device with memory and kernels of its own, as the executor sees it: what a GPU's runtime implements. Null where the
// executor takes one: the host itself.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "runtime/bytes_check.h"
#include "runtime/comm/communicator.h"

namespace weft {

class ThreadPool;

// What a device's memory holds, for errors when there is no more of it.
// tensors: inputs and outputs. pinned: of the host, where the device reaches it; it does not count.
enum class MemoryUse : uint8_t { weights, activations, states, tensors, pinned };
constexpr int kMemoryUses = 5;

// Memory that grows where it lies, its contents kept. Freed when nothing that was queued uses it any more.
class DeviceRange {
 public:
  virtual ~DeviceRange() = default;
  // At least `bytes`. Errors as of Device::allocate.
  virtual Status grow(int64_t bytes) = 0;
  virtual std::byte* data() const = 0;  // never changes
  virtual int64_t capacity() const = 0;
};

// Bytes of the host and where they belong in a stretch of device memory.
struct UploadPiece {
  int64_t offset = 0;
  const std::byte* from = nullptr;
  int64_t bytes = 0;
  const BytesCheck* check = nullptr;  // of the bytes behind `from`; null: they are right
};

struct DeviceLaunch {
  void* function = nullptr;
  int64_t grid[3] = {1, 1, 1}, cluster[3] = {1, 1, 1};  // in blocks
  int threads = 1;
  int64_t shared_bytes = 0;
  bool dependent = false;               // may start before the launch in front of it has ended, for which its kernel waits
  std::span<void* const> ptrs;          // tensors in the kernel's order
  const std::byte* dims = nullptr;      // the launch's dims, in device memory
};

// Launches recorded once, to be queued again by one call.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
};

// Work of one context in order. Not thread safe. What a call reads of the host may be changed once it has returned.
// Errors: kDevice naming what was being done; kResources. An error of work that was queued comes with a later call.
class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;
  virtual Status upload(std::byte* to, const void* from, int64_t bytes) = 0;
  virtual Status download(void* to, const std::byte* from, int64_t bytes) = 0;  // waits for it
  virtual Status copy(std::byte* to, const std::byte* from, int64_t bytes) = 0;
  // Rows of `row_bytes`, which begin every `pitch` bytes (not less than row_bytes).
  virtual Status copy_rows(std::byte* to, int64_t to_pitch, const std::byte* from, int64_t from_pitch, int64_t row_bytes, int64_t rows) = 0;
  virtual Status clear(std::byte* to, int64_t bytes) = 0;
  virtual Status launch(const DeviceLaunch& l) = 0;
  // Between the two, launches are recorded and not run.
  virtual Status begin_graph() = 0;
  virtual Result<std::unique_ptr<DeviceGraph>> end_graph() = 0;
  virtual Status replay(DeviceGraph& graph) = 0;
  virtual Status finish() = 0;  // waits for everything
  // From now on nothing waits longer than this time: then it calls `then`, and fails with the Error that that returns. What
  // waits for other ranks may wait forever.
  virtual void give_up_after(std::chrono::milliseconds time, std::function<Error()> then) = 0;
  virtual void* stream() = 0;   // of the vendor's libraries
  // A number that the device notes when it comes to it, for telling after a fault how far it got. Not recorded in graphs.
  virtual Status mark(uint32_t number) = 0;
  virtual uint32_t marked() const = 0;  // the last number noted; 0: none
  // Orders the queue's work with that of a stream of the caller (a CUstream): what is queued from now on begins after what
  // the stream has now; what the stream gets from now on begins after what is queued now.
  virtual Status begin_after(void* stream) = 0;
  virtual Status end_before(void* stream) = 0;
  // Notes how far it is now as `number`, a small one, and orders what it is given from now on behind what another queue of
  // the device noted last under a number. Recorded in graphs: the other queue's work between is part of the graph then.
  virtual Status note(int number) = 0;
  virtual Status begin_after_note(DeviceQueue& other, int number) = 0;
};

// The ranks of a group on devices of their own: collectives in their memory, queued like launches, and recorded in graphs like
// them. All ranks queue the same ones in the same order. Not thread safe.
class DeviceRanks {
 public:
  virtual ~DeviceRanks() = default;
  virtual bool supports(const Collective& c) const = 0;
  virtual Status run(const Collective& c, const std::byte* in, std::byte* out, DeviceQueue& queue) = 0;
  // What carries such a call: "NCCL", "peer memory".
  virtual const char* transport(const Collective& c) const = 0;
  // Ends what is queued and waits for other ranks; every later call is this Error. From any thread.
  virtual void abort(const Error& why) = 0;
};

// Thread safe.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;
  virtual int number() const = 0;  // TensorView::device of its memory
  // Aligned to 256 bytes. Memory is given back when nothing that was queued uses it any more. Error kResources naming what
  // was wanted, what there is and what takes it.
  virtual Result<std::byte*> allocate(int64_t bytes, MemoryUse use) = 0;
  virtual void release(std::byte* memory) = 0;
  // Null: the device has no such memory.
  virtual Result<std::unique_ptr<DeviceRange>> range(MemoryUse use) = 0;
  virtual int64_t available() const = 0;  // bytes that could be allocated now
  // Fills memory from pieces in the order of their offsets, with the help of the pool's threads (null: none), and waits for
  // it. What lies between the pieces is overwritten with anything. Asks each piece's check about bytes before they are used: its Error.
  virtual Status upload(std::byte* to, std::span<const UploadPiece> pieces, ThreadPool* pool) = 0;
  // urgency: kernels of queues with more of it (0 to 2) get room on the device first.
  virtual Result<std::unique_ptr<DeviceQueue>> queue(int urgency = 0) = 0;
  // All ranks of the group call it at the same time, each for its device. code: kernels of collectives for it; may be empty.
  // Null on all of them: their collectives pass through the host.
  virtual Result<std::unique_ptr<DeviceRanks>> join(Communicator& group, std::span<const std::byte> code) { return std::unique_ptr<DeviceRanks>(); }
  // Loads code (the bytes may go afterwards) and finds a kernel in it. The device owns both.
  virtual Result<void*> load(std::span<const std::byte> code, const std::string& kernel, int64_t shared_bytes) = 0;
};

}  // namespace weft
