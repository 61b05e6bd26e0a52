// make_executable: verifies and compiles the plan, finds the bytes of constants, and runs the prepare region.
#include "runtime/executable.h"

#include <algorithm>

#include "ir/base/text.h"
#include "runtime/executor/executable_impl.h"
#include "runtime/executor/lone_rank.h"
#include "runtime/executor/prepared_cache.h"

namespace weft {

namespace {

// Weights in the form in which kernels read them.
Status prepare(ExecutableImpl& exe) {
  if (exe.code.prepare.steps.empty()) return {};
  std::unique_ptr<DeviceQueue> queue;
  if (exe.device) {
    TRY_ASSIGN(queue, exe.device->queue());
  }
  TRY_ASSIGN(std::unique_ptr<Bound> bound, bind_program(exe.plan, exe.code, exe.code.prepare, exe.code.fixed));
  Machine machine(exe.plan, exe.code, exe.code.prepare, exe.pool.get(), exe.device.get());
  machine.set_queues(queue.get());
  TRY(machine.activate(bound.get()));
  const std::vector<LoadedConstants::Fixed>& fixed = exe.loaded.fixed;
  for (size_t i = 0; i < fixed.size(); ++i)
    if (fixed[i].data) machine.set_memory(static_cast<int>(i), fixed[i].data, fixed[i].bytes);
  machine.begin();
  TRY(machine.run({}, nullptr));
  return queue ? queue->finish() : Status{};
}

// Constants that only the prepare region read.
void release_unused(ExecutableImpl& exe) {
  std::vector<char> used = buffers_used(exe.plan, exe.plan.main), used_constants(exe.constants.size(), 0);
  for (const PlanPort& q : exe.plan.outputs) used[exe.plan.tensors[q.tensor].buffer] = 1;
  for (size_t i = 0; i < used.size(); ++i) {
    const PlanBuffer& b = exe.plan.buffers[i];
    if (b.storage != Storage::constant) continue;
    if (used[i]) used_constants[b.source] = !exe.device;  // a device has its own copy
    else exe.loaded.fixed[i] = {};
  }
  exe.loaded.passing = Block();
  for (size_t i = 0; i < used_constants.size(); ++i)
    if (!used_constants[i]) exe.constants[i] = {};
}

// This rank's place in the mesh, and the groups it exchanges in.
Status join_groups(ExecutableParts& parts) {
  const Mesh& mesh = parts.plan.mesh;
  int64_t ranks = mesh.size();
  if (!parts.world) return ranks == 1 ? Status{} : usage("the model is compiled for " + std::to_string(ranks) + " ranks, and runs as one");
  if (parts.world->size() != ranks)
    return usage("the model is compiled for " + std::to_string(ranks) + " ranks, there are " + std::to_string(parts.world->size()));
  int rank = parts.world->rank();
  for (auto& [symbol, value] : mesh.coordinates(rank)) parts.symbols[symbol] = value;
  for (const PlanGroup& g : parts.plan.groups) {
    std::vector<int> members;
    for (int64_t r : mesh.group(rank, g.axes)) members.push_back(static_cast<int>(r));
    std::shared_ptr<Communicator> group = parts.world;
    if (static_cast<int64_t>(members.size()) != ranks || !std::is_sorted(members.begin(), members.end())) {
      TRY_ASSIGN(group, parts.world->split(members));
    }
    std::shared_ptr<DeviceRanks> on_device = parts.device ? lone_rank_on_device(*group) : nullptr;
    if (parts.device && !on_device) {
      TRY_ASSIGN(on_device, parts.device->join(*group, std::as_bytes(std::span(parts.push_code))));
    }
    parts.groups.push_back(std::move(group));
    parts.device_groups.push_back(std::move(on_device));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const ExecutableImpl>> make_executable(ExecutableParts parts) {
  TRY(verify_plan(parts.plan));
  TRY(join_groups(parts));
  auto exe = std::make_shared<ExecutableImpl>();
  PreparedCache kept;
  if (!parts.device) exe->prepared.found = kept.fetch(parts);
  // The code points into the plan, which must not move any more.
  exe->plan = std::move(parts.plan);
  TRY_ASSIGN(exe->code, compile_plan(exe->plan, parts));
  exe->objects = std::move(parts.objects);
  exe->constants = std::move(parts.constants);
  exe->pool = std::move(parts.pool);
  exe->world = std::move(parts.world);
  exe->groups = std::move(parts.groups);
  exe->device_groups = std::move(parts.device_groups);
  exe->comm_timeout = parts.comm_timeout;
  exe->device = std::move(parts.device);
  if (!parts.loaded) {
    TRY_ASSIGN(exe->loaded, load_constants(exe->plan, parts.symbols, exe->constants, exe->device.get(), exe->pool.get()));
  } else {
    exe->loaded = std::move(*parts.loaded);
  }
  TRY(prepare(*exe));
  release_unused(*exe);
  for (size_t i = 0; i < exe->plan.buffers.size(); ++i)
    if (exe->plan.buffers[i].storage == Storage::prepared) exe->prepared.computed += exe->loaded.fixed[i].bytes;
  Status s = kept.store(*exe);
  if (!s.ok() && parts.prepared.failed) parts.prepared.failed(s.error());
  return std::shared_ptr<const ExecutableImpl>(std::move(exe));
}

void abort_collectives(const ExecutableImpl& e, const Error& why) {
  if (e.world) e.world->abort(why);
  for (auto& group : e.device_groups)
    if (group) group->abort(why);
}
const Plan& plan_of(const ExecutableImpl& e) { return e.plan; }
PreparedBytes prepared_bytes(const ExecutableImpl& e) { return e.prepared; }
std::span<const std::byte> prepared_tensor(const ExecutableImpl& e, int buffer) {
  const LoadedConstants::Fixed& f = e.loaded.fixed[static_cast<size_t>(buffer)];
  return {f.data, static_cast<size_t>(f.bytes)};
}
UploadedBytes uploaded_bytes(const ExecutableImpl& e) { return {e.loaded.uploaded_bytes, e.loaded.upload_s}; }
const std::shared_ptr<Device>& device_of(const ExecutableImpl& e) { return e.device; }

}  // namespace weft
