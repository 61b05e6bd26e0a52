// Executable::load: the target of an artefact that fits this machine best, ready to run.
#include "frontend/api/runtime/executable_state.h"
#include "frontend/api/runtime/rank_team.h"
#include "ir/base/text.h"
#include "runtime/artefact/artefact.h"
#include "runtime/artefact/choose_target.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/gpu.h"

namespace weft::api {

static std::optional<CudaDevice> gpu_of(int device) {
  auto devices = cuda_devices();
  if (!devices.ok() || device < 0 || static_cast<size_t>(device) >= devices->size()) return std::nullopt;
  return (*devices)[static_cast<size_t>(device)];
}

// Code for the host's processors, and weights; nothing for a plan that runs in other processes.
static Status load_stage(const ArtefactTarget& from, ExecutableParts& parts, CompileStats& stats) {
  stats.kernels += static_cast<int>(from.kernels.size());
  stats.kernels_cached = stats.kernels;
  for (const ArtefactKernel& k : from.kernels) {
    stats.code_bytes += static_cast<int64_t>(k.code.size());
    if (parts.device) continue;
    TRY_ASSIGN(auto object, LoadedObject::load(std::as_bytes(std::span(k.code))));
    parts.objects.push_back(std::move(object));
  }
  for (const ConstantBytes& c : from.constants) stats.constant_bytes += static_cast<int64_t>(c.size);
  parts.constants = from.constants;
  return {};
}

static Status load_on_gpu(const ArtefactTarget& from, ExecutableParts& parts) {
  parts.functions.assign(from.kernels.size(), nullptr);
  for (const PlanKernel& k : parts.plan.kernels) {
    const ArtefactKernel& code = from.kernels[static_cast<size_t>(k.object)];
    TRY_ASSIGN(parts.functions[static_cast<size_t>(k.object)], parts.device->load(std::as_bytes(std::span(code.code)), k.name, code.shared_bytes));
  }
  return {};
}

static Result<Executable> load_ranks(const std::string& path, const LoadOptions& options) {
  TRY_ASSIGN(auto artefact, Artefact::open(path));
  std::optional<PublicKey> key;
  if (!options.verify_key.empty()) {
    TRY_ASSIGN(key, read_public_key(options.verify_key));
  }
  if (key || options.require_signature) TRY(artefact->check_signature(key));
  const std::optional<CudaDevice> gpu = gpu_of(options.device);
  const Result<size_t> chosen = choose_target(artefact->targets(), options.target, gpu ? &*gpu : nullptr);
  if (!chosen.ok()) return unsupported(path + ": " + chosen.error().message).with_hint(chosen.error().hint);
  const std::string& name = artefact->targets()[*chosen];
  TRY_ASSIGN(const Target target, parse_target(name));
  CompileStats stats;
  std::vector<ArtefactTarget> from;
  std::vector<Plan> plans;
  for (size_t number = *chosen; number < artefact->targets().size(); ++number) {
    if (artefact->targets()[number] != name) continue;
    TRY_ASSIGN(ArtefactTarget t, artefact->target(number));
    TRY_ASSIGN(Plan plan, parse_plan(t.plan));
    from.push_back(std::move(t));
    plans.push_back(std::move(plan));
  }
  std::vector<const Plan*> all;
  for (const Plan& p : plans) all.push_back(&p);
  TRY(check_plans(options.group, all));
  ExecutableParts common;
  if (target.backend == Backend::cuda) {
    TRY_ASSIGN(const cu::Driver* driver, cuda_driver());
    if (driver->version < from[0].least_driver) {
      Error e = unsupported(path + " was compiled with " + from[0].compiler + " and needs a driver for CUDA " + cu::version_text(from[0].least_driver) +
                            "; this one is for CUDA " + driver->version_text());
      return e.with_hint("update the driver, or compile the model with an older NVRTC"), e;
    }
    TRY_ASSIGN(const int device, device_here(options.group, options.device));
    TRY_ASSIGN(common.device, open_gpu(device, options.gpu_memory));
  }
  const int threads = options.threads > 0 ? options.threads : threads_of(options.group);
  TRY_ASSIGN(common.pool, ThreadPool::create(threads));
  if (options.use_cache) {
    Result<std::string> folder = options.cache_dir.empty() ? default_cache_folder() : options.cache_dir;
    Result<DiskCache> cache = folder.ok() ? DiskCache::open(*folder, "weights") : Result<DiskCache>(folder.error());
    if (cache.ok()) common.prepared.cache = std::move(*cache);
  }
  common.prepared.generator = from[0].generator;
  common.prepared.failed = [](const Error&) {};
  std::vector<std::shared_ptr<Device>> devices;
  if (common.device) {
    TRY_ASSIGN(devices, rank_devices(options.group, common.device, options.device, plans[0].mesh.size(), options.gpu_memory, stats.notes));
  }
  std::vector<ExecutableParts> stages;
  for (size_t k = 0; k < plans.size(); ++k) {
    for (const PlanKernel& kernel : plans[k].kernels)
      if (kernel.object < 0 || static_cast<size_t>(kernel.object) >= from[k].kernels.size())
        return invalid(path + ": there is no code of kernel " + name_text(kernel.name));
    ExecutableParts parts;
    parts.pool = common.pool;
    parts.device = common.device;
    parts.prepared = common.prepared;
    if (runs_here(options.group, plans[k])) TRY(load_stage(from[k], parts, stats));
    parts.plan = std::move(plans[k]);
    stages.push_back(std::move(parts));
  }
  auto load = [&](ExecutableParts& p, size_t k) { return load_on_gpu(from[k], p); };
  TRY_ASSIGN(LocalRanks ranks, make_local_ranks(std::move(stages), options.group, devices, load));
  return make_public(std::move(ranks), artefact->metadata(), std::move(stats), threads);
}

Result<Executable> Executable::load(const std::string& path, const LoadOptions& options) {
  Result<Executable> e = load_ranks(path, options);
  if (!e.ok() && options.group) options.group->abort(e.error());
  return e;
}

}  // namespace weft::api
