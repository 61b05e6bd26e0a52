#include "tools/weft/runner.h"

#include "frontend/api/reference.h"
#include "runtime/artefact/artefact.h"

namespace weft::cli {

bool is_eval(const api::CompileOptions& o) { return o.target == "eval"; }

// A compiled model. What shapes, states and passes say was decided when it was compiled.
static Result<Runner> load_runner(const Common& common, const api::CompileOptions& options, const std::string& path) {
  if (!options.shapes.empty() || !options.states.empty() || !options.mesh.empty())
    return usage("--shapes, --state and --mesh are for compiling: " + path + " is compiled already");
  api::LoadOptions o;
  if (options.target != "auto") o.target = options.target;
  o.verify_key = common.verify_key;
  o.require_signature = common.require_signature;
  o.device = options.device;
  o.gpu_memory = options.gpu_memory;
  o.threads = options.threads;
  o.cache_dir = options.cache_dir;
  o.use_cache = options.use_cache;
  o.group = options.group;
  Runner r;
  TRY_ASSIGN(r.exe, api::Executable::load(path, o));
  r.inputs = r.exe->inputs();
  r.outputs = r.exe->outputs();
  r.target = r.exe->target();
  r.stats = r.exe->stats();
  r.context = r.exe->context();
  return r;
}

Result<Runner> make_runner(const api::CompileOptions& options, const std::string& path) {
  Runner r;
  Compilation c(options);
  TRY(c.load_file(path));
  TRY(c.apply_shapes());
  r.hints = input_hints(c.module());
  if (is_eval(options)) {
    if (!options.states.empty()) return usage("--state: the evaluator keeps no states; its inputs and outputs stay what they are");
    TRY_ASSIGN(r.inputs, describe_inputs(c.module()));
    r.outputs = describe_outputs(c.module());
    r.target = "eval";
    TRY(c.share_out());
    r.stats = c.stats();
    r.module = c.take_module();
    return r;
  }
  TRY(c.optimise());
  TRY(c.lower());
  TRY_ASSIGN(r.exe, c.build());
  r.inputs = r.exe->inputs();
  r.outputs = r.exe->outputs();
  r.target = r.exe->target();
  r.stats = r.exe->stats();
  r.context = r.exe->context();
  return r;
}

Result<Runner> make_runner(Cli& cli, const std::string& path) {
  const api::CompileOptions options = compile_options(cli);
  const bool compiled = is_artefact(path) && !is_eval(options);
  Result<Runner> r = compiled ? load_runner(cli.common, options, path) : make_runner(options, path);
  cli.log.end_progress();
  if (r.ok())
    for (const std::string& note : r->stats.notes) cli.log.info(note);
  return r;
}

Result<api::NamedTensors> Runner::run(const api::NamedTensors& in, const api::RunOptions& options) {
  if (context) return context->run(in, {}, options);
  if (options.check_numerics) return usage("--check-numerics is about kernels; the evaluator has none");
  return evaluate_module(*module, in, options.cancel);
}

}  // namespace weft::cli
