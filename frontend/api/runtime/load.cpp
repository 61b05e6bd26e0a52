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
  const size_t number = *chosen;
  TRY_ASSIGN(ArtefactTarget from, artefact->target(number));
  TRY_ASSIGN(const Target target, parse_target(from.target));
  CompileStats stats;
  ExecutableParts parts;
  TRY_ASSIGN(parts.plan, parse_plan(from.plan));
  stats.kernels = stats.kernels_cached = static_cast<int>(from.kernels.size());
  if (target.backend == Backend::cuda) {
    TRY_ASSIGN(const cu::Driver* driver, cuda_driver());
    if (driver->version < from.least_driver) {
      Error e = unsupported(path + " was compiled with " + from.compiler + " and needs a driver for CUDA " + cu::version_text(from.least_driver) +
                            "; this one is for CUDA " + driver->version_text());
      return e.with_hint("update the driver, or compile the model with an older NVRTC"), e;
    }
    TRY_ASSIGN(const int device, device_here(options.group, options.device));
    TRY_ASSIGN(parts.device, open_gpu(device, options.gpu_memory));
    parts.functions.assign(from.kernels.size(), nullptr);
  } else {
    parts.objects.resize(from.kernels.size());
  }
  for (const PlanKernel& k : parts.plan.kernels) {
    if (k.object < 0 || static_cast<size_t>(k.object) >= from.kernels.size()) return invalid(path + ": there is no code of kernel " + name_text(k.name));
    const auto i = static_cast<size_t>(k.object);
    const std::span<const std::byte> code = std::as_bytes(std::span(from.kernels[i].code));
    stats.code_bytes += static_cast<int64_t>(code.size());
    if (parts.device) {
      TRY_ASSIGN(parts.functions[i], parts.device->load(code, k.name, from.kernels[i].shared_bytes));
    } else {
      TRY_ASSIGN(parts.objects[i], LoadedObject::load(code));
    }
  }
  for (const ConstantBytes& c : from.constants) stats.constant_bytes += static_cast<int64_t>(c.size);
  parts.constants = std::move(from.constants);
  TRY(check_plan(options.group, parts.plan));
  const int threads = options.threads > 0 ? options.threads : threads_of(options.group);
  TRY_ASSIGN(parts.pool, ThreadPool::create(threads));
  if (options.use_cache) {
    Result<std::string> folder = options.cache_dir.empty() ? default_cache_folder() : options.cache_dir;
    Result<DiskCache> cache = folder.ok() ? DiskCache::open(*folder, "weights") : Result<DiskCache>(folder.error());
    if (cache.ok()) parts.prepared.cache = std::move(*cache);
  }
  parts.prepared.generator = from.generator;
  parts.prepared.failed = [](const Error&) {};
  TRY_ASSIGN(LocalRanks ranks, make_local_ranks(std::move(parts), options.group));
  return make_public(std::move(ranks), artefact->metadata(), std::move(stats), threads);
}

Result<Executable> Executable::load(const std::string& path, const LoadOptions& options) {
  Result<Executable> e = load_ranks(path, options);
  if (!e.ok() && options.group) options.group->abort(e.error());
  return e;
}

}  // namespace weft::api
