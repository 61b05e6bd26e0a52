#include "runtime/executor/constants.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "ir/base/text.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/executable.h"
#include "runtime/executor/code.h"

namespace weft {

namespace {

constexpr int64_t kDeviceAlignment = 256;

class Loader {
 public:
  Loader(const Plan& plan, const SymbolValues& symbols, std::span<const ConstantBytes> bytes, Device* device, ThreadPool* pool)
      : plan_(plan), bytes_(bytes), device_(device), pool_(pool), ranges_(plan.symbols) {
    for (auto& [name, value] : symbols)
      if (auto it = ranges_.find(name); it != ranges_.end()) it->second.lo = it->second.hi = value;
  }

  Result<LoadedConstants> run() {
    if (bytes_.size() != plan_.constants.size())
      return invalid("the plan has " + std::to_string(plan_.constants.size()) + " constants, but bytes of " + std::to_string(bytes_.size()) +
                     " are given");
    const size_t n = plan_.buffers.size();
    out_.fixed.resize(n);
    aligned_.assign(n, 1);
    checks_.assign(n, nullptr);
    for (const PlanTensor& t : plan_.tensors) aligned_[t.buffer] = std::max(aligned_[t.buffer], element_alignment(t.dtype));
    main_ = buffers_used(plan_, plan_.main);
    for (const PlanPort& q : plan_.outputs) main_[plan_.tensors[q.tensor].buffer] = 1;
    const std::vector<char> prepares = buffers_used(plan_, plan_.prepare);
    for (size_t i = 0; i < n; ++i) {
      const PlanBuffer& b = plan_.buffers[i];
      if ((b.storage == Storage::constant || b.storage == Storage::prepared) && (main_[i] || prepares[i])) needed_.push_back(static_cast<int>(i));
    }
    if (!device_) TRY(check_bytes());
    for (int i : needed_) {
      const PlanBuffer& b = plan_.buffers[i];
      Status s = b.storage == Storage::constant ? constant(i) : size(i);
      if (s.ok() && !device_ && b.storage == Storage::prepared) s = own(i);
      if (!s.ok()) return s.error().at_tensor(b.name), s.error();
    }
    if (device_) TRY(move_to_device());
    return std::move(out_);
  }

 private:
  // On the host all that is needed, by all threads. Bytes for a device are checked on their way to it.
  Status check_bytes() const {
    std::vector<std::pair<const ConstantBytes*, int64_t>> steps;
    for (int i : needed_) {
      if (plan_.buffers[i].storage != Storage::constant) continue;
      const ConstantBytes& given = bytes_[plan_.buffers[i].source];
      for (int64_t at = 0; given.check && at < static_cast<int64_t>(given.size); at += BytesCheck::kStep) steps.emplace_back(&given, at);
    }
    return for_all(pool_, static_cast<int64_t>(steps.size()), [&](int64_t k) {
      const auto& [given, at] = steps[k];
      return given->check->check(at, std::min(at + BytesCheck::kStep, static_cast<int64_t>(given->size)));
    });
  }
  static Status check_all(const ConstantBytes& given) {
    return given.check ? given.check->check(0, static_cast<int64_t>(given.size)) : Status{};
  }

  Status size(int buffer) {
    const PlanBuffer& b = plan_.buffers[buffer];
    const Interval r = range_of(b.bytes, ranges_);
    if (r.lo != r.hi || r.lo < 0) return invalid("the size of buffer " + name_text(b.name) + " is not known at load: " + b.bytes.to_string());
    out_.fixed[buffer].bytes = r.lo;
    return {};
  }

  Status own(int buffer) {
    LoadedConstants::Fixed& f = out_.fixed[buffer];
    TRY(f.block.reserve(f.bytes, plan_.buffers[buffer].alignment));
    f.data = f.block.data();
    return {};
  }

