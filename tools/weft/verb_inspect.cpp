// weft inspect: what a model is made of, without compiling it.
#include <algorithm>

#include "frontend/api/compilation.h"
#include "frontend/api/runtime/executable_state.h"
#include "frontend/onnx/describe.h"
#include "ir/base/text.h"
#include "ir/core/op_def.h"
#include "ir/text/printer.h"
#include "runtime/artefact/artefact.h"
#include "tools/weft/artefact.h"
#include "tools/weft/cli.h"

namespace weft::cli {

namespace {

struct InspectArgs {
  std::string model;
  bool check = false, module = false;
};

struct Parameters {
  int64_t tensors = 0, elements = 0, bytes = 0;
};

// What an op costs; ops in bodies (of if, loop, scan) count once.
struct OpCount {
  int64_t count = 0;
  Dim flops = 0;
};

struct Census {
  std::map<std::string, OpCount> ops;
  Dim flops = 0, bytes = 0;
  Parameters parameters;
};

Census take_census(const Module& m) {
  Census c;
  for (auto& g : m.graphs)
    walk_nested(*g, [&](Op* op) {
      if (op->kind == OpKind::constant) return;
      Cost cost = op_cost(*op);
      OpCount& n = c.ops[op_name(op->kind)];
      ++n.count;
      if (op->graphs.empty()) {  // a body's ops speak for themselves
        n.flops = n.flops + cost.flops;
        c.flops = c.flops + cost.flops;
        c.bytes = c.bytes + cost.bytes;
      }
    });
  for (int id : used_constants(m)) {
    const Constant& k = m.constants[id];
    ++c.parameters.tensors;
    c.parameters.elements += k.numel();
    if (k.dtype != DType::str) c.parameters.bytes += packed_bytes(k.dtype, k.numel());
  }
  return c;
}

// "12.3 G" where everything is fixed, else the expression with its value at the dims that a plain run would use.
std::string flops_text(const Dim& flops, const SymbolValues& values) {
  std::optional<int64_t> v = flops.eval(values);
  if (flops.is_const()) return si_text(static_cast<double>(flops.value()));
  return (v ? si_text(static_cast<double>(*v)) + " at the dims below, " : "") + "in general " + shorten(flops.to_string(), 200);
}

Json value_json(const std::string& name, const Type& t) {
  Json j;
  j["name"] = name;
  j["type"] = t.to_string();
  if (t.is_tensor()) j["dtype"] = dtype_name(t.dtype);
  if (!t.is_ranked()) return j;
  Json dims = Json::array();
  for (const Dim& d : t.shape) dims.push_back(d.is_const() ? Json(d.value()) : Json(d.to_string()));
  j["dims"] = dims;
  return j;
}

Json symbol_json(const std::string& name, const SymbolInfo& info) {
  Json j;
  j["name"] = name;
  j["min"] = info.lo;
  j["max"] = info.hi == INT64_MAX ? Json() : Json(info.hi);
  j["optimum"] = info.opt ? Json(info.opt) : Json();
  return j;
}

// Symbols of the inputs: the others follow from these or from data.
SymbolTable input_symbols(const Module& m) {
  SymbolTable out;
  for (auto& in : m.main()->inputs)
    for (const Dim& d : in->type.shape)
      for (const std::string& s : d.symbols()) {
        auto it = m.symbols.find(s);
        out[s] = it == m.symbols.end() ? SymbolInfo{} : it->second;
      }
  return out;
}

std::string output_name(const Graph& g, size_t i) { return i < g.output_names.size() ? g.output_names[i] : g.outputs[i]->name; }

Json inspect_json(const std::string& path, const Module& m, const OnnxFacts* facts, const Census& c) {
  Json j, inputs = Json::array(), outputs = Json::array(), symbols = Json::array(), states = Json::array(), ops = Json::object();
  const Graph& g = *m.main();
  for (auto& in : g.inputs) inputs.push_back(value_json(in->name, in->type));
  for (size_t i = 0; i < g.outputs.size(); ++i) outputs.push_back(value_json(output_name(g, i), g.outputs[i]->type));
  for (const auto& [name, info] : input_symbols(m)) symbols.push_back(symbol_json(name, info));
  for (const State& s : m.states) states.push_back(s.name);
  for (const auto& [name, n] : c.ops) ops[name] = n.count;
  j["model"] = path;
  j["inputs"] = inputs;
  j["outputs"] = outputs;
  j["symbols"] = symbols;
  j["states"] = states;
  if (facts) {
    Json opsets = Json::object(), nodes = Json::object();
    for (const auto& [domain, version] : facts->opsets) opsets[domain] = version;
    for (const auto& [type, count] : facts->operators) nodes[type] = count;
    j["ir_version"] = facts->ir_version;
    j["producer"] = facts->producer;
    j["opsets"] = opsets;
    j["operators"] = nodes;
    j["functions"] = facts->functions;
  }
  j["ops"] = ops;
  j["parameters"]["tensors"] = c.parameters.tensors;
  j["parameters"]["elements"] = c.parameters.elements;
  j["parameters"]["bytes"] = c.parameters.bytes;
  SymbolValues values = api::typical_values(input_symbols(m));
  std::optional<int64_t> flops = c.flops.eval(values);
  j["flops"]["expression"] = c.flops.to_string();
  j["flops"]["value"] = flops ? Json(*flops) : Json();
  for (const auto& [name, v] : values) j["flops"]["at"][name] = v;
  Json metadata = Json::object();
  for (const auto& [key, value] : m.metadata) metadata[key] = value;
  j["metadata"] = metadata;
  return j;
}

std::string facts_text(const OnnxFacts& f) {
  std::vector<std::string> opsets;
  for (const auto& [domain, version] : f.opsets) opsets.push_back(domain + " " + std::to_string(version));
  std::string text = "ONNX IR version " + std::to_string(f.ir_version) + ", opsets: " + join(opsets, ", ");
  if (!f.producer.empty()) text += ", written by " + f.producer;
  text += "\n";
  if (f.functions) text += std::to_string(f.functions) + " functions of its own\n";
  return text;
}

std::string ports_text(const Module& m) {
  const Graph& g = *m.main();
  std::vector<std::vector<std::string>> rows;
  for (auto& in : g.inputs) rows.push_back({"input", name_text(in->name), in->type.to_string()});
  for (size_t i = 0; i < g.outputs.size(); ++i) rows.push_back({"output", name_text(output_name(g, i)), g.outputs[i]->type.to_string()});
  for (const State& s : m.states)
    rows.push_back({"state", name_text(s.name), s.kind == State::Kind::append ? "grows along axis " + std::to_string(s.axis) : "overwritten"});
  return table({"", "name", "type"}, rows, {1, 2});
}

std::string symbols_text(const Module& m) {
  std::vector<std::vector<std::string>> rows;
  SymbolTable symbols = input_symbols(m);
  SymbolValues values = api::typical_values(symbols);
  for (const auto& [name, info] : symbols)
    rows.push_back({name, std::to_string(info.lo), info.hi == INT64_MAX ? "any" : std::to_string(info.hi), std::to_string(values[name])});
  return rows.empty() ? "" : "\n" + table({"dim", "min", "max", "run and bench use"}, rows);
}

std::string ops_text(const Census& c, const OnnxFacts* facts, const SymbolValues& values) {
  std::string text;
  std::vector<std::vector<std::string>> rows;
  if (facts) {
    for (const auto& [type, count] : facts->operators) rows.push_back({type, std::to_string(count)});
    text += "\n" + table({"ONNX operator", "nodes"}, rows);
    rows.clear();
  }
  std::vector<std::pair<std::string, OpCount>> ops(c.ops.begin(), c.ops.end());
  auto weight = [&](const OpCount& n) { return n.flops.eval(values).value_or(0); };
  std::stable_sort(ops.begin(), ops.end(), [&](const auto& a, const auto& b) { return weight(a.second) > weight(b.second); });
  for (const auto& [name, n] : ops) {
    std::optional<int64_t> v = n.flops.eval(values);
    rows.push_back({name, std::to_string(n.count), v ? si_text(static_cast<double>(*v)) : "depends on data"});
  }
  return text + "\n" + table({"op after import", "count", "flops"}, rows);
}

Status inspect_model(Cli& cli, const InspectArgs& a) {
  if (a.module && cli.json()) return usage("--module prints a text; weft extract writes it into a file");
  if (is_artefact(a.model)) return inspect_artefact(cli, a.model, a.check, a.module);
  if (a.check || a.module) return usage("--check and --module are for a .weft: only that has hashes, and a module of its own");
  Compilation c(compile_options(cli));
  TRY(c.load_file(a.model));
  TRY(c.apply_shapes());
  cli.log.end_progress();
  const Module& m = c.module();
  std::optional<OnnxFacts> facts;
  if (c.from_onnx()) {
    TRY_ASSIGN(facts, describe_onnx_file(a.model));
  }
  Census census = take_census(m);
  if (cli.json()) return cli.emit(inspect_json(a.model, m, facts ? &*facts : nullptr, census));
  SymbolValues values = api::typical_values(input_symbols(m));
  std::string text = a.model + "\n" + (facts ? facts_text(*facts) : "");
  text += "parameters: " + std::to_string(census.parameters.elements) + " elements in " + std::to_string(census.parameters.tensors) + " constants, " +
          human_bytes(static_cast<double>(census.parameters.bytes)) + "\n";
  text += "flops: " + flops_text(census.flops, values) + "\n\n";
  text += ports_text(m) + symbols_text(m) + ops_text(census, facts ? &*facts : nullptr, values);
  if (!m.metadata.empty()) text += "\n";
  for (const auto& [key, value] : m.metadata)
    if (!facts || key.rfind("onnx.", 0) != 0) text += key + " = " + shorten(quote(value), 160) + "\n";
  print(text);
  return {};
}

}  // namespace

void add_inspect(Cli& cli) {
  auto a = std::make_shared<InspectArgs>();
  Verb& v = add_verb(cli, "inspect", "Show inputs, outputs, operators, parameters and flops of a model, or the sections of a compiled one",
                     [&cli, a] { return inspect_model(cli, *a); });
  v.positional("model", a->model, "an .onnx, .weft or .wir file");
  v.flag("--check", a->check, "of a .weft: compare all hashes");
  v.flag("--module", a->module, "of a .weft: print the text of the module after the passes, with weights by reference, and nothing else");
  add_signature_options(v, cli);
  add_model_options(v, cli);
  v.epilog(
      "\nFlops count a multiply-add as two; ops in the bodies of If, Loop and Scan count once.\n"
      "Examples:\n"
      "  weft inspect model.onnx\n"
      "  weft inspect model.onnx --shapes x=8x3x224x224 --json\n"
      "  weft inspect model.weft --check");
}

}  // namespace weft::cli
