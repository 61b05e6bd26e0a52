#include "tools/weft/planning.h"

#include <charconv>

#include "frontend/api/compilation.h"
#include "frontend/onnx/wire.h"
#include "ir/base/mapped_file.h"
#include "ir/base/text.h"
#include "runtime/artefact/artefact.h"

namespace weft::cli {

namespace {

// past=4096,sequence=1
Status read_values(const std::string& text, SymbolValues& out) {
  for (size_t from = 0; from <= text.size();) {
    const size_t to = std::min(text.find(',', from), text.size()), equals = std::min(text.find('=', from), to);
    int64_t value = 0;
    const char* end = text.data() + to;
    const auto [at, code] = std::from_chars(text.data() + std::min(equals + 1, to), end, value);
    if (code != std::errc() || at != end || equals == from || value < 1) return usage("--at: no SYMBOL=N in " + quote(text));
    out[text.substr(from, equals - from)] = value;
    from = to + 1;
  }
  return {};
}

// The model without its weights, and what to plan for.
Result<PlanRequest> begin(Cli& cli, const std::string& model, Compilation& compilation) {
  const Common& c = cli.common;
  PlanRequest request;
  request.devices = c.devices;
  request.batch = c.batch;
  request.microbatches = c.microbatches;
  for (const std::string& text : c.at) TRY(read_values(text, request.at));
  compilation.leave_out_weights();
  TRY(compilation.load_file(model));
  TRY(compilation.apply_shapes());
  return request;
}

// The mesh of the model's own devices, where the options name none.
Status take_configuration(Cli& cli, const std::string& model) {
  const api::CompileOptions o = compile_options(cli);
  if (!o.mesh.empty() || is_artefact(model)) return {};
  Result<std::shared_ptr<const MappedFile>> file = MappedFile::open(model);
  if (!file.ok() || !has_configurations({(*file)->data(), (*file)->size()})) return {};
  Compilation compilation(o);
  TRY(compilation.load_file(model));
  cli.common.compile.mesh = compilation.options().mesh;
  if (!cli.common.compile.mesh.empty()) cli.log.info("mesh " + cli.common.compile.mesh + ", of the model's annotations");
  return {};
}

}  // namespace

Result<MeshPlan> make_plan(Cli& cli, const std::string& model) {
  const Common& c = cli.common;
  if (c.devices == 0) return usage("how many devices? give --devices N");
  if (c.tp > 1 || c.pp > 1 || c.dp > 1 || !c.compile.mesh.empty()) return usage("the mesh is what is looked for: leave --mesh, --tp, --pp and --dp out");
  Compilation compilation(compile_options(cli));
  TRY_ASSIGN(const PlanRequest request, begin(cli, model, compilation));
  return compilation.plan(request);
}

Result<MeshCandidate> predict_mesh(Cli& cli, const std::string& model) {
  Compilation compilation(compile_options(cli));
  TRY_ASSIGN(const PlanRequest request, begin(cli, model, compilation));
  return compilation.predict(request);
}

Status choose_mesh(Cli& cli, const std::string& model) {
  Common& c = cli.common;
  if (c.parallel.empty()) return c.devices ? usage("--devices is for --parallel auto") : take_configuration(cli, model);
  if (is_artefact(model)) return usage("--parallel auto: " + model + " was compiled for its mesh already");
  TRY_ASSIGN(const MeshPlan plan, make_plan(cli, model));
  const MeshCandidate* best = plan.best();
  if (!best)
    return resources("no mesh of " + std::to_string(c.devices) + " devices fits into their memory").with_hint("`weft plan --explain` shows what each takes");
  c.compile.mesh = best->mesh.axes.empty() ? "" : best->mesh.axes_text();
  cli.log.info("mesh " + best->mesh.axes_text() + ", a step predicted to take " + ms_text(best->prediction.seconds() * 1e3) + " ms");
  return {};
}

}  // namespace weft::cli
