// make_executable: verifies and compiles the plan, finds the bytes of constants, and runs the prepare region.
#include "runtime/executable.h"

#include <algorithm>
#include <cstring>

#include "ir/base/text.h"
#include "runtime/executor/executable_impl.h"
#include "runtime/executor/prepared_cache.h"

namespace weft {

namespace {

class Maker {
 public:
  explicit Maker(ExecutableImpl& exe) : exe_(exe) {}

  Status run() {
    if (exe_.constants.size() != exe_.plan.constants.size())
      return invalid("the plan has " + std::to_string(exe_.plan.constants.size()) + " constants, but bytes of " +
                     std::to_string(exe_.constants.size()) + " are given");
    if (exe_.device) {
      TRY_ASSIGN(queue_, exe_.device->queue());
    }
    exe_.fixed.resize(exe_.plan.buffers.size());
    std::vector<char> used = used_by(exe_.code.main), prepares = used_by(exe_.code.prepare);
    for (size_t i = 0; i < exe_.plan.buffers.size(); ++i) {
      const PlanBuffer& b = exe_.plan.buffers[i];
      if (b.storage != Storage::constant && b.storage != Storage::prepared) continue;
      if (!used[i] && !prepares[i]) continue;
      bool given = b.storage == Storage::constant;
      Status s = given ? constant(static_cast<int>(i)) : prepared(static_cast<int>(i));
      if (s.ok() && given) s = upload(exe_.fixed[i], b.alignment);
      if (s.ok()) continue;
      return s.error().at_tensor(b.name), s;
    }
    TRY(prepare());
    release_unused();
    return {};
  }

 private:
  // By buffer: whether the program, or a caller who reads its outputs, accesses it.
  std::vector<char> used_by(const Program& program) const {
    std::vector<char> used(exe_.plan.buffers.size(), 0);
    for (int t : program.tensors) used[exe_.code.tensors[t].buffer] = 1;
    if (&program == &exe_.code.main)
      for (const PlanPort& q : exe_.plan.outputs) used[exe_.code.tensors[q.tensor].buffer] = 1;
    return used;
  }

  Result<int64_t> bytes_of(int buffer) {
    int64_t bytes = 0;
    const PlanBuffer& b = exe_.plan.buffers[buffer];
    if (!exe_.code.program.eval(exe_.code.buffers[buffer].bytes, exe_.code.fixed.data(), &bytes) || bytes < 0)
      return invalid("the size of buffer " + name_text(b.name) + " is not known at load: " + b.bytes.to_string());
    return bytes;
  }

  Status prepared(int buffer) {
    ExecutableImpl::Fixed& f = exe_.fixed[buffer];
    TRY_ASSIGN(f.bytes, bytes_of(buffer));
    f.block = Block(exe_.device.get());
    TRY(f.block.reserve(f.bytes, exe_.plan.buffers[buffer].alignment));
    f.data = f.block.data();
    return {};
  }

  // The bytes that lie in the host's memory, in memory of the device.
  Status upload(ExecutableImpl::Fixed& f, int64_t alignment) {
    if (!queue_) return {};
    Block block(exe_.device.get());
    TRY(block.reserve(f.bytes, alignment));
    if (f.bytes) TRY(queue_->upload(block.data(), f.data, f.bytes));
    f.block = std::move(block);
    f.data = f.block.data();
    return {};
  }

  Status constant(int buffer) {
    const PlanBuffer& b = exe_.plan.buffers[buffer];
    const PlanConstant& c = exe_.plan.constants[b.source];
    const ConstantBytes& given = exe_.constants[b.source];
    ExecutableImpl::Fixed& f = exe_.fixed[buffer];
    if (c.dtype == DType::str) return unsupported("constants of strings in a plan");
    TRY_ASSIGN(f.bytes, bytes_of(buffer));
    Dim elements = numel(to_shape(c.dims));
    if (!elements.is_const()) return invalid("constant " + name_text(c.name) + " has too many elements");
    auto size = static_cast<size_t>(byte_size(c.dtype));
    size_t wanted = given.splat ? size : static_cast<size_t>(elements.value()) * size;
    if (given.size < wanted || (!given.data && wanted))
      return invalid("constant " + name_text(c.name) + " has " + std::to_string(given.size) + " bytes instead of " +
                     std::to_string(wanted));
    if (is_subbyte(c.dtype)) return packed(c, given, f, b.alignment);
    bool aligned = reinterpret_cast<uintptr_t>(given.data) % static_cast<uintptr_t>(exe_.code.buffers[buffer].element) == 0;
    bool expand = given.splat && f.bytes > static_cast<int64_t>(size);
    if (!given.splat && f.bytes > static_cast<int64_t>(given.size)) return invalid("buffer " + name_text(b.name) + " is larger than its constant");
    if (aligned && !expand) {
      f.data = const_cast<std::byte*>(given.data);
      return {};
    }
    TRY(f.block.reserve(f.bytes, b.alignment));
    f.data = f.block.data();
    if (!expand) return std::memcpy(f.data, given.data, static_cast<size_t>(f.bytes)), Status{};
    for (int64_t at = 0; at + static_cast<int64_t>(size) <= f.bytes; at += static_cast<int64_t>(size)) std::memcpy(f.data + at, given.data, size);
    return {};
  }

