// weft plan: how a number of devices would best share a model, by prediction; or, with a mesh, how it is shared out over that one.
// Neither the devices nor the weights need be here.
#include <chrono>
#include <cstdio>
#include <map>

#include "frontend/api/device_tables.h"
#include "ir/base/text.h"
#include "tools/weft/cli.h"
#include "tools/weft/planning.h"

namespace weft::cli {

namespace {

struct PlanArgs {
  std::string model, write_onnx;
  bool explain = false, list = false;
};

std::string bytes_text(double bytes) { return human_bytes(bytes); }
std::string ms_of(double seconds) { return ms_text(seconds * 1e3); }
std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f %%", share < 0.1 ? 1 : 0, share * 100);
  return text;
}

// Why it is not the one.
std::string verdict(const MeshPlan& plan, const MeshCandidate& c) {
  if (!c.impossible.empty()) return c.impossible;
  if (!c.fits) return "does not fit: " + bytes_text(c.prediction.bytes()) + " of " + bytes_text(plan.devices.memory_bytes);
  const MeshCandidate& best = *plan.best();
  if (&c == &best) return plan.candidates.size() > 1 ? "the fastest that fits" : "the only one";
  const double more = c.prediction.seconds() / best.prediction.seconds() - 1;
  // What it loses by.
  const bool exchanges = c.prediction.exchange_seconds() - best.prediction.exchange_seconds() >
                         c.prediction.compute_seconds() - best.prediction.compute_seconds();
  return "slower by " + percent(more) + ": it " + (exchanges ? "exchanges" : "computes") + " longer";
}

std::vector<std::string> row(const std::string& name, const MeshCandidate& c, const std::string& why) {
  if (!c.impossible.empty()) return {name, "", "", "", "", "", "", "", why};
  const Prediction& p = c.prediction;
  return {name, ms_of(p.seconds()), ms_of(p.compute_seconds()), ms_of(p.exchange_seconds()), bytes_text(p.bytes()), bytes_text(p.weight_bytes),
          bytes_text(p.state_bytes), bytes_text(p.activation_bytes), why};
}

std::string parts_text(const MeshCandidate& c) {
  std::vector<std::vector<std::string>> rows;
  auto add = [&](const std::vector<Prediction::Part>& parts) {
    for (const Prediction::Part& part : parts)
      rows.push_back({part.what, std::to_string(part.ops), ms_of(part.seconds), percent(part.seconds / c.prediction.seconds()),
                      part.bytes > 0 ? bytes_text(part.bytes) : ""});
  };
  add(c.prediction.compute);
  add(c.prediction.exchanges);
  if (const double hidden = c.prediction.hidden_s; hidden > 0)
    rows.push_back({"of exchanges beside computing", "", "-" + ms_of(hidden), "-" + percent(hidden / c.prediction.seconds()), ""});
  return table({"a rank of " + c.mesh.axes_text(), "ops", "ms", "share", "exchanged"}, rows);
}

std::string plan_text(const MeshPlan& plan, const PlanArgs& a, double seconds) {
  std::string text = "devices   " + plan.devices.name + (plan.devices.device == plan.devices.name ? "" : " (" + plan.devices.device + ")") + "\n";
  std::string symbols;
  for (const auto& [name, value] : plan.symbols) symbols += (symbols.empty() ? "" : ", ") + name + " = " + std::to_string(value);
  if (!symbols.empty()) text += "at        " + symbols + "\n";
  const MeshCandidate* best = plan.best();
  text += "mesh      " + (best ? best->mesh.axes_text() : "none") + "\n\n";
  std::vector<std::vector<std::string>> rows;
  std::map<std::string, size_t> alike;  // those that were not priced, by reason
  for (const MeshCandidate& c : plan.candidates)
    if (++alike[c.impossible] == 1 || c.impossible.empty())
      if (a.explain || &c == best) rows.push_back(row(c.mesh.axes_text(), c, verdict(plan, c)));
  for (auto& cells : rows)
    if (auto it = alike.find(cells.back()); it != alike.end() && it->second > 1) cells[0] += " and " + std::to_string(it->second - 1) + " more";
  const auto against = [&](const MeshCandidate& c) {
    if (!c.fits) return std::string("does not fit");
    char text[32] = "";
    if (best) std::snprintf(text, sizeof text, "%.2f of the time", c.prediction.seconds() / best->prediction.seconds());
    return std::string(text);
  };
  rows.push_back(row("greedy: " + plan.greedy.mesh.axes_text(), plan.greedy, against(plan.greedy)));
  rows.push_back(row("one device", plan.one, against(plan.one)));
  text += table({"mesh", "step ms", "compute", "exchange", "memory", "weights", "states", "activations", "why"}, rows, {8});
  if (a.explain && best) text += "\n" + parts_text(*best);
  char took[64];
  std::snprintf(took, sizeof took, "\nplanned in %.2f s\n", seconds);
  return text + took;
}

Json parts_json(const std::vector<Prediction::Part>& parts) {
  Json out = Json::array();
  for (const Prediction::Part& part : parts) {
    Json j;
    j["what"] = part.what;
    j["ops"] = part.ops;
    j["seconds"] = part.seconds;
    j["bytes"] = part.bytes;
    out.push_back(j);
  }
  return out;
}

Json candidate_json(const MeshCandidate& c) {
  Json j, axes = Json::object();
  for (const auto& [axis, size] : c.mesh.axes) axes[axis] = size;
  j["mesh"] = axes;
  j["possible"] = c.impossible.empty();
  if (!c.impossible.empty()) return j["why"] = c.impossible, j;
  const Prediction& p = c.prediction;
  j["fits"] = c.fits;
  j["seconds"] = p.seconds();
  j["compute_s"] = p.compute_seconds();
  j["exchange_s"] = p.exchange_seconds();
  j["hidden_s"] = p.hidden_s;
  j["waves_s"] = p.waves_s;
  j["flops"] = p.flops;
  j["memory"]["bytes"] = p.bytes();
  j["memory"]["weights"] = p.weight_bytes;
  j["memory"]["states"] = p.state_bytes;
  j["memory"]["activations"] = p.activation_bytes;
  j["compute"] = parts_json(p.compute);
  j["exchanges"] = parts_json(p.exchanges);
  return j;
}

Json plan_json(const MeshPlan& plan, const std::string& model, double seconds) {
  Json j, at = Json::object(), candidates = Json::array();
  for (const auto& [name, value] : plan.symbols) at[name] = value;
  for (const MeshCandidate& c : plan.candidates) candidates.push_back(candidate_json(c));
  j["model"] = model;
  j["device_table"] = plan.devices.name;
  j["device"] = plan.devices.device;
  j["device_bytes"] = plan.devices.memory_bytes > 0 ? Json(plan.devices.memory_bytes) : Json();
  j["at"] = at;
  j["mesh"] = plan.best() ? Json(plan.best()->mesh.axes_text()) : Json();
  j["candidates"] = candidates;
  j["greedy"] = candidate_json(plan.greedy);
  j["one_device"] = candidate_json(plan.one);
  j["planning_s"] = seconds;
  return j;
}

Status plan_model(Cli& cli, const PlanArgs& a) {
  if (a.list) return print(join(api::device_table_names(), "\n") + "\n"), Status();
  if (a.model.empty()) return usage("a model is missing: an .onnx or .wir file");
  if (cli.common.devices == 0) return plan_shardings(cli, a.model, a.write_onnx, true);
  const auto begin = std::chrono::steady_clock::now();
  TRY_ASSIGN(MeshPlan plan, make_plan(cli, a.model));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  cli.log.end_progress();
  if (cli.json()) TRY(cli.emit(plan_json(plan, a.model, seconds)));
  else print(plan_text(plan, a, seconds));
  if (!plan.best()) cli.exit_code = static_cast<int>(Code::kResources);
  if (!plan.best() || a.write_onnx.empty()) return {};
  cli.common.compile.mesh = plan.best()->mesh.axes.empty() ? "" : plan.best()->mesh.axes_text();
  return plan_shardings(cli, a.model, a.write_onnx, false);
}

}  // namespace

