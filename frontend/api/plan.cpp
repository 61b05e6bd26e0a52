// Compilation::plan: the passes of one rank up to sharing out, then the search for a mesh.
#include "frontend/api/compilation.h"
#include "frontend/api/device_tables.h"
#include "frontend/api/given.h"
#include "ir/base/text.h"
#include "passes/shard/chosen_forms.h"

namespace weft {

// What symbols count with where something is chosen by it.
static Status set_optima(Module& m, const PlanRequest& r) {
  SymbolValues at = r.at;
  if (r.batch > 0) {
    const Graph& g = *m.main();
    if (g.inputs.empty() || !g.inputs[0]->type.is_ranked() || g.inputs[0]->type.rank() == 0) return usage("the first input has no batch");
    const Dim& d = g.inputs[0]->type.shape[0];
    if (d.is_symbol()) at[d.symbol_name()] = r.batch;
    else if (!d.is(r.batch)) return usage("the batch, dim 0 of input " + g.inputs[0]->name + ", is " + d.to_string() + ", not " + std::to_string(r.batch));
  }
  for (const auto& [name, value] : at) {
    auto it = m.symbols.find(name);
    if (it == m.symbols.end()) return usage("no dim of the inputs is called " + quote(name)).with_hint("`weft inspect` lists them");
    if (value < it->second.lo || value > it->second.hi) return usage(name + " = " + std::to_string(value) + " is outside of its range");
    it->second.opt = value;
  }
  return {};
}

Result<PassContext> Compilation::ready_to_plan(const PlanRequest& request) {
  TRY(set_optima(*module_, request));
  options_.mesh.clear();
  module_->given = {};  // the model's is said of a mesh of its own
  TRY(api::give_shardings(*module_, options_.shardings, options_.shardings_file));
  PipelineOptions before = pipeline_options();
  before.stop_after = "partition";  // of one rank: it does nothing, as those that share out in front of it
  TRY(optimise(before));
  TRY_ASSIGN(PassContext cx, pass_context());
  if (!cx.devices) cx.devices = api::devices_here(cx.target, options_.device);
  cx.devices->memory_bytes *= options_.gpu_memory;
  reporter_.progress("plan", "");
  return cx;
}

Result<MeshPlan> Compilation::plan(const PlanRequest& request) {
  TRY_ASSIGN(const PassContext cx, ready_to_plan(request));
  return plan_mesh(*module_, cx, request.devices, request.microbatches);
}

Result<MeshCandidate> Compilation::predict(const PlanRequest& request) {
  TRY_ASSIGN(const Mesh mesh, parse_mesh(options_.mesh));
  TRY_ASSIGN(PassContext cx, ready_to_plan(request));
  cx.mesh = mesh;
  return price_mesh(*module_, cx, request.microbatches);
}

Result<Given> Compilation::chosen_shardings() {
  PipelineOptions o = pipeline_options();
  o.stop_after = "shard";
  TRY(optimise(o));
  if (module_->meshes.empty()) return usage("a mesh of one rank shares nothing out");
  return chosen_forms(*module_);
}

}  // namespace weft
