// One compilation, stage by stage, so that tools may look between the stages; compile() runs them all.
//
//   load → shapes → optimise → lower → build
//
// A failed stage ends it: nothing else may be called then. One thread at a time.
#pragma once

#include "codegen/lower/lower.h"
#include "frontend/api/kernels.h"
#include "frontend/api/reporter.h"
#include "runtime/cache/disk_cache.h"
#include "ir/core/module.h"
#include "passes/shard/plan_mesh.h"
#include "weft/compile.h"

namespace weft {

struct ArtefactTarget;
struct ConstantBytes;
struct ExecutableParts;
class Device;

struct PlanRequest {
  int64_t devices = 1;
  int64_t batch = 0;   // dim 0 of the first input; 0: as the model and its symbols say
  SymbolValues at;     // what other symbols count with
  int64_t microbatches = 1;
};

class Compilation {
 public:
  explicit Compilation(const api::CompileOptions& options);

  // .onnx or .wir, by the file's first bytes. Error kUsage when there is no such file.
  Status load_file(const std::string& path);
  // The same from memory.
  Status load_bytes(std::span<const std::byte> bytes);
  void adopt(std::unique_ptr<Module> module);
  // Before loading: weights in files of their own stay unread. For plan() alone; whatever computes with them fails.
  void leave_out_weights() { shapes_only_ = true; }
  bool from_onnx() const { return from_onnx_; }  // what was loaded by file
  // Applies options.shapes.
  Status apply_shapes();
  // The passes of the optimisation level.
  Status optimise();
  // Others; runs, if given, receives a line per run of a pass.
  Status optimise(const PipelineOptions& pipeline, std::vector<PassRun>* runs = nullptr);
  // Of several ranks: the passes up to the graph that each of them runs, for the evaluator.
  Status share_out();
  // Which mesh is fastest, for the passes to share the model out over; options.mesh does not count. Nothing else may be called then.
  // Error kUsage for symbols that no input has; else as of plan_mesh.
  Result<MeshPlan> plan(const PlanRequest& request);
  // What the mesh of the options is expected to take. Nothing else may be called then. Errors as of plan().
  Result<MeshCandidate> predict(const PlanRequest& request);
  // How the passes share the model out over the mesh. Nothing else may be called then.
  Result<Given> chosen_shardings();
  // What options say of passes.
  PipelineOptions pipeline_options() const;
  // What was measured, in place of what options.tuning names.
  void set_tuning(Tuning tuning) { tuning_ = std::move(tuning); }
  Status lower();
  // Kernels, constants, the prepare region. Consumes module and plan. Of ranks that are processes all come here.
  Result<api::Executable> build();
  // Of a stage's plan, whose constants are the module's.
  Result<std::vector<ConstantBytes>> constants(size_t stage = 0) const;
  // What one target's part of an artefact is, for processors and GPUs that need not be here. constants: parallel to the plan's.
  Result<ArtefactTarget> pack(size_t stage, std::vector<ConstantBytes> constants);
  // The same with the kernels of another artefact's target, whose plan must be this one but for the weights.
  Result<ArtefactTarget> refit(size_t stage, ArtefactTarget old, std::vector<ConstantBytes> constants);
  KernelBuildOptions kernel_options(const Target& t);
  // All that is left to do after loading.
  Result<api::Executable> finish();

  const api::CompileOptions& options() const { return options_; }
  // Of options.target; resolved at first use.
  Result<Target> target();
  Module& module() { return *module_; }
  std::unique_ptr<Module> take_module() { return std::move(module_); }
  // Of a stage of the pipeline; without one there is one stage.
  Lowered& lowered(size_t stage = 0) { return lowered_[stage]; }
  size_t stages() const { return lowered_.size(); }
  Reporter& reporter() { return reporter_; }
  api::CompileStats& stats() { return stats_; }

 private:
  template <class F>
  auto timed(const char* stage, F&& work);
  Status check_cancelled();
  Status take_given();
  Result<PassContext> pass_context();
  // The module as it comes to the passes that share it out.
  Result<PassContext> ready_to_plan(const PlanRequest& request);
  DiskCache cache(const std::string& section);
  Result<std::vector<KernelBuild>> kernels_of_all(const Target& t);
  std::string module_text() const;
  Status load_on_gpu(ExecutableParts& parts, size_t stage, const std::vector<std::string>& binaries);

  api::CompileOptions options_;
  Reporter reporter_;
  std::unique_ptr<Module> module_;
  bool from_onnx_ = false, shapes_only_ = false;
  std::string folder_;  // of the model's file
  std::optional<Target> target_;
  std::optional<Tuning> tuning_;
  std::vector<Lowered> lowered_;  // by stage
  bool cache_warned_ = false;
  api::CompileStats stats_;
};

// A tuning table's file.
Result<Tuning> read_tuning(const std::string& path);

}  // namespace weft
