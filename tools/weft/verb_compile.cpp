// weft compile: a model through all stages. Its texts go to stdout (--emit) or into files (-o); without either the kernels
// are compiled too, and lie in the cache for the next run.
#include <filesystem>

#include "frontend/api/compilation.h"
#include "ir/base/text.h"
#include "ir/text/module_file.h"
#include "runtime/artefact/artefact.h"
#include "tools/weft/cli.h"
#include "tools/weft/npy.h"
#include "tools/weft/planning.h"
#include "tools/weft/tuning.h"

namespace weft::cli {

namespace fs = std::filesystem;

namespace {

struct CompileArgs {
  std::string model, emit, output;
  std::vector<std::string> targets;
  bool stats = false;
  std::string weights = "embed", prepared = "fit", refit, sign;
};

std::string kernels_text(Compilation& c) {
  std::string text;
  for (size_t k = 0; k < c.stages(); ++k)
    for (const KernelSpec& s : c.lowered(k).specs) text += (text.empty() ? "" : "\n") + print_spec(s);
  return text;
}
// Between the stem of a file's name and its extension: which stage of a pipeline it is about.
std::string stage_text(const Compilation& c, size_t k) { return c.stages() == 1 ? "" : ".stage" + std::to_string(k); }

// Kernels are numbered in the order of the plan's table.
std::string kernel_file(const Lowered& lowered, size_t i) {
  std::string number = std::to_string(i);
  number.insert(0, number.size() < 3 ? 3 - number.size() : 0, '0');
  return number + "_" + lowered.plan.kernels[i].name + ".wkernel";
}

Status write_folder(Compilation& c, const std::string& folder, std::vector<std::string>& files) {
  const Module& m = c.module();
  const std::string stem = folder + "/" + (m.name.empty() || m.name.find('/') != std::string::npos ? "model" : m.name);
  auto write = [&](const std::string& file, const std::string& text) {
    files.push_back(file);
    return write_file(file, text);
  };
  for (size_t k = 0; k < c.stages(); ++k) {
    const std::string stage = stage_text(c, k), kernels = folder + "/kernels" + stage + "/";
    std::error_code ec;
    fs::create_directories(kernels, ec);
    if (ec) return resources("cannot make the folder " + kernels + ": " + ec.message());
    if (k == 0) {
      files.push_back(stem + ".wir");
      TRY(save_module(m, files.back()));
    }
    const Lowered& lowered = c.lowered(k);
    TRY(write(stem + stage + ".wplan", print_plan(lowered.plan)));
    for (size_t i = 0; i < lowered.specs.size(); ++i) TRY(write(kernels + kernel_file(lowered, i), print_spec(lowered.specs[i])));
  }
  return {};
}

// Plans of stages one after the other, or in a file each.
Status write_plans(Compilation& c, const std::string& output, std::vector<std::string>& files) {
  for (size_t k = 0; k < c.stages(); ++k) {
    const std::string text = print_plan(c.lowered(k).plan);
    if (output.empty()) {
      print((k ? "\n" : "") + text);
      continue;
    }
    fs::path file = output;
    file.replace_extension(stage_text(c, k) + file.extension().string());
    files.push_back(c.stages() == 1 ? output : file.string());
    TRY(write_file(files.back(), text));
  }
  return {};
}

// The text that is asked for, by --emit or by the output file's extension.
Status write_texts(Compilation& c, const CompileArgs& a, std::vector<std::string>& files) {
  std::string kind = a.emit;
  if (kind.empty() && a.output.ends_with(".wir")) kind = "wir";
  if (kind.empty() && a.output.ends_with(".wplan")) kind = "wplan";
  if (kind.empty() && a.output.ends_with(".wkernel")) kind = "wkernel";
  if (kind.empty()) return write_folder(c, a.output, files);
  if (kind == "wplan") return write_plans(c, a.output, files);
  if (!a.output.empty()) files.push_back(a.output);
  if (kind == "wir" && !a.output.empty()) return save_module(c.module(), a.output);
  const std::string text = kind == "wir" ? print_module(c.module()) : kernels_text(c);
  if (!a.output.empty()) return write_file(a.output, text);
  return print(text), Status();
}

std::string stats_text(const api::CompileStats& s) {
  auto bytes = [](auto n) { return human_bytes(static_cast<double>(n)); };
  std::vector<std::vector<std::string>> rows;
  for (const auto& [stage, ms] : s.stage_ms) rows.push_back({stage, ms_text(ms)});
  rows.push_back({"total", ms_text(s.total_ms)});
  std::string text = table({"stage", "ms"}, rows) + "\n";
  char ratio[32] = "";
  if (s.max_live_bytes > 0)
    std::snprintf(ratio, sizeof ratio, " (%.3f of it)", static_cast<double>(s.arena_bytes) / static_cast<double>(s.max_live_bytes));
  text += "kernels    " + std::to_string(s.kernels) + ": " + std::to_string(s.kernels_compiled) + " compiled, " + std::to_string(s.kernels_cached) +
          " from the cache, " + bytes(s.code_bytes) + " of code\n";
  text += "commands   " + std::to_string(s.commands) + "\n";
  text += "constants  " + bytes(s.constant_bytes) + "; laid out anew " + bytes(s.prepared_bytes) + ", from the cache " +
          bytes(s.prepared_cached_bytes) + "\n";
  if (s.uploaded_bytes)
    text += "upload     " + bytes(s.uploaded_bytes) + " in " + ms_text(s.upload_ms) + " ms, " +
            bytes(static_cast<double>(s.uploaded_bytes) / std::max(s.upload_ms, 1e-3) * 1e3) + "/s\n";
  text += "arena      " + bytes(s.arena_bytes) + "; most bytes alive at once " + bytes(s.max_live_bytes) + ratio + "\n";
  return text;
}

Status check_args(const CompileArgs& a) {
  const bool artefact = a.output.ends_with(".weft");
  if (artefact && (!a.emit.empty() || a.stats)) return usage("--emit and --stats are about one target's texts and costs, not about a .weft");
  const bool about_artefact = !a.refit.empty() || a.weights != "embed" || a.prepared != "fit" || !a.sign.empty();
  if (!artefact && about_artefact) return usage("--weights, --prepared, --refit and --sign are about a .weft: name it with -o");
  if (!artefact && a.targets.size() > 1) return usage("several targets go into a .weft: name it with -o");
  if (a.emit.empty() || !a.stats || !a.output.empty()) return {};
  Error e = usage("--stats and --emit would both print on stdout");
  return e.with_hint("write the text to a file with -o"), e;
}

// Into a .weft.
Status compile_artefact(Cli& cli, const CompileArgs& a) {
  const std::vector<std::string> targets = a.targets.empty() ? std::vector<std::string>{cli.common.compile.target} : a.targets;
  api::ArtefactOptions o;
  using Weights = api::ArtefactOptions::Weights;
  o.weights = a.weights == "external" ? Weights::external : a.weights == "strip" ? Weights::strip : Weights::embed;
  using Prepared = api::ArtefactOptions::Prepared;
  o.prepared = a.prepared == "all" ? Prepared::all : a.prepared == "none" ? Prepared::none : Prepared::fit;
  o.refit = a.refit;
  o.sign_key = a.sign;
  TRY_ASSIGN(const int64_t bytes, api::compile_to_file(a.model, a.output, targets, compile_options(cli), o));
  cli.log.end_progress();
  TRY_ASSIGN(const auto written, Artefact::open(a.output));
  const std::string size = human_bytes(static_cast<double>(bytes));
  std::vector<std::string> names = written->targets();
  names.erase(std::unique(names.begin(), names.end()), names.end());  // those of a pipeline's stages
  if (!cli.json()) return print("wrote " + a.output + ", " + size + ", for " + join(names, ", ") + "\n"), Status();
  Json j;
  j["model"] = a.model;
  j["file"] = a.output;
  j["bytes"] = bytes;
  j["targets"] = names;
  return cli.emit(j);
}

Status compile_model(Cli& cli, const CompileArgs& a) {
  TRY(check_args(a));
  if (!cli.common.tune.empty() && a.targets.size() > 1) return usage("--tune is about one target: the one that is here");
  if (!a.targets.empty()) cli.common.compile.target = a.targets[0];
  TRY(choose_mesh(cli, a.model));
  TRY(tune_if_asked(cli, a.model, {}));
  if (a.output.ends_with(".weft")) return compile_artefact(cli, a);
  Compilation c(compile_options(cli));
  TRY(c.load_file(a.model));
  TRY(c.apply_shapes());
  TRY(c.optimise());
  for (const std::string& note : c.stats().notes) cli.log.info(note);
  std::vector<std::string> files;
  const bool texts = !a.emit.empty() || !a.output.empty();
  if (a.emit == "wir" && !a.stats && !cli.json()) return write_texts(c, a, files);  // what cannot be lowered prints too
  TRY(c.lower());
  if (texts && !(cli.json() && a.output.empty())) TRY(write_texts(c, a, files));
  for (const std::string& f : files) cli.log.debug("wrote " + f);
  if (texts && !a.stats && !cli.json()) {
    cli.log.end_progress();
    if (!files.empty()) print("wrote " + files.front() + (files.size() > 1 ? " and " + std::to_string(files.size() - 1) + " more files\n" : "\n"));
    return {};
  }
  TRY_ASSIGN(api::Executable exe, c.build());
  cli.log.end_progress();
  if (!cli.json()) return print(stats_text(exe.stats())), Status();
  Json j;
  j["model"] = a.model;
  j["target"] = exe.target();
  j["threads"] = exe.threads();
  j["inputs"] = to_json(exe.inputs());
  j["outputs"] = to_json(exe.outputs());
  j["files"] = files;
  j["stats"] = to_json(exe.stats());
  return cli.emit(j);
}

}  // namespace

void add_compile(Cli& cli) {
  auto a = std::make_shared<CompileArgs>();
  Verb& v = add_verb(cli, "compile", "Compile a model; write its texts, show what it costs", [&cli, a] { return compile_model(cli, *a); });
  v.positional("model", a->model, "an .onnx or .wir file");
  v.choice("--emit", a->emit, {"wir", "wkernel", "wplan"},
           "print a text: the module after the passes, the kernels, the host program; no kernel is compiled then");
  v.text("-o,--output", a->output,
         "a compiled model (.weft: native code, so run only those that you trust), a folder for all three texts, or one text (.wir, .wkernel, "
         ".wplan, or what --emit says)");
  v.flag("--stats", a->stats,
         "also compile the kernels: stage times in ms, kernels, bytes of code, constants and arena; the default without -o and --emit");
  v.list("--target", a->targets,
         "cpu, cpu:x86-64-v2, -v3, -v4, cuda (the GPU), cuda:sm_90a, cuda:compute_80 (any GPU from 8.0 on) and others; for a "
         ".weft several, and cpu is cpu:x86-64-v3");
  v.choice("--weights", a->weights, {"embed", "external", "strip"},
           "of a .weft: in the file, in one beside it (.weft.weights), or nowhere: then it has to be refitted before it runs");
  v.choice("--prepared", a->prepared, {"fit", "all", "none"},
           "of a .weft: which weights are laid out for the kernels now and not at each load: those for which the file does not grow, all, or none");
  v.text("--refit", a->refit, "a .weft of the same model with other weights, whose kernels are taken: none is compiled");
  v.text("--sign", a->sign, "sign the .weft with the Ed25519 private key in this PEM file (openssl genpkey -algorithm ed25519 -out key.pem)");
  add_thread_options(v, cli);
  add_compile_options(v, cli);
  add_tune_option(v, cli);
  v.epilog(
      "\nExamples:\n"
      "  weft compile model.onnx -o model.weft\n"
      "  weft compile model.onnx --target cpu:x86-64-v3 --target cuda:sm_90a -o model.weft\n"
      "  weft compile finetuned.onnx --refit model.weft -o finetuned.weft\n"
      "  weft compile model.onnx --stats\n"
      "  weft compile model.onnx --emit wplan\n"
      "  weft compile model.onnx --target cpu:x86-64-v3 --shapes x=1..8x3x224x224 -o texts/");
}

}  // namespace weft::cli
