// weft opt: the module after the passes, as text that can be fed back. For looking at passes, and for replaying a crash.
#include <algorithm>
#include <cstdio>

#include "frontend/api/compilation.h"
#include "ir/base/text.h"
#include "ir/text/module_file.h"
#include "passes/pass_manager.h"
#include "tools/weft/planning.h"

namespace weft::cli {

namespace {

struct OptArgs {
  std::string model, output, passes, start_at, stop_after;
  std::vector<std::string> print_after;
  bool passes_given = false, list = false;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size() && !text.empty();) {
    size_t comma = std::min(text.find(',', at), text.size());
    if (comma > at) parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

Status list_all(Cli& cli) {
  Json rows = Json::array();
  std::vector<std::vector<std::string>> cells;
  for (const PassInfo& p : list_passes()) {
    // The least level that runs it.
    int level = 0;
    auto runs_at = [&](int l) {
      for (const Stage& s : pipeline_of(l))
        if (std::find(s.passes.begin(), s.passes.end(), p.name) != s.passes.end()) return true;
      return false;
    };
    while (level <= 3 && !runs_at(level)) ++level;
    cells.push_back({p.name, level > 3 ? "" : "-O " + std::to_string(level), p.what});
    Json j;
    j["name"] = p.name;
    j["what"] = p.what;
    j["level"] = level > 3 ? Json() : Json(level);
    rows.push_back(j);
  }
  if (!cli.json()) return print(table({"pass", "from", "what it does"}, cells, {1, 2})), Status();
  Json j;
  j["passes"] = rows;
  return cli.emit(j);
}

// Runs of one pass together, in the order of their first one.
std::vector<PassRun> by_pass(const std::vector<PassRun>& runs, std::vector<int>& changes) {
  std::vector<PassRun> sums;
  for (const PassRun& r : runs) {
    auto it = std::find_if(sums.begin(), sums.end(), [&](const PassRun& s) { return s.name == r.name; });
    if (it == sums.end()) {
      sums.push_back({r.name, false, 0, 0, 0});
      changes.push_back(0);
      it = sums.end() - 1;
    }
    it->ms += r.ms;
    it->ops_before += r.ops_before;
    it->ops_after += r.ops_after;
    changes[static_cast<size_t>(it - sums.begin())] += r.changed;
  }
  return sums;
}

std::string statistics(const std::vector<PassRun>& runs) {
  std::vector<int> changes;
  std::vector<PassRun> sums = by_pass(runs, changes);
  std::vector<std::vector<std::string>> rows;
  double ms = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    const PassRun& s = sums[i];
    ms += s.ms;
    auto count = std::count_if(runs.begin(), runs.end(), [&](const PassRun& r) { return r.name == s.name; });
    int more = s.ops_after - s.ops_before;
    rows.push_back({s.name, std::to_string(count), std::to_string(changes[i]), (more > 0 ? "+" : "") + std::to_string(more), ms_text(s.ms)});
  }
  if (rows.empty()) return "";
  return table({"pass", "runs", "changed something", "ops", "ms"}, rows) + std::to_string(runs.front().ops_before) + " ops before, " +
         std::to_string(runs.back().ops_after) + " after, " + ms_text(ms) + " ms\n";
}

Json runs_json(const std::vector<PassRun>& runs) {
  Json list = Json::array();
  for (const PassRun& r : runs) {
    Json j;
    j["pass"] = r.name;
    j["changed"] = r.changed;
    j["ms"] = r.ms;
    j["ops_before"] = r.ops_before;
    j["ops_after"] = r.ops_after;
    list.push_back(j);
  }
  return list;
}

Status run_opt(Cli& cli, const OptArgs& a) {
  if (a.list) return list_all(cli);
  if (a.model.empty()) return usage("a model is missing: an .onnx or .wir file");
  TRY(choose_mesh(cli, a.model));
  Compilation c(compile_options(cli));
  TRY(c.load_file(a.model));
  TRY(c.apply_shapes());
  PipelineOptions o = c.pipeline_options();
  if (a.passes_given) o.passes = split(a.passes);
  o.start_at = a.start_at;
  o.stop_after = a.stop_after;
  o.print_after = a.print_after;
  o.print = [&cli](const std::string& text) {
    cli.log.end_progress();
    std::fputs(text.c_str(), stderr);
  };
  std::vector<PassRun> runs;
  TRY(c.optimise(o, &runs));
  cli.log.end_progress();
  for (const std::string& note : c.stats().notes) cli.log.info(note);
  const bool to_file = !a.output.empty() && a.output != "-";
  if (to_file) TRY(save_module(c.module(), a.output));
  else if (!cli.json()) print(print_module(c.module()));
  if (!cli.common.quiet) std::fputs(statistics(runs).c_str(), stderr);
  if (!cli.json()) return {};
  Json j;
  j["model"] = a.model;
  j["output"] = to_file ? Json(a.output) : Json();
  j["runs"] = runs_json(runs);
  return cli.emit(j);
}

}  // namespace

void add_opt(Cli& cli) {
  auto a = std::make_shared<OptArgs>();
  Verb& v = add_verb(cli, "opt", "Run passes on a model and print the module", [&cli, a] { return run_opt(cli, *a); });
  v.positional("model", a->model, "an .onnx or .wir file", false);
  v.text("-o,--output", a->output, "write the module to this .wir file instead of stdout (-); large constants go to a .weights file beside it");
  v.text("--passes", a->passes, a->passes_given,
         "PASS,PASS,…: run these in place of the level's; nothing behind the = : none, the module prints unchanged");
  v.flag("--list-passes", a->list, "list all passes");
  v.list("--print-after", a->print_after, "PASS, or all: print the module on stderr after each run of it that changed something");
  v.text("--start-at", a->start_at, "PASS or PASS:K: leave out all before its K-th run");
  v.text("--stop-after", a->stop_after, "PASS or PASS:K: leave out all behind its K-th run");
  add_target_options(v, cli);
  add_compile_options(v, cli);
  v.epilog(
      "\nStatistics (runs, changes, ops, ms) go to stderr.\n"
      "Examples:\n"
      "  weft opt model.onnx --dump-ir=ir/\n"
      "  weft opt model.onnx --passes= -o model.wir\n"
      "  weft opt ir/003_fuse.wir --passes=eliminate-dead,eliminate-common");
}

}  // namespace weft::cli
