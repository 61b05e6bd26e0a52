#include "frontend/api/compilation.h"

#include <unistd.h>

#include <filesystem>
#include <future>

#include "codegen/cuda/nvrtc.h"
#include "codegen/cuda/push.h"
#include "frontend/api/device_tables.h"
#include "frontend/api/given.h"
#include "frontend/api/kernels.h"
#include "frontend/api/runtime/rank_team.h"
#include "frontend/api/target_choice.h"
#include "ir/base/mapped_file.h"
#include "ir/core/shapes.h"
#include "frontend/onnx/import.h"
#include "ir/base/text.h"
#include "ir/eval/host_value.h"
#include "ir/text/module_file.h"
#include "runtime/artefact/artefact.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/cuda/gpu.h"
#include "runtime/executor/constants.h"

namespace weft {

namespace {

constexpr std::string_view kTextMark = "weft.module";

bool is_module_text(std::span<const std::byte> bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  // Comments may stand before.
  while (!text.empty() && (text.substr(0, 2) == "//" || text[0] == '\n' || text[0] == ' ')) {
    size_t end = text[0] == '/' ? text.find('\n') : 0;
    if (end == std::string_view::npos) return false;
    text = text.substr(end + 1);
  }
  return text.substr(0, kTextMark.size()) == kTextMark;
}

std::string file_stem(const std::string& path) {
  size_t slash = path.rfind('/'), from = slash == std::string::npos ? 0 : slash + 1, dot = path.rfind('.');
  return path.substr(from, dot == std::string::npos || dot <= from ? std::string::npos : dot - from);
}

// The importer binds shapes while it infers, which gives it more to work with than symbols.
Result<ImportOptions> import_options(const api::CompileOptions& o) {
  ImportOptions out;
  out.external_data_root = o.external_data_root;
  out.configuration = o.configuration;
  TRY_ASSIGN(out.mesh, parse_mesh(o.mesh));
  for (const std::string& text : o.shapes) {
    TRY_ASSIGN(ShapeSpec spec, parse_shape_spec(text));
    out.shapes[spec.input] = text.substr(spec.input.size() + 1);
  }
  return out;
}

Result<ConstantBytes> constant_bytes(const Constant& c) {
  ConstantBytes out;
  if (c.source == Constant::Source::splat) {
    out.splat = true;
    out.data = c.bytes->data();
    out.size = c.bytes->size();
    out.owner = c.bytes;
    return out;
  }
  if (const std::byte* data = c.data()) {
    out.data = data;
    out.size = static_cast<size_t>(c.numel() * byte_size(c.dtype));
    if (c.file) out.owner = c.file;
    else out.owner = c.bytes;
    return out;
  }
  TRY_ASSIGN(Tensor t, tensor_of(c));
  out.data = t.data.get();
  out.size = static_cast<size_t>(t.bytes());
  out.owner = t.data;
  return out;
}

}  // namespace

Compilation::Compilation(const api::CompileOptions& options) : options_(options), reporter_(options) {}

template <class F>
auto Compilation::timed(const char* stage, F&& work) {
  double begin = reporter_.elapsed_s();
  reporter_.progress(stage, "");
  auto result = work();
  double ms = (reporter_.elapsed_s() - begin) * 1e3;
  stats_.stage_ms.emplace_back(stage, ms);
  reporter_.log(api::LogLevel::debug, std::string(stage) + ": " + std::to_string(ms) + " ms");
  return result;
}

Status Compilation::check_cancelled() {
  if (reporter_.cancelled()) return error(Code::kCancelled, "compilation was cancelled");
  return {};
}

Result<Target> Compilation::target() {
  if (!target_) {
    std::string note;
    TRY_ASSIGN(target_, api::choose_target(options_.target, options_.device, &note));
    if (!note.empty()) stats_.notes.push_back(std::move(note));
  }
  return *target_;
}

Status Compilation::load_file(const std::string& path) {
  if (access(path.c_str(), F_OK) != 0) return usage("there is no file " + path);
  if (is_artefact(path)) {
    Error e = usage(path + " is compiled already: it can be run, not compiled or evaluated");
    return e.with_hint("give the .onnx that it was made of"), e;
  }
  return timed("import", [&]() -> Status {
    TRY_ASSIGN(auto file, MappedFile::open(path));
    from_onnx_ = !is_module_text({file->data(), file->size()});
    if (!from_onnx_) {
      TRY_ASSIGN(module_, load_module(path));
    } else {
      TRY_ASSIGN(ImportOptions o, import_options(options_));
      o.shapes_only = shapes_only_;
      TRY_ASSIGN(module_, import_onnx_file(path, o));
    }
    if (module_->name.empty()) module_->name = file_stem(path);
    folder_ = std::filesystem::path(path).has_parent_path() ? std::filesystem::path(path).parent_path().string() : ".";
    TRY(take_given());
    return check_cancelled();
  });
}

Status Compilation::load_bytes(std::span<const std::byte> bytes) {
  return timed("import", [&]() -> Status {
    if (is_module_text(bytes)) {
      TRY_ASSIGN(module_, parse_module({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, options_.external_data_root));
    } else {
      TRY_ASSIGN(ImportOptions o, import_options(options_));
      TRY_ASSIGN(module_, import_onnx_bytes(bytes, "", o));
    }
    TRY(take_given());
    return check_cancelled();
  });
}

// The mesh is the model's own where the user names none; what the user asks of tensors joins what the model does.
Status Compilation::take_given() {
  if (options_.mesh.empty() && !module_->given.mesh.axes.empty()) options_.mesh = module_->given.mesh.axes_text();
  if (shapes_only_ || (options_.shardings.empty() && options_.shardings_file.empty())) return {};  // plan() does it
  if (options_.mesh.empty()) return usage("--shard and --shardings name axes of a mesh, and there is none").with_hint("give --mesh, or --tp");
  return api::give_shardings(*module_, options_.shardings, options_.shardings_file);
}

void Compilation::adopt(std::unique_ptr<Module> module) { module_ = std::move(module); }

static Result<Precision> parse_precision(const std::string& text) {
  if (auto p = precision_from_name(text)) return *p;
  return usage("unknown precision " + text).with_hint("f32, tf32, f16, bf16");
}

Status Compilation::apply_shapes() {
  std::vector<ShapeSpec> specs;
  for (const std::string& text : options_.shapes) {
    TRY_ASSIGN(ShapeSpec spec, parse_shape_spec(text));
    specs.push_back(std::move(spec));
  }
  TRY(weft::apply_shapes(*module_, specs));
  std::vector<std::string> open = open_dims(*module_);
  if (!open.empty()) stats_.notes.push_back("dims left open: " + join(open, ", ") + " (any value runs; --shapes says which to be best for)");
  return check_cancelled();
}

PipelineOptions Compilation::pipeline_options() const {
  PipelineOptions o;
  o.opt_level = options_.opt_level;
  o.disabled = options_.disabled_passes;
  o.dump_dir = options_.dump_ir;
  return o;
}

Status Compilation::share_out() {
  if (options_.mesh.empty() && options_.deterministic == 0) return {};
  PipelineOptions o = pipeline_options();
  o.stop_after = "partition";
  return optimise(o);
}

Status Compilation::optimise() { return optimise(pipeline_options()); }

Result<PassContext> Compilation::pass_context() {
  PassContext cx;
  TRY_ASSIGN(cx.target, target());
  cx.states = options_.states;
  if (!options_.precision.empty()) {
    TRY_ASSIGN(cx.precision, parse_precision(options_.precision));
  }
  cx.keep_f32 = options_.keep_f32;
  TRY_ASSIGN(cx.mesh, parse_mesh(options_.mesh));
  if (const int n = options_.deterministic; n != 0) {
    if (n < 2 || n > 256) return usage("deterministic=" + std::to_string(n) + " is not from 2 to 256");
    if (cx.target.backend == Backend::cuda)
      return unsupported("the bits of results on GPUs depend on the number of ranks").with_hint("leave --deterministic out, or compile for cpu");
    cx.deterministic = n;
  }
  if (!options_.device_table.empty()) {
    TRY_ASSIGN(cx.devices, api::find_device_table(options_.device_table));
  }
  cx.cancel = options_.cancel;
  cx.progress = [this](const std::string& pass, int done, int total) { reporter_.progress("passes", pass, done, total); };
  return cx;
}

Status Compilation::optimise(const PipelineOptions& pipeline, std::vector<PassRun>* runs) {
  TRY(check_cancelled());
  return timed("passes", [&]() -> Status {
    TRY_ASSIGN(PassContext cx, pass_context());
    TRY(run_pipeline(*module_, cx, pipeline, runs));
    stats_.notes.insert(stats_.notes.end(), cx.notes.begin(), cx.notes.end());
    return check_cancelled();
  });
}

Result<Tuning> read_tuning(const std::string& path) {
  TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  return parse_tuning(std::string_view(reinterpret_cast<const char*>(file->data()), file->size()), path);
}

Status Compilation::lower() {
  TRY(check_cancelled());
  return timed("lower", [&]() -> Status {
    TRY_ASSIGN(Target t, target());
    if (t.backend == Backend::eval) return unsupported("eval is the reference evaluator, for `run` and `verify`; it compiles nothing");
    if (!tuning_ && !options_.tuning.empty()) {
      TRY_ASSIGN(tuning_, read_tuning(options_.tuning));
    }
    TRY_ASSIGN(lowered_, lower_module(*module_, t, tuning_ ? &*tuning_ : nullptr, options_.deterministic != 0));
    return check_cancelled();
  });
}

// A disabled one, with one warning, where the folder cannot be used.
DiskCache Compilation::cache(const std::string& section) {
  if (!options_.use_cache) return {};
  Result<std::string> folder = options_.cache_dir.empty() ? default_cache_folder() : options_.cache_dir;
  Result<DiskCache> cache = folder.ok() ? DiskCache::open(*folder, section) : Result<DiskCache>(folder.error());
  if (cache.ok()) return std::move(*cache);
  if (!std::exchange(cache_warned_, true)) reporter_.log(api::LogLevel::warning, "kernels and weights are not kept: " + cache.error().message);
  return {};
}

Status Compilation::load_on_gpu(ExecutableParts& parts, size_t stage, const std::vector<std::string>& binaries) {
  for (size_t i = 0; i < binaries.size(); ++i) {
    const KernelSpec& spec = lowered_[stage].specs[i];
    const std::span<const std::byte> code = std::as_bytes(std::span(binaries[i]));
    TRY_ASSIGN(void* function, parts.device->load(code, parts.plan.kernels[i].name, spec.config.shared_bytes));
    parts.functions.push_back(function);
  }
  return {};
}

// Of the stages whose ranks run here, the others' are empty. One process of a machine compiles, while the others wait to find in
// the cache what it made.
Result<std::vector<KernelBuild>> Compilation::kernels_of_all(const Target& t) {
  const bool processes = api::has_processes(options_.group);
  auto build = [&]() -> Result<std::vector<KernelBuild>> {
    std::vector<KernelBuild> out(lowered_.size());
    for (size_t k = 0; k < out.size(); ++k) {
      if (!api::runs_here(options_.group, lowered_[k].plan)) continue;
      TRY_ASSIGN(out[k], build_kernels(lowered_[k], kernel_options(t), reporter_));
      stats_.kernels += static_cast<int>(lowered_[k].specs.size());
      stats_.kernels_compiled += out[k].compiled;
      stats_.kernels_cached += out[k].cached;
      stats_.code_bytes += out[k].code_bytes;
    }
    return out;
  };
  if (!processes) return build();
  const api::Group& group = *options_.group;
  if (options_.use_cache && group.state()->local_rank > 0) {
    TRY(api::agree(group, "its kernels", {}));
    return build();
  }
  Result<std::vector<KernelBuild>> built = build();
  TRY(api::agree(group, "its kernels", built.ok() ? Status() : Status(built.error())));
  return built;
}

Result<api::Executable> Compilation::build() {
  TRY_ASSIGN(Target t, target());
  if (t.backend == Backend::cpu && !weft::runs_here(t)) {
    Error e = unsupported("this processor cannot run code for " + t.to_string());
    return e.with_hint("use --target cpu, or a lower level such as cpu:x86-64-v3"), e;
  }
  std::vector<const Plan*> plans;
  for (const Lowered& l : lowered_) plans.push_back(&l.plan);
  TRY(api::check_plans(options_.group, plans));
  const int threads = options_.threads > 0 ? options_.threads : api::threads_of(options_.group);
  const int64_t ranks = lowered_[0].plan.mesh.size();
  std::vector<ExecutableParts> stages(lowered_.size());
  ExecutableParts& first = stages[0];
  TRY_ASSIGN(first.pool, ThreadPool::create(threads));
  for (size_t k = 0; k < stages.size(); ++k) {
    if (!api::runs_here(options_.group, lowered_[k].plan)) continue;
    TRY_ASSIGN(stages[k].constants, constants(k));
    for (const ConstantBytes& c : stages[k].constants) stats_.constant_bytes += static_cast<int64_t>(c.size);
  }
  // Weights are on their way while kernels are compiled. The future waits for the thread wherever this function returns.
  std::future<Result<LoadedConstants>> loading;
  if (t.backend == Backend::cuda) {
    TRY_ASSIGN(const int device, api::device_here(options_.group, options_.device));
    TRY_ASSIGN(first.device, open_gpu(device, options_.gpu_memory));
    for (const Plan* p : plans) TRY(verify_plan(*p));
  }
  // Of several ranks each one loads its own.
  if (first.device && ranks == 1) {
    loading = std::async(std::launch::async, [&first, this] {
      return load_constants(lowered_[0].plan, first.symbols, first.constants, first.device.get(), first.pool.get());
    });
  }
  auto kernels = timed("kernels", [&] { return kernels_of_all(t); });
  if (!kernels.ok()) return std::move(kernels.error());
  auto made = timed("load", [&]() -> Result<api::LocalRanks> {
    TRY(check_cancelled());
    if (loading.valid()) {
      TRY_ASSIGN(LoadedConstants loaded, loading.get());
      first.loaded = std::make_shared<LoadedConstants>(std::move(loaded));
    }
    std::vector<std::shared_ptr<Device>> devices;
    if (first.device) {
      TRY_ASSIGN(devices, api::rank_devices(options_.group, first.device, options_.device, ranks, options_.gpu_memory, stats_.notes));
      if (ranks > 1) {
        TRY_ASSIGN(first.push_code, compile_push(t));
      }
    }
    for (size_t k = 0; k < stages.size(); ++k) {
      ExecutableParts& p = stages[k];
      p.plan = std::move(lowered_[k].plan);
      p.objects = std::move((*kernels)[k].objects);
      p.pool = first.pool;
      p.device = first.device;
      p.push_code = first.push_code;
      p.prepared.cache = cache("weights");
      p.prepared.generator = (*kernels)[k].generator;
      p.prepared.failed = [this](const Error& e) { reporter_.log(api::LogLevel::warning, "weights are not kept: " + e.message); };
    }
    return api::make_local_ranks(std::move(stages), options_.group, devices,
                                 [&](ExecutableParts& p, size_t stage) { return load_on_gpu(p, stage, (*kernels)[stage].binaries); });
  });
  if (!made.ok()) return std::move(made.error());
  stats_.total_ms = reporter_.elapsed_s() * 1e3;
  return api::make_public(std::move(*made), std::move(module_->metadata), std::move(stats_), threads);
}

KernelBuildOptions Compilation::kernel_options(const Target& t) {
  return {t, options_.threads > 0 ? options_.threads : usable_cores(), cache("kernels"), module_->name, options_.kernel_sources};
}

Result<std::vector<ConstantBytes>> Compilation::constants(size_t stage) const {
  std::vector<ConstantBytes> out;
  for (int id : lowered_[stage].constants) {
    TRY_ASSIGN(ConstantBytes c, constant_bytes(module_->constants[id]));
    out.push_back(std::move(c));
  }
  return out;
}

Result<ArtefactTarget> Compilation::pack(size_t stage, std::vector<ConstantBytes> constants) {
  TRY_ASSIGN(Target t, target());
  Lowered& lowered = lowered_[stage];
  ArtefactTarget out;
  out.target = t.to_string();
  TRY_ASSIGN(KernelBuild kernels, timed("kernels", [&]() -> Result<KernelBuild> {
    KernelBuildOptions o = kernel_options(t);
    o.keep_code = true;
    return build_kernels(lowered, o, reporter_);
  }));
  out.generator = kernels.generator;
  for (size_t i = 0; i < kernels.binaries.size(); ++i)
    out.kernels.push_back({std::move(kernels.binaries[i]), print_spec(lowered.specs[i]), lowered.specs[i].config.shared_bytes});
  if (t.backend == Backend::cuda) {
    TRY_ASSIGN(const Nvrtc* n, nvrtc());
    out.compiler = "NVRTC " + std::to_string(n->major) + "." + std::to_string(n->minor);
    out.least_driver = n->major * 1000 + (t.gpu.ptx ? n->minor * 10 : 0);  // machine code runs under all drivers of a major version
  }
  out.constants = std::move(constants);
  out.plan = print_plan(lowered.plan);
  out.module = module_text();
  return out;
}

// Weights by reference to the model's files.
std::string Compilation::module_text() const {
  PrintOptions o;
  o.by_reference = true;
  o.base_dir = folder_;
  return print_module(*module_, o);
}

// What differs between two plans that should have the same commands; empty: nothing.
static std::string difference(const Plan& now, const Plan& old) {
  std::map<std::string, const PlanConstant*> before;
  for (const PlanConstant& c : old.constants) before[c.name] = &c;
  auto text = [](const PlanConstant& c) { return std::string(dtype_name(c.dtype)) + "[" + shape_text(to_shape(c.dims)) + "]"; };
  for (const PlanConstant& c : now.constants) {
    auto it = before.find(c.name);
    if (it == before.end()) return "it has a weight " + name_text(c.name) + " that the other has not";
    if (text(c) != text(*it->second)) return "its weight " + name_text(c.name) + " is " + text(c) + ", the other's " + text(*it->second);
  }
  if (now.constants.size() < old.constants.size()) return "it has fewer weights";
  auto commands = [](Plan p) {
    for (PlanConstant& c : p.constants) c.hash = {};
    return print_plan(p);
  };
  auto copy = [](const Plan& p) { return parse_plan(print_plan(p)); };
  auto a = copy(now), b = copy(old);
  if (a.ok() && b.ok() && commands(std::move(*a)) == commands(std::move(*b))) return "";
  return "its kernels or commands are others: numbers of it may be part of kernels, or options differ";
}

Result<ArtefactTarget> Compilation::refit(size_t stage, ArtefactTarget old, std::vector<ConstantBytes> constants) {
  TRY_ASSIGN(const Plan before, parse_plan(old.plan));
  Plan& plan = lowered_[stage].plan;
  for (size_t i = 0; i < plan.kernels.size(); ++i) plan.kernels[i].object = static_cast<int>(i);
  if (std::string what = difference(plan, before); !what.empty()) {
    Error e = usage("this model does not fit the compiled one for " + old.target + ": " + what);
    return e.with_hint("compile it anew, or with the options that the other was compiled with"), e;
  }
  old.constants = std::move(constants);
  old.plan = print_plan(plan);
  old.module = module_text();
  return old;
}

Result<api::Executable> Compilation::finish() {
  TRY(apply_shapes());
  TRY(optimise());
  TRY(lower());
  return build();
}

// `load` loads the model. Where it fails, or what comes after, other ranks do not wait.
template <class F>
static Result<api::Executable> compile_with(const api::CompileOptions& options, F&& load) {
  Compilation c(options);
  Status loaded = load(c);
  Result<api::Executable> e = loaded.ok() ? c.finish() : Result<api::Executable>(std::move(loaded.error()));
  if (!e.ok() && options.group) options.group->abort(e.error());
  return e;
}

}  // namespace weft

namespace weft::api {

Result<Executable> compile(const std::string& path, const CompileOptions& options) {
  return compile_with(options, [&](Compilation& c) { return c.load_file(path); });
}

Result<Executable> compile(std::span<const std::byte> bytes, const CompileOptions& options) {
  return compile_with(options, [&](Compilation& c) { return c.load_bytes(bytes); });
}

Result<Executable> compile(std::unique_ptr<Module> module, const CompileOptions& options) {
  return compile_with(options, [&](Compilation& c) { return c.adopt(std::move(module)), Status(); });
}

const char* version() { return WEFT_VERSION; }

}  // namespace weft::api