  // One element a byte, row by row into packed rows of whole bytes.
  Status packed(const PlanConstant& c, const ConstantBytes& given, ExecutableImpl::Fixed& f, int64_t alignment) {
    TRY(f.block.reserve(f.bytes, alignment));
    f.data = f.block.data();
    std::memset(f.data, 0, static_cast<size_t>(f.bytes));
    int64_t row = c.dims.empty() ? 1 : c.dims.back(), rows = 1, row_bytes = packed_bytes(c.dtype, row);
    for (size_t i = 0; i + 1 < c.dims.size(); ++i) rows *= c.dims[i];
    if (row == 0 || rows == 0) return {};
    if (f.bytes < rows * row_bytes) return invalid("the buffer of constant " + name_text(c.name) + " is too small");
    std::vector<std::byte> same(given.splat ? static_cast<size_t>(row) : 0, given.data[0]);
    for (int64_t r = 0; r < rows; ++r) pack_subbyte(c.dtype, given.splat ? same.data() : given.data + r * row, f.data + r * row_bytes, row);
    return {};
  }

  Status prepare() {
    if (exe_.code.prepare.steps.empty()) return {};
    TRY_ASSIGN(std::unique_ptr<Bound> bound, bind_program(exe_.plan, exe_.code, exe_.code.prepare, exe_.code.fixed));
    Machine machine(exe_.plan, exe_.code, exe_.code.prepare, exe_.pool.get(), exe_.device.get());
    machine.set_queue(queue_.get());
    TRY(machine.activate(bound.get()));
    for (size_t i = 0; i < exe_.fixed.size(); ++i)
      if (exe_.fixed[i].data) machine.set_memory(static_cast<int>(i), exe_.fixed[i].data, exe_.fixed[i].bytes);
    machine.begin();
    TRY(machine.run({}, nullptr));
    return queue_ ? queue_->finish() : Status{};
  }

  // Constants that only the prepare region read.
  void release_unused() {
    std::vector<char> used = used_by(exe_.code.main), used_constants(exe_.constants.size(), 0);
    for (size_t i = 0; i < used.size(); ++i) {
      const PlanBuffer& b = exe_.plan.buffers[i];
      if (b.storage != Storage::constant) continue;
      if (used[i]) used_constants[b.source] = !exe_.device;  // a device has its own copy
      else exe_.fixed[i] = ExecutableImpl::Fixed();
    }
    for (size_t i = 0; i < used_constants.size(); ++i)
      if (!used_constants[i]) exe_.constants[i] = {};
  }

  ExecutableImpl& exe_;
  std::unique_ptr<DeviceQueue> queue_;
};

}  // namespace

Result<std::shared_ptr<const ExecutableImpl>> make_executable(ExecutableParts parts) {
  TRY(verify_plan(parts.plan));
  auto exe = std::make_shared<ExecutableImpl>();
  PreparedCache kept;
  if (!parts.device) exe->prepared.found = kept.fetch(parts);
  // The code points into the plan, which must not move any more.
  exe->plan = std::move(parts.plan);
  TRY_ASSIGN(exe->code, compile_plan(exe->plan, parts));
  exe->objects = std::move(parts.objects);
  exe->constants = std::move(parts.constants);
  exe->pool = std::move(parts.pool);
  exe->device = std::move(parts.device);
  TRY(Maker(*exe).run());
  for (size_t i = 0; i < exe->plan.buffers.size(); ++i)
    if (exe->plan.buffers[i].storage == Storage::prepared) exe->prepared.computed += exe->fixed[i].bytes;
  Status s = kept.store(*exe);
  if (!s.ok() && parts.prepared.failed) parts.prepared.failed(s.error());
  return std::shared_ptr<const ExecutableImpl>(std::move(exe));
}

const Plan& plan_of(const ExecutableImpl& e) { return e.plan; }
PreparedBytes prepared_bytes(const ExecutableImpl& e) { return e.prepared; }
const std::shared_ptr<Device>& device_of(const ExecutableImpl& e) { return e.device; }

}  // namespace weft
