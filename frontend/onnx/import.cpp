#include "frontend/onnx/import.h"

#include <google/protobuf/arena.h>
#include <google/protobuf/io/coded_stream.h>

#include "frontend/onnx/importer.h"
#include "frontend/onnx/wire.h"

namespace weft {

Status parse_model(std::span<const std::byte> bytes, const WireScan& scan, pb::ModelProto& model) {
  const void* data = scan.cut ? static_cast<const void*>(scan.structure.data()) : bytes.data();
  size_t size = scan.cut ? scan.structure.size() : bytes.size();
  if (size > INT32_MAX) return resources("the model without its large tensors exceeds 2 GiB");
  google::protobuf::io::CodedInputStream in(static_cast<const uint8_t*>(data), static_cast<int>(size));
  in.SetTotalBytesLimit(INT32_MAX);
  if (!model.ParseFromCodedStream(&in) || !in.ConsumedEntireMessage()) return invalid("the file is not an ONNX model, or it is damaged");
  if (!model.has_graph()) return invalid("the file holds no graph: it is not an ONNX model");
  return {};
}

std::string folder_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

namespace {

constexpr int kMinIr = 3, kMaxIr = 14, kMaxOpset = 28;

Status read_versions(const pb::ModelProto& model, Frame& frame) {
  if (model.ir_version() < kMinIr || model.ir_version() > kMaxIr) {
    Error e = unsupported("ONNX IR version " + std::to_string(model.ir_version()) + "; versions " + std::to_string(kMinIr) + " to " +
                          std::to_string(kMaxIr) + " are known");
    return e;
  }
  for (const auto& o : model.opset_import()) {
    std::string domain = plain_domain(o.domain());
    std::string text = "opset " + std::to_string(o.version()) + " of domain `" + (domain.empty() ? "ai.onnx" : domain) + "`";
    if (o.version() < 1 || o.version() > INT32_MAX) return invalid("there is no " + text);
    if (domain.empty() && o.version() > kMaxOpset) return unsupported(text + "; the newest known is " + std::to_string(kMaxOpset));
    if (!frame.opsets.emplace(domain, static_cast<int>(o.version())).second) return invalid(text + " is imported beside another one");
  }
  return {};
}

// metadata_props as they are; facts about the file under names that start with `onnx.`.
void read_metadata(const pb::ModelProto& model, const Frame& frame, Module& m) {
  for (const auto& p : model.metadata_props()) m.metadata[p.key()] = p.value();
  auto fact = [&](const std::string& key, const std::string& value) {
    if (!value.empty()) m.metadata["onnx." + key] = value;
  };
  fact("ir_version", std::to_string(model.ir_version()));
  fact("producer_name", model.producer_name());
  fact("producer_version", model.producer_version());
  fact("domain", model.domain());
  if (model.has_model_version()) fact("model_version", std::to_string(model.model_version()));
  fact("doc_string", model.doc_string());
  for (const auto& [domain, version] : frame.opsets) fact("opset." + (domain.empty() ? "ai.onnx" : domain), std::to_string(version));
}

// One Error for all that was refused: equal reasons once, with the nodes.
Error refusal(const std::vector<Refused>& refused) {
  std::vector<std::string> reasons;
  std::map<std::string, std::string> nodes;
  for (const Refused& r : refused) {
    auto [it, fresh] = nodes.emplace(r.reason, "");
    if (fresh) reasons.push_back(r.reason);
    it->second += (fresh ? "`" : ", `") + r.node + "`";
  }
  if (reasons.size() == 1) {
    Error e = unsupported(reasons[0]);
    if (refused.size() == 1) e.at_node(refused[0].node);
    else e.message += " (" + std::to_string(refused.size()) + " nodes: " + nodes[reasons[0]] + ")";
    return e;
  }
  Error e = unsupported("the model holds " + std::to_string(refused.size()) + " nodes that cannot be imported:");
  for (const std::string& r : reasons) e.message += "\n  " + r + ": " + nodes[r];
  return e;
}

void collect_symbols(const Type& t, std::set<std::string>& out) {
  if (t.elem) collect_symbols(*t.elem, out);
  for (const Dim& d : t.shape)
    if (!d.is_const())
      for (std::string& s : d.symbols()) out.insert(std::move(s));
}
void collect_symbols(const Graph& g, std::set<std::string>& out) {
  for (auto& v : g.inputs) collect_symbols(v->type, out);
  for (auto& op : g.ops) {
    for (auto& r : op->results) collect_symbols(r->type, out);
    for (auto& sub : op->graphs) collect_symbols(*sub, out);
  }
}
// Attempts that came to nothing leave symbols behind.
void forget_unused_symbols(Module& m) {
  std::set<std::string> used;
  collect_symbols(*m.main(), used);
  std::erase_if(m.symbols, [&](const auto& s) { return !used.count(s.first); });
}

Status set_outputs(ImportState& s, Scope& scope, const pb::GraphProto& g) {
  bool poisoned = false;
  TRY_ASSIGN(std::vector<Value*> outputs, graph_outputs(s, scope, g, &poisoned));
  if (!s.refused.empty()) return refusal(s.refused);
  if (outputs.empty()) return invalid("the graph has no outputs");
  std::set<std::string> names;
  for (const auto& o : g.output()) {
    if (!names.insert(o.name()).second) return invalid("the graph has two outputs of this name").at_tensor(o.name());
    scope.graph->output_names.push_back(o.name());
  }
  scope.graph->outputs = std::move(outputs);
  return {};
}

Status import_graph(ImportState& s, const Frame& frame) {
  const pb::GraphProto& g = s.model.graph();
  Scope scope;
  scope.frame = &frame;
  scope.graph = s.module.add_graph("main");
  TRY(import_inputs(s, scope, g));
  TRY(define_initializers(s, scope, g));
  TRY(import_nodes(s, scope, g.node()));
  TRY(set_outputs(s, scope, g));
  return read_annotations(s, scope);
}

}  // namespace

Result<std::unique_ptr<Module>> import_parsed(const pb::ModelProto& model, int64_t nodes, TensorSource source, const ImportOptions& options) {
  Frame frame;
  TRY(read_versions(model, frame));
  auto module = std::make_unique<Module>();
  module->name = model.graph().name();
  read_metadata(model, frame, *module);
  ImportState s{.options = options, .module = *module, .model = model, .source = std::move(source)};
  s.node_budget = options.limits.max_expanded_nodes ? options.limits.max_expanded_nodes : 20'000 + 64 * nodes;
  TRY(define_functions(s));
  TRY(import_graph(s, frame));
  forget_unused_symbols(*module);
  return module;
}

namespace {

Result<std::unique_ptr<Module>> import_model(TensorSource source, const ImportOptions& options) {
  TRY_ASSIGN(WireScan scan, scan_model(source.bytes, options.limits));
  google::protobuf::Arena arena;
  pb::ModelProto& model = *google::protobuf::Arena::CreateMessage<pb::ModelProto>(&arena);
  TRY(parse_model(source.bytes, scan, model));
  return import_parsed(model, scan.nodes, std::move(source), options);
}

// Protobuf and ONNX throw, as does an allocation that cannot be had.
Result<std::unique_ptr<Module>> guarded(TensorSource source, const ImportOptions& options) {
  try {
    return import_model(std::move(source), options);
  } catch (const std::bad_alloc&) {
    return resources("there is not enough memory to import the model");
  } catch (const std::exception& e) {
    return invalid(std::string("the model cannot be read: ") + e.what());
  }
}

}  // namespace

Result<std::unique_ptr<Module>> import_onnx_file(const std::string& path, const ImportOptions& options) {
  TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  ExternalData external(folder_of(path), options.external_data_root);
  return guarded({.bytes = {file->data(), file->size()}, .file = file, .external = &external, .shapes_only = options.shapes_only}, options);
}

Result<std::unique_ptr<Module>> import_onnx_bytes(std::span<const std::byte> bytes, const std::string& base_dir, const ImportOptions& options) {
  ExternalData external(base_dir, options.external_data_root);
  bool allowed = !base_dir.empty() || !options.external_data_root.empty();
  return guarded({.bytes = bytes, .external = allowed ? &external : nullptr}, options);
}

}  // namespace weft
