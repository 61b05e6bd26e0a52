#include "runtime/executor/memory.h"

#include <algorithm>
#include <new>

#include "ir/base/text.h"

namespace weft {

Block::~Block() {
  if (data_ && device_) device_->release(data_);
  else if (data_) ::operator delete(data_, std::align_val_t(alignment_));
}

Status Block::reserve(int64_t bytes, int64_t alignment) {
  alignment = std::max(alignment, kAlignment);
  bytes = std::max<int64_t>(bytes, 1);
  if (data_ && bytes <= capacity_ && alignment <= alignment_) return {};
  *this = Block(device_, use_);  // what there is goes first: both together may not fit
  if (device_) {
    TRY_ASSIGN(data_, device_->allocate(bytes, use_));
    capacity_ = bytes;
    alignment_ = alignment;
    return {};
  }
  // By operator new, so that a program that counts allocations sees these too.
  constexpr int64_t kAddressSpace = int64_t{1} << 47;
  void* p = bytes < kAddressSpace ? ::operator new(static_cast<size_t>(bytes), std::align_val_t(alignment), std::nothrow) : nullptr;
  if (!p) return resources("no memory for " + human_bytes(static_cast<double>(bytes)));
  data_ = static_cast<std::byte*>(p);
  capacity_ = bytes;
  alignment_ = alignment;
  return {};
}

Status GrowingBlock::reserve(int64_t bytes, int64_t alignment) {
  if (device_ && !std::exchange(asked_, true)) {
    TRY_ASSIGN(range_, device_->range(use_));
  }
  return range_ ? range_->grow(std::max<int64_t>(bytes, 1)) : block_.reserve(bytes, alignment);
}

Result<int> BlockPool::take(int64_t bytes) {
  int fits = -1, largest = -1;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Entry& e = blocks_[i];
    if (e.used) continue;
    if (e.memory.capacity() >= bytes && (fits < 0 || e.memory.capacity() < blocks_[fits].memory.capacity())) fits = static_cast<int>(i);
    if (largest < 0 || e.memory.capacity() > blocks_[largest].memory.capacity()) largest = static_cast<int>(i);
  }
  int chosen = fits >= 0 ? fits : largest;
  if (chosen < 0) {
    chosen = static_cast<int>(blocks_.size());
    blocks_.push_back({Block(device_, MemoryUse::activations)});
  }
  if (fits < 0) {
    // Some slack, so that slowly growing sizes settle.
    Status s = blocks_[chosen].memory.reserve(bytes <= INT64_MAX / 5 * 4 ? bytes + bytes / 4 : bytes);
    if (!s.ok()) s = blocks_[chosen].memory.reserve(bytes);
    if (!s.ok()) return with_contents(std::move(s.error()));
  }
  blocks_[chosen].used = true;
  return chosen;
}

int64_t BlockPool::bytes() const {
  int64_t n = 0;
  for (const Entry& e : blocks_) n += e.memory.capacity();
  return n;
}

// How much of the pool lies idle in blocks that are too small.
Error BlockPool::with_contents(Error e) const {
  int64_t idle = 0, largest = 0;
  for (const Entry& b : blocks_) {
    if (b.used) continue;
    idle += b.memory.capacity();
    largest = std::max(largest, b.memory.capacity());
  }
  auto text = [](int64_t n) { return human_bytes(static_cast<double>(n)); };
  e.message += "; of the " + text(bytes()) + " in the pool for sizes that a run decides, " + text(idle) + " are idle, at most " + text(largest) +
               " in one block";
  return e;
}

}  // namespace weft
