// Memory of contexts, of the host or of a device: aligned blocks that only grow, and the pool behind buffers whose size is first known at run
// time. Once the sizes of a run have been seen, neither allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/executor/device.h"

namespace weft {

class Block {
 public:
  static constexpr int64_t kAlignment = 64;

  explicit Block(Device* device = nullptr, MemoryUse use = MemoryUse::tensors) : device_(device), use_(use) {}
  ~Block();
  Block(Block&& o) noexcept
      : device_(o.device_), use_(o.use_), data_(std::exchange(o.data_, nullptr)), capacity_(std::exchange(o.capacity_, 0)), alignment_(o.alignment_) {}
  Block& operator=(Block&& o) noexcept {
    std::swap(device_, o.device_);
    std::swap(use_, o.use_);
    std::swap(data_, o.data_);
    std::swap(capacity_, o.capacity_);
    std::swap(alignment_, o.alignment_);
    return *this;
  }

  // At least `bytes` (and never none, so that data() is a pointer); when it must grow, the contents are lost. Error kResources.
  Status reserve(int64_t bytes, int64_t alignment = kAlignment);
  std::byte* data() const { return data_; }
  int64_t capacity() const { return capacity_; }

 private:
  Device* device_;  // null: the host
  MemoryUse use_;
  std::byte* data_ = nullptr;
  int64_t capacity_ = 0, alignment_ = kAlignment;
};

// A block that does not move when it grows, where the device can do that.
class GrowingBlock {
 public:
  explicit GrowingBlock(Device* device, MemoryUse use) : device_(device), use_(use), block_(device, use) {}
  Status reserve(int64_t bytes, int64_t alignment);
  std::byte* data() const { return range_ ? range_->data() : block_.data(); }
  int64_t capacity() const { return range_ ? range_->capacity() : block_.capacity(); }

 private:
  Device* device_;
  MemoryUse use_;
  bool asked_ = false;
  std::unique_ptr<DeviceRange> range_;
  Block block_;  // without a range
};

// Blocks handed out by number and taken back. A request takes the smallest free block that is large enough; if there
// is none, the largest free one grows.
class BlockPool {
 public:
  explicit BlockPool(Device* device = nullptr) : device_(device) {}
  // Error kResources, with what the pool holds.
  Result<int> take(int64_t bytes);
  void give_back(int block) { blocks_[block].used = false; }
  void give_back_all() {
    for (Entry& e : blocks_) e.used = false;
  }
  std::byte* data(int block) const { return blocks_[block].memory.data(); }
  int64_t bytes() const;

 private:
  Error with_contents(Error e) const;
  struct Entry {
    Block memory;
    bool used = false;
  };
  Device* device_;
  std::vector<Entry> blocks_;
};

}  // namespace weft
