// weft run: a model once (or several times, for states), outputs to files or as a summary.
#include <algorithm>
#include <chrono>

#include "frontend/api/reference.h"
#include "frontend/onnx/tensor_io.h"
#include "ir/base/text.h"
#include "tools/weft/npy.h"
#include "tools/weft/ranks.h"
#include "tools/weft/runner.h"
#include "tools/weft/tensors.h"
#include "tools/weft/tuning.h"

namespace weft::cli {

namespace {

struct RunArgs {
  std::string model;
  InputOptions inputs;
  std::vector<std::string> outputs;  // NAME=@file
  std::string save;
  int print = 8;
  int repeat = 1;
  bool check_numerics = false;
  std::string fallback;
};

Status save_tensor(const std::string& path, const std::string& name, const api::Tensor& t) {
  if (path.ends_with(".npz")) return write_npz(path, {{name, t}});
  if (path.ends_with(".pb")) {
    TRY_ASSIGN(weft::Tensor host, to_host_tensor(t));
    return write_value_file(path, HostValue(std::move(host)), Type::unranked(t.dtype()), name);
  }
  if (path.ends_with(".npy")) return write_npy(path, t);
  return usage("the file " + path + " for output " + name_text(name) + " is neither .npy nor .npz nor .pb");
}

Status save_outputs(const RunArgs& a, const api::NamedTensors& results) {
  for (const std::string& spec : a.outputs) {
    const api::NamedTensor* found = nullptr;
    for (const api::NamedTensor& t : results)
      if (spec.size() > t.name.size() + 1 && spec.compare(0, t.name.size() + 2, t.name + "=@") == 0) found = &t;
    if (!found) {
      std::vector<std::string> names;
      for (const api::NamedTensor& t : results) names.push_back(name_text(t.name));
      Error e = usage("--output " + spec + " is not NAME=@FILE of an output");
      return e.with_hint("outputs: " + join(names, ", ")), e;
    }
    TRY(save_tensor(spec.substr(found->name.size() + 2), found->name, found->tensor));
  }
  if (a.save.empty()) return {};
  std::vector<NpzItem> items;
  for (const api::NamedTensor& t : results) items.push_back({t.name, t.tensor});
  return write_npz(a.save, items);
}

Json output_json(const api::NamedTensor& t, int64_t limit) {
  Json j, dims = Json::array();
  for (int64_t d : t.tensor.dims()) dims.push_back(d);
  j["name"] = t.name;
  j["dtype"] = dtype_name(t.tensor.dtype());
  j["dims"] = dims;
  if (t.tensor.dtype() != DType::str) {
    Summary s = summarise(t.tensor);
    j["min"] = s.finite ? Json(s.min) : Json();
    j["max"] = s.finite ? Json(s.max) : Json();
    j["mean"] = s.finite ? Json(s.mean) : Json();
    j["nan"] = s.nan;
    j["inf"] = s.inf;
  }
  // Whole, or not at all: part of a tensor is no value.
  if (t.tensor.numel() <= limit) j["values"] = values_json(t.tensor);
  return j;
}

std::string output_text(const api::NamedTensor& t, int64_t limit) {
  std::string s = t.name + ": " + t.tensor.describe();
  if (t.tensor.dtype() != DType::str && t.tensor.numel() > limit) {
    Summary m = summarise(t.tensor);
    char buffer[160];
    std::snprintf(buffer, sizeof buffer, "  min %.6g  max %.6g  mean %.6g  std %.6g", m.min, m.max, m.mean, m.std);
    if (m.finite) s += buffer;
    if (m.nan) s += "  nan " + std::to_string(m.nan);
    if (m.inf) s += "  inf " + std::to_string(m.inf);
  }
  return s + "\n  " + values_text(t.tensor, limit) + "\n";
}

// Runs once with every kernel looked at; nodes whose kernel makes an infinity or a NaN of numbers stay f32 from then on, until
// none is found.
Status find_fallbacks(Cli& cli, const RunArgs& a) {
  constexpr int kMost = 64;
  std::vector<std::string>& kept = cli.common.compile.keep_f32;
  for (int i = 0; i < kMost; ++i) {
    TRY_ASSIGN(Runner r, make_runner(cli, a.model));
    TRY_ASSIGN(Inputs in, make_inputs(r.inputs, a.inputs, r.hints));
    std::vector<std::string> nodes;
    api::RunOptions options;
    options.cancel = &cli.cancel;
    options.check_numerics = true;
    options.microbatches = cli.common.microbatches;
    options.faulty_nodes = &nodes;
    auto out = r.run(in.tensors, options);
    if (out.ok()) return {};
    const size_t before = kept.size();
    for (const std::string& node : nodes)
      if (std::find(kept.begin(), kept.end(), node) == kept.end()) kept.push_back(node);
    // Float32 does not help, or something else is wrong.
    if (kept.size() == before) return std::move(out.error());
    cli.log.info("at float32 from now on: " + join(nodes, ", ") + " (" + out.error().message + ")");
  }
  return usage("too many kernels overflow in " + cli.common.compile.precision).with_hint("leave --precision out");
}

Status run_model(Cli& cli, const RunArgs& a) {
  if (!a.fallback.empty() && (cli.common.compile.precision.empty() || cli.common.compile.precision == "f32"))
    return usage("--fallback f32 is about --precision f16, bf16 or tf32");
  TRY(join_ranks(cli, a.model));
  if (!a.fallback.empty() && cli.in_job())
    return usage("--fallback looks at kernels of one process, and this is one of several")
        .with_hint("find the nodes with --rendezvous none, then name them with --keep-f32");
  if (!a.fallback.empty()) TRY(find_fallbacks(cli, a));
  TRY(tune_if_asked(cli, a.model, a.inputs));
  TRY_ASSIGN(Runner r, make_runner(cli, a.model));
  TRY_ASSIGN(Inputs in, make_inputs(r.inputs, a.inputs, r.hints));
  for (const std::string& note : in.notes) cli.log.info(note);
  api::RunOptions options;
  options.cancel = &cli.cancel;
  options.check_numerics = a.check_numerics;
  options.microbatches = cli.common.microbatches;
  api::NamedTensors out;
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < std::max(a.repeat, 1); ++i) {
    TRY_ASSIGN(out, r.run(in.tensors, options));
  }
  double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  if (!cli.speaks) return {};
  TRY(save_outputs(a, out));
  if (cli.json()) {
    Json j;
    j["model"] = a.model;
    j["target"] = r.target;
    j["compile_ms"] = r.stats.total_ms;
    if (!a.fallback.empty()) j["keep_f32"] = cli.common.compile.keep_f32;
    j["run_ms"] = ms / std::max(a.repeat, 1);
    j["outputs"] = Json::array();
    for (const api::NamedTensor& t : out) j["outputs"].push_back(output_json(t, 4096));
    return cli.emit(j);
  }
  for (const api::NamedTensor& t : out) print(output_text(t, a.print));
  return {};
}

}  // namespace

