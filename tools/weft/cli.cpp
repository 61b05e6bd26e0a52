#include "tools/weft/cli.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "ir/base/mesh.h"
#include "tools/weft/npy.h"

namespace weft::cli {

namespace {
constexpr const char* kFooter =
    "\nExit codes: 0 ok, 1 a check failed, 2 usage, 3 invalid model, 4 unsupported, 5 resources, 6 device, 7 cancelled.\n"
    "`weft VERB --help` lists a verb's options.";
}  // namespace

Cli::Cli() : args("weft: an ONNX graph compiler", std::string("weft ") + api::version(), kFooter) {}

Verb& add_verb(Cli& cli, const std::string& name, const std::string& help, std::function<Status()> work) {
  Common& c = cli.common;
  Verb& v = cli.args.verb(name, help, [&cli, name, work = std::move(work)] {
    cli.verb = name;
    cli.work = work;
  });
  v.flag_or_text("--json", c.json, "-", "print JSON instead of tables; --json=FILE writes it to a file");
  v.choice("--log-level", c.log_level, {"debug", "info", "warning", "error", "off"}, "what is logged on stderr");
  v.flag("-q,--quiet", c.quiet, "log errors only, and no progress");
  v.choice("--progress", c.progress, {"auto", "none"}, "progress on stderr");
  return v;
}

void add_thread_options(Verb& v, Cli& cli) {
  v.number("--device", cli.common.compile.device, 0, 255, "which GPU, in the driver's order");
  v.number("--gpu-memory", cli.common.compile.gpu_memory, "fraction of the GPU's memory that weights, activations and states may take together");
  v.number("--threads", cli.common.compile.threads, 0, 1024, "threads for kernels and for compiling; 0: all processors");
}

void add_target_options(Verb& v, Cli& cli) {
  v.text("--target", cli.common.compile.target,
      "cpu (this machine), cpu:x86-64-v2, -v3, -v4, cuda (the GPU), cuda:sm_90a, cuda:compute_80 (any GPU from 8.0 on) and others, eval (the "
      "reference evaluator), or auto: the GPU where there is one, else cpu; of a .weft the best that it has for this machine");
  add_thread_options(v, cli);
}

void add_signature_options(Verb& v, Cli& cli) {
  v.text("--verify-key", cli.common.verify_key, "a .weft has to be signed with the key whose public half is in this PEM file");
  v.flag("--require-signature", cli.common.require_signature, "a .weft has to be signed, with whatever key");
}

void add_model_options(Verb& v, Cli& cli) {
  api::CompileOptions& o = cli.common.compile;
  v.list("--shapes", o.shapes,
         "NAME=1x3x224x224 fixes dims; NAME=1..32x3x224x224@8 gives a range and the value to optimise for; ? leaves a dim open");
  v.text("--external-data-root", o.external_data_root, "folder in which files of external data may lie, links included");
}

void add_compile_options(Verb& v, Cli& cli) {
  api::CompileOptions& o = cli.common.compile;
  add_model_options(v, cli);
  v.list("--state", o.states, "IN=OUT: the context keeps this input, and puts the output in its place; auto: all such pairs that are found");
  v.choice("--precision", o.precision, {"f32", "tf32", "f16", "bf16"},
           "products, convolutions and attention of f32 compute in it, with sums of f32; tf32: products and convolutions round what "
           "they multiply to 10 bits of mantissa; left out, as the model says");
  v.list("--keep-f32", o.keep_f32, "an ONNX node that --precision leaves as it is");
  v.text("--mesh", o.mesh,
         "AXIS=N,…: ranks that share the model, as --mesh dp=2,tp=4: the processes of a job that `weft launch` or another launcher started, else threads");
  v.number("--tp", cli.common.tp, 1, 1024, "--mesh tp=N: ranks that share weights and the work on them");
  v.number("--pp", cli.common.pp, 1, kMaxStages, "--mesh pp=N: ranks that run the stages of a pipeline, each with its part of the layers");
  v.number("--dp", cli.common.dp, 1, 1024, "--mesh dp=N: ranks that share the batch");
  v.number("--deterministic", o.deterministic, 0, 256,
           "N: on a processor the same bits on 1, 2, … ranks, as many as divide N, for some time; 0: as is fastest");
  v.list("--shard", o.shardings,
         "PATTERN=DIM:AXIS,…: how tensors of these ONNX names are cut, as 'layers.*.q_proj.weight=1:tp'; _:tp leaves them whole; the rest is filled in");
  v.text("--shardings", o.shardings_file, "JSON file of the same, see docs/sharding.md");
  v.text("--configuration", o.configuration,
         "which of the model's ONNX multi-device configurations holds, and is the mesh where none is given; left out, the only one; none: none");
  v.choice("--parallel", cli.common.parallel, {"auto"}, "the mesh of --devices that is predicted to be fastest, see `weft plan`");
  v.number("--devices", cli.common.devices, 1, 65536, "how many devices the mesh is planned for");
  v.text("--device-table", o.device_table,
         "what the devices and links of a mesh are like: a JSON file, or a table that weft brings along, as h100x8; left out, as the target's usually are");
  v.number("--batch", cli.common.batch, 0, 1 << 30, "for planning: what dim 0 of the first input counts with; 0: as --shapes says");
  v.list("--at", cli.common.at, "for planning: SYMBOL=N,…, what symbolic dims count with, as past=4096; left out, the value to optimise for, else 16");
  v.text("--tuning", o.tuning, "file of a tuning table: configurations of kernels that --tune measured are taken in place of predicted ones");
  v.number("-O", o.opt_level, 0, 3, "optimisation level");
  v.list("--disable-pass", o.disabled_passes, "a pass to leave out; see `weft opt --list-passes`");
  v.text("--dump-ir", o.dump_ir, "write the module after each pass that changed it into this folder");
  v.text("--kernel-sources", o.kernel_sources, "write the kernels' CUDA sources into this folder; those that you change there are compiled in place of ours");
  v.text("--cache-dir", o.cache_dir, "folder of compiled kernels; default: $WEFT_CACHE_DIR, else ~/.cache/weft");
  v.flag("--no-cache", cli.common.no_cache, "compile every kernel, and keep none");
}

api::CompileOptions compile_options(Cli& cli) {
  api::CompileOptions o = cli.common.compile;
  o.use_cache = !cli.common.no_cache;
  for (auto [axis, size] : {std::pair("dp", cli.common.dp), std::pair("pp", cli.common.pp), std::pair("tp", cli.common.tp)})
    if (size > 1) o.mesh += (o.mesh.empty() ? "" : ",") + std::string(axis) + "=" + std::to_string(size);
  o.group = cli.group;
  o.cancel = &cli.cancel;
  o.log = [&cli](api::LogLevel level, const std::string& text) { cli.log.write(level, text); };
  if (!cli.common.quiet && cli.common.progress != "none") o.progress = [&cli](const api::Progress& p) { cli.log.progress(p); };
  return o;
}

Status Cli::emit(const Json& body) {
  Json out;
  out["schema"] = "weft." + verb + "/1";
  for (size_t i = 0; i < body.keys().size(); ++i) out[body.keys()[i]] = body.items()[i];
  const std::string text = out.dump() + "\n";
  log.end_progress();
  if (common.json != "-") return write_file(common.json, text);
  print(text);
  return {};
}

Json to_json(const Error& e) {
  Json j;
  j["code"] = code_name(e.code);
  j["exit_code"] = static_cast<int>(e.code);
  j["message"] = e.message;
  if (!e.node.empty()) j["node"] = e.node;
  if (!e.tensor.empty()) j["tensor"] = e.tensor;
  if (!e.hint.empty()) j["hint"] = e.hint;
  if (e.offset >= 0) j["offset"] = e.offset;
  return j;
}

Json to_json(const api::CompileStats& s) {
  Json j, stages = Json::object();
  for (const auto& [stage, ms] : s.stage_ms) stages[stage] = ms;
  j["total_ms"] = s.total_ms;
  j["stage_ms"] = stages;
  j["kernels"] = s.kernels;
  j["kernels_compiled"] = s.kernels_compiled;
  j["kernels_cached"] = s.kernels_cached;
  j["commands"] = s.commands;
  j["code_bytes"] = s.code_bytes;
  j["constant_bytes"] = s.constant_bytes;
  j["prepared_bytes"] = s.prepared_bytes;
  j["prepared_cached_bytes"] = s.prepared_cached_bytes;
  j["uploaded_bytes"] = s.uploaded_bytes;
  j["upload_ms"] = s.upload_ms;
  j["arena_bytes"] = s.arena_bytes;
  j["max_live_bytes"] = s.max_live_bytes;
  j["notes"] = s.notes;
  return j;
}

Json to_json(const std::vector<api::PortInfo>& ports) {
  Json out = Json::array();
  for (const api::PortInfo& p : ports) {
    Json j, dims = Json::array();
    for (const api::Extent& e : p.dims) {
      if (e.fixed()) dims.push_back(e.min);
      else dims.push_back(e.text);
    }
    j["name"] = p.name;
    j["dtype"] = dtype_name(p.dtype);
    j["dims"] = dims;
    out.push_back(j);
  }
  return out;
}

// --- text -------------------------------------------------------------------------------------------------------------

namespace {
// Code points, which is near enough to columns.
size_t width_of(const std::string& s) {
  size_t n = 0;
  for (char c : s) n += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return n;
}
}  // namespace

std::string table(const std::vector<std::string>& heads, const std::vector<std::vector<std::string>>& rows, const std::vector<int>& left) {
  std::vector<size_t> widths;
  for (const std::string& h : heads) widths.push_back(width_of(h));
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  std::string out;
  auto line = [&](const std::vector<std::string>& cells) {
    std::string l;
    for (size_t i = 0; i < cells.size(); ++i) {
      bool to_left = i == 0 || std::find(left.begin(), left.end(), static_cast<int>(i)) != left.end();
      std::string pad(widths[i] - width_of(cells[i]), ' ');
      l += (i ? "  " : "") + (to_left ? cells[i] + pad : pad + cells[i]);
    }
    l.resize(l.find_last_not_of(' ') + 1);
    out += l + "\n";
  };
  line(heads);
  for (const auto& row : rows) line(row);
  return out;
}

std::string ms_text(double ms) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, ms < 10 ? "%.3f" : ms < 100 ? "%.2f" : "%.1f", ms);
  return buffer;
}

std::string si_text(double v) {
  static constexpr const char* kUnits[] = {"", " k", " M", " G", " T", " P"};
  int u = 0;
  while (std::fabs(v) >= 1000 && u < 5) v /= 1000, ++u;
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, u == 0 && v == std::floor(v) ? "%.0f%s" : "%.2f%s", v, kUnits[u]);
  return buffer;
}

std::string shorten(const std::string& s, size_t width) {
  if (width_of(s) <= width) return s;
  size_t at = 0;
  for (size_t n = 0; at < s.size() && n + 1 < width; ++n)
    do ++at;
    while (at < s.size() && (static_cast<unsigned char>(s[at]) & 0xc0) == 0x80);
  return s.substr(0, at) + "…";
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace weft::cli
