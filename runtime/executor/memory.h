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

  explicit Block(Device* device = nullptr) : device_(device) {}
  ~Block();
  Block(Block&& o) noexcept
      : device_(o.device_), data_(std::exchange(o.data_, nullptr)), capacity_(std::exchange(o.capacity_, 0)), alignment_(o.alignment_) {}
  Block& operator=(Block&& o) noexcept {
    std::swap(device_, o.device_);
    std::swap(data_, o.data_);
    std::swap(capacity_, o.capacity_);
    std::swap(alignment_, o.alignment_);
    return *this;
  }

  // At least `bytes` (and never none, so that data() is a pointer); the contents are lost when it moves. Error kResources.
  Status reserve(int64_t bytes, int64_t alignment = kAlignment);
  std::byte* data() const { return data_; }
  int64_t capacity() const { return capacity_; }

 private:
  Device* device_;  // null: the host
  std::byte* data_ = nullptr;
  int64_t capacity_ = 0, alignment_ = kAlignment;
};

// Blocks handed out by number and taken back. A request takes the smallest free block that is large enough; if there
// is none, the largest free one grows.
class BlockPool {
 public:
  explicit BlockPool(Device* device = nullptr) : device_(device) {}
  Result<int> take(int64_t bytes);
  void give_back(int block) { blocks_[block].used = false; }
  void give_back_all() {
    for (Entry& e : blocks_) e.used = false;
  }
  std::byte* data(int block) const { return blocks_[block].memory.data(); }
  int64_t bytes() const;

 private:
  struct Entry {
    Block memory;
    bool used = false;
  };
  Device* device_;
  std::vector<Entry> blocks_;
};

}  // namespace weft