void add_plan(Cli& cli) {
  auto a = std::make_shared<PlanArgs>();
  Verb& v = add_verb(cli, "plan", "Predict which mesh of devices runs a model fastest, or show how one shares it out",
                     [&cli, a] { return plan_model(cli, *a); });
  v.positional("model", a->model, "an .onnx or .wir file; weights in files of their own are not read and need not be there", false);
  v.flag("--explain", a->explain, "all meshes with their predicted time and memory, why each is not the one, and what the chosen one's time goes into");
  v.text("--write-onnx", a->write_onnx,
         "write the model to this file with the mesh, or the one that was found, and its shardings as ONNX annotations");
  v.flag("--list-tables", a->list, "list the device tables that weft brings along");
  v.number("--microbatches", cli.common.microbatches, 1, 1 << 16, "the batch goes through a pipeline in so many equal parts");
  add_target_options(v, cli);
  add_compile_options(v, cli);
  v.epilog(
      "\nThe exit code is 5 where no mesh fits into the devices' memory.\n"
      "Examples:\n"
      "  weft plan model.onnx --devices 8 --device-table h100x8 --state auto --at past=4096,sequence=1 --explain\n"
      "  weft plan model.onnx --devices 16 --device-table mine.json --batch 32 --json\n"
      "  weft plan model.onnx --tp 4 --write-onnx annotated.onnx");
}

}  // namespace weft::cli
