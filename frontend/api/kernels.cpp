#include "frontend/api/kernels.h"

#include <atomic>
#include <thread>

#include "codegen/backend.h"
#include "codegen/cuda/nvrtc.h"
#include "frontend/api/kernel_sources.h"
#include "ir/base/check.h"
#include "ir/base/text.h"

namespace weft {

namespace {

// One kernel's way from its spec to code, run by several threads at once.
class KernelBuilder {
 public:
  KernelBuilder(Lowered& lowered, const KernelBuildOptions& options, Reporter& reporter) : lowered_(lowered), options_(options), reporter_(reporter) {
    if (cuda() || options_.keep_code) build_.binaries.resize(lowered.specs.size());
    if (!cuda()) build_.objects.resize(lowered.specs.size());
    // Without its file there is nothing to compare with, and a miss will say so.
    if (auto id = cuda() ? cuda_compiler_id() : cpu_compiler_id(); id.ok()) build_.generator = id->hex();
    else options_.cache = DiskCache();
  }

  Result<KernelBuild> run() {
    auto total = static_cast<int64_t>(lowered_.specs.size());
    reporter_.progress("kernels", "", 0, total);
    int helpers = std::min<int>(options_.threads, static_cast<int>(total)) - 1;
    std::vector<std::thread> threads;
    for (int i = 0; i < helpers; ++i) threads.emplace_back([this] { work(); });
    work();
    for (std::thread& t : threads) t.join();
    if (error_) return std::move(*error_);
    for (size_t i = 0; i < lowered_.plan.kernels.size(); ++i) lowered_.plan.kernels[i].object = static_cast<int>(i);
    return std::move(build_);
  }

 private:
  void work() {
    for (size_t i; !failed_ && (i = next_.fetch_add(1)) < lowered_.specs.size();) {
      Status s = reporter_.cancelled() ? Status(error(Code::kCancelled, "cancelled while kernels were compiled")) : one(i);
      if (!s.ok()) {
        std::lock_guard lock(mutex_);
        if (!error_) error_ = std::move(s.error());
        failed_ = true;
        return;
      }
      int64_t done = done_.fetch_add(1) + 1;
      reporter_.progress("kernels", lowered_.specs[i].title, done, static_cast<int64_t>(lowered_.specs.size()));
    }
  }

  Status one(size_t i) {
    const KernelSpec& spec = lowered_.specs[i];
    if (cuda() && !options_.sources.empty()) {
      TRY_ASSIGN(const bool changed, from_folder(i));
      if (changed) return {};
    }
    const std::string key = kernel_cache_key(spec, options_.target) + "generator " + build_.generator + "\n";
    if (cached(i, key)) return {};
    TRY_ASSIGN(KernelCompiler * compiler, cuda() ? cuda_compiler() : cpu_compiler());
    auto code = compiler->compile(spec, options_.target, lowered_.plan.kernels[i].name, options_.cache.enabled());
    if (!code.ok()) return located(std::move(code.error()), i);
    if (cuda()) {
      store(i, key, *code);
      std::lock_guard lock(mutex_);
      ++build_.compiled;
      return accept_binary(i, std::move(code->object)), Status();
    }
    auto object = LoadedObject::load(std::as_bytes(std::span(code->object)));
    // The loader accepts whatever our code generator writes.
    if (!object.ok())
      check_failed(__FILE__, __LINE__, ("kernel " + spec.title + ": " + object.error().to_string() + "\n" + print_spec(spec)).c_str());
    store(i, key, *code);
    std::lock_guard lock(mutex_);
    ++build_.compiled;
    accept(i, std::move(*object), std::as_bytes(std::span(code->object)));
    return {};
  }