void add_run(Cli& cli) {
  auto a = std::make_shared<RunArgs>();
  Verb& v = add_verb(cli, "run", "Compile a model and run it once", [&cli, a] { return run_model(cli, *a); });
  v.positional("model", a->model, "an .onnx, .weft or .wir file");
  add_input_options(v, a->inputs);
  v.list("-o,--output", a->outputs, "NAME=@FILE: write an output to a .npy, .npz or .pb file");
  v.text("--save-outputs", a->save, "write all outputs to one .npz file");
  v.number("--print", a->print, 0, 1 << 30, "elements of each output to print");
  v.number("--repeat", a->repeat, 1, 1 << 30, "runs, one after the other; states carry over");
  v.choice("--fallback", a->fallback, {"f32"}, "with --precision: nodes that overflow in it stay f32; says which, for --keep-f32");
  v.flag("--check-numerics", a->check_numerics, "look at every kernel's results, and name the first one that makes a NaN or plus infinity of numbers");
  add_target_options(v, cli);
  add_signature_options(v, cli);
  add_compile_options(v, cli);
  add_rank_options(v, cli);
  add_tune_option(v, cli);
  v.epilog(
      "\nExamples:\n"
      "  weft run model.onnx --input x=@image.npy --output y=@y.npy\n"
      "  weft run model.onnx --shapes x=1x3x48x320 --seed 7\n"
      "  weft run model.onnx --input 'ids=[[101,2023,102]]' --target eval");
}

}  // namespace weft::cli
