// weft plan with a mesh: how the passes share the model out over it, and the model with that written into it.
#include "frontend/api/compilation.h"
#include "frontend/onnx/annotate.h"
#include "ir/base/text.h"
#include "tools/weft/planning.h"

namespace weft::cli {

namespace {

std::string dims_text(const GivenSharding& g) {
  std::string s;
  for (auto& d : g.dims) s += (s.empty() ? "" : ", ") + (d.empty() ? "whole" : join(d, "*"));
  return s;
}

std::string shardings_text(const Given& given) {
  std::string text = "mesh  " + given.mesh.axes_text() + "\n\n";
  // A line for each tensor and form: who makes or reads it so.
  std::map<std::pair<std::string, std::string>, std::vector<const GivenSharding*>> lines;
  for (const GivenSharding& g : given.shardings) lines[{g.tensor, dims_text(g)}].push_back(&g);
  std::vector<std::vector<std::string>> rows;
  for (auto& [line, users] : lines) {
    std::string where, stages;
    size_t readers = 0;
    for (const GivenSharding* g : users) {
      if (g->reader.empty()) where = "computed";
      else if (readers++ == 0) where += (where.empty() ? "read by " : ", read by ") + g->reader;
      if (auto it = given.stages.find(g->reader); it != given.stages.end() && stages.empty()) stages = std::to_string(it->second);
    }
    if (readers > 1) where += " and " + std::to_string(readers - 1) + " more";
    rows.push_back({line.first, line.second, stages, where});
  }
  return text + table({"tensor", "dims cut by", "stage", "where"}, rows, {1, 3});
}

Json shardings_json(const Given& given, const std::string& model) {
  Json j, axes = Json::object(), shardings = Json::array(), stages = Json::object();
  for (const auto& [axis, size] : given.mesh.axes) axes[axis] = size;
  for (const auto& [node, stage] : given.stages) stages[node] = stage;
  for (const GivenSharding& g : given.shardings) {
    Json s, dims = Json::array();
    for (auto& d : g.dims) dims.push_back(d);
    s["tensor"] = g.tensor;
    s["reader"] = g.reader.empty() ? Json() : Json(g.reader);
    s["dims"] = dims;
    shardings.push_back(s);
  }
  j["model"] = model;
  j["mesh"] = axes;
  j["stages"] = stages;
  j["shardings"] = shardings;
  return j;
}

}  // namespace

Status plan_shardings(Cli& cli, const std::string& model, const std::string& write_onnx, bool show) {
  Compilation c(compile_options(cli));
  TRY(c.load_file(model));
  if (c.options().mesh.empty()) return usage("there is no mesh to share the model out over").with_hint("give --devices, --tp or --mesh");
  if (!write_onnx.empty() && !c.from_onnx()) return usage("--write-onnx: " + model + " is no ONNX model");
  TRY(c.apply_shapes());
  // What was annotated already is filled in.
  const std::string configuration = c.module().given.mesh.axes.empty() ? "weft" : c.module().given.mesh.name;
  TRY_ASSIGN(const Given given, c.chosen_shardings());
  cli.log.end_progress();
  for (const std::string& note : c.stats().notes) cli.log.info(note);
  if (!write_onnx.empty()) {
    TRY(write_annotated(model, write_onnx, configuration, given));
    cli.log.info("wrote " + write_onnx);
  }
  if (!show) return {};
  if (cli.json()) return cli.emit(shardings_json(given, model));
  print(shardings_text(given));
  return {};
}

}  // namespace weft::cli