  Status constant(int buffer) {
    const PlanBuffer& b = plan_.buffers[buffer];
    const PlanConstant& c = plan_.constants[b.source];
    const ConstantBytes& given = bytes_[b.source];
    LoadedConstants::Fixed& f = out_.fixed[buffer];
    if (c.dtype == DType::str) return unsupported("constants of strings in a plan");
    TRY(size(buffer));
    Dim elements = numel(to_shape(c.dims));
    if (!elements.is_const()) return invalid("constant " + name_text(c.name) + " has too many elements");
    auto size = static_cast<size_t>(byte_size(c.dtype));
    size_t wanted = given.splat ? size : static_cast<size_t>(elements.value()) * size;
    if (given.size < wanted || (!given.data && wanted))
      return invalid("constant " + name_text(c.name) + " has " + std::to_string(given.size) + " bytes instead of " + std::to_string(wanted));
    if (is_subbyte(c.dtype)) return packed(c, given, buffer);
    const bool aligned = device_ || reinterpret_cast<uintptr_t>(given.data) % static_cast<uintptr_t>(aligned_[buffer]) == 0;
    const bool expand = given.splat && f.bytes > static_cast<int64_t>(size);
    if (!given.splat && f.bytes > static_cast<int64_t>(given.size)) return invalid("buffer " + name_text(b.name) + " is larger than its constant");
    if (aligned && !expand) {
      f.data = const_cast<std::byte*>(given.data);
      checks_[buffer] = given.check.get();
      return {};
    }
    TRY(check_all(given));
    TRY(own(buffer));
    if (!expand) return std::memcpy(f.data, given.data, static_cast<size_t>(f.bytes)), Status{};
    for (int64_t at = 0; at + static_cast<int64_t>(size) <= f.bytes; at += static_cast<int64_t>(size)) std::memcpy(f.data + at, given.data, size);
    return {};
  }

  // One element a byte, row by row into packed rows of whole bytes.
  Status packed(const PlanConstant& c, const ConstantBytes& given, int buffer) {
    LoadedConstants::Fixed& f = out_.fixed[buffer];
    TRY(check_all(given));
    TRY(own(buffer));
    std::memset(f.data, 0, static_cast<size_t>(f.bytes));
    int64_t row = c.dims.empty() ? 1 : c.dims.back(), rows = 1, row_bytes = packed_bytes(c.dtype, row);
    for (size_t i = 0; i + 1 < c.dims.size(); ++i) rows *= c.dims[i];
    if (row == 0 || rows == 0) return {};
    if (f.bytes < rows * row_bytes) return invalid("the buffer of constant " + name_text(c.name) + " is too small");
    std::vector<std::byte> same(given.splat ? static_cast<size_t>(row) : 0, given.data[0]);
    for (int64_t r = 0; r < rows; ++r) pack_subbyte(c.dtype, given.splat ? same.data() : given.data + r * row, f.data + r * row_bytes, row);
    return {};
  }

  // The constants lie on the host till now.
  Status move_to_device() {
    for (bool kept : {true, false}) {
      std::vector<int64_t> offsets;
      std::vector<int> buffers;
      std::vector<UploadPiece> pieces;
      int64_t top = 0;
      for (int i : needed_) {
        if (static_cast<bool>(main_[i]) != kept) continue;
        const int64_t alignment = std::max(kDeviceAlignment, plan_.buffers[i].alignment);
        const LoadedConstants::Fixed& f = out_.fixed[i];
        top = (top + alignment - 1) / alignment * alignment;
        buffers.push_back(i);
        offsets.push_back(top);
        if (f.data && f.bytes) pieces.push_back({top, f.data, f.bytes, checks_[i]});
        if (__builtin_add_overflow(top, f.bytes, &top)) return resources("the weights' size overflows");
        out_.uploaded_bytes += f.data ? f.bytes : 0;
      }
      if (buffers.empty()) continue;
      Block block(device_, MemoryUse::weights);
      TRY(block.reserve(top));
      const auto begin = std::chrono::steady_clock::now();
      TRY(device_->upload(block.data(), pieces, pool_));
      out_.upload_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      for (size_t k = 0; k < buffers.size(); ++k) {
        LoadedConstants::Fixed& f = out_.fixed[buffers[k]];
        f.block = Block();
        f.data = block.data() + offsets[k];
      }
      (kept ? out_.kept : out_.passing) = std::move(block);
    }
    return {};
  }

  const Plan& plan_;
  std::span<const ConstantBytes> bytes_;
  Device* device_;
  ThreadPool* pool_;
  SymbolTable ranges_;
  std::vector<int64_t> aligned_;  // per buffer: what its elements' addresses are multiples of
  std::vector<const BytesCheck*> checks_;  // per buffer: of bytes that lie where they were given
  std::vector<char> main_;        // per buffer: runs access it
  std::vector<int> needed_;
  LoadedConstants out_;
};

}  // namespace

std::vector<char> buffers_used(const Plan& plan, const Region& region) {
  std::vector<char> used(plan.buffers.size(), 0);
  int number = 0;
  for_each_command(region, [&](const Command& c, int) { for_each_access(c, [&](int t, Access) { used[plan.tensors[t].buffer] = 1; }); }, number);
  return used;
}

Result<LoadedConstants> load_constants(const Plan& plan, const SymbolValues& symbols, std::span<const ConstantBytes> bytes, Device* device,
                                       ThreadPool* pool) {
  return Loader(plan, symbols, bytes, device, pool).run();
}

}  // namespace weft