  // A source that somebody changed is compiled each time, and not kept.
  Result<bool> from_folder(size_t i) {
    const PlanKernel& kernel = lowered_.plan.kernels[i];
    TRY_ASSIGN(std::optional<std::string> text, changed_source(options_.sources, lowered_.specs[i], options_.target, kernel));
    if (!text) return false;
    auto binary = compile_cuda({kernel.name, std::move(*text)}, options_.target.isa);
    if (!binary.ok()) {
      Error e = usage("the changed source of kernel " + kernel.name + " in " + options_.sources + ": " + binary.error().message);
      return located(std::move(e), i);
    }
    reporter_.log(api::LogLevel::info, "kernel " + kernel.name + " is compiled from its changed source in " + options_.sources);
    std::lock_guard lock(mutex_);
    ++build_.compiled;
    accept_binary(i, std::move(binary->code));
    return true;
  }

  bool cached(size_t i, const std::string& key) {
    auto entry = options_.cache.get(key);
    if (!entry.ok()) return warn(entry.error()), false;
    if (!*entry) return false;
    std::span<const std::byte> bytes = (*entry)->blob("object");
    if (cuda()) {
      std::lock_guard lock(mutex_);
      ++build_.cached;
      return accept_binary(i, std::string((*entry)->text("object"))), true;
    }
    auto object = LoadedObject::load(bytes);
    if (!object.ok() || !(*object)->kernel(lowered_.plan.kernels[i].name)) return false;
    if ((*entry)->text("used-by").find(user_line(i)) == std::string_view::npos) (void)options_.cache.add_user(key, user_line(i)).ok();
    std::lock_guard lock(mutex_);
    ++build_.cached;
    accept(i, std::move(*object), bytes);
    return true;
  }

  void store(size_t i, const std::string& key, const KernelCode& code) {
    const std::string spec = print_spec(lowered_.specs[i]), user = user_line(i) + "\n";
    CacheBlob blobs[] = {text_blob("object", code.object), text_blob("spec", spec), text_blob("listing", code.listing), text_blob("used-by", user)};
    Status s = options_.cache.put(key, blobs);
    if (!s.ok()) warn(s.error());
  }

  void accept(size_t i, std::shared_ptr<const LoadedObject> object, std::span<const std::byte> bytes) {
    build_.code_bytes += static_cast<int64_t>(bytes.size());
    build_.objects[i] = std::move(object);
    if (options_.keep_code) build_.binaries[i].assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  void accept_binary(size_t i, std::string binary) {
    build_.code_bytes += static_cast<int64_t>(binary.size());
    build_.binaries[i] = std::move(binary);
  }
  bool cuda() const { return options_.target.backend == Backend::cuda; }

  // Said once: a full disk would repeat it for every kernel.
  void warn(const Error& e) {
    if (!warned_.exchange(true)) reporter_.log(api::LogLevel::warning, "kernel cache: " + e.message);
  }

  std::string user_line(size_t i) const {
    const auto& nodes = lowered_.plan.kernels[i].nodes;
    return options_.user + (nodes.empty() ? "" : " " + nodes.front());
  }

  Error located(Error e, size_t i) const {
    const auto& nodes = lowered_.plan.kernels[i].nodes;
    if (!nodes.empty()) e.at_node(nodes.front());
    return e;
  }

  Lowered& lowered_;
  KernelBuildOptions options_;
  Reporter& reporter_;
  std::atomic<size_t> next_{0};
  std::atomic<int64_t> done_{0};
  std::atomic<bool> failed_{false}, warned_{false};
  std::mutex mutex_;  // of what follows
  KernelBuild build_;
  std::optional<Error> error_;
};

}  // namespace

std::string kernel_cache_key(const KernelSpec& spec, const Target& target) {
  KernelSpec s = spec;
  s.title.clear();
  s.runners_up.clear();
  for (size_t i = 0; i < s.operands.size(); ++i) s.operands[i].name = "o" + std::to_string(i);
  return print_spec(s) + "target " + target.key() + "\n";
}

Result<KernelBuild> build_kernels(Lowered& lowered, const KernelBuildOptions& options, Reporter& reporter) {
  return KernelBuilder(lowered, options, reporter).run();
}

}  // namespace weft
