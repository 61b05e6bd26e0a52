// The state of one import: scopes of names, frames of functions, what could not be imported. Sees protobuf.
#pragma once

#include <unordered_map>

#include "frontend/onnx/node.h"
#include "frontend/onnx/proto.h"

namespace weft {

struct Scope;
struct WireScan;

// An attribute and the scope that its graphs belong to (a function may be given a graph of its caller).
struct BoundAttribute {
  const pb::AttributeProto* proto = nullptr;
  Scope* home = nullptr;
};

// The main graph, or one expansion of a function: what opsets and attribute references mean there.
struct Frame {
  std::map<std::string, int> opsets;                      // domain ("" is ONNX's own): version
  std::unordered_map<std::string, BoundAttribute> attributes;
  const Frame* caller = nullptr;
  std::string function;                                   // domain:name:overload, empty for the main graph
  std::string label;                                      // provenance of a schema function's body, prefix of a model function's
  bool schema = false;                                    // body from ONNX's schema: its nodes are not the model's
  int depth = 0;
};

// What a name stands for. A poisoned name belongs to a node that could not be imported.
struct Binding {
  Value* value = nullptr;
  bool poisoned = false;
  const pb::TensorProto* initializer = nullptr;           // becomes a constant when first used
  const pb::SparseTensorProto* sparse = nullptr;
};

// Names of one graph, or of a function's body or taken branch within a graph. A nested graph sees the outer names; using one makes it a
// capture, or copies a constant.
struct Scope {
  Scope* outer = nullptr;                                 // whose names are seen
  const Frame* frame = nullptr;
  Graph* graph = nullptr;
  Scope* owner = nullptr;                                 // a body in place of a node: the scope that its graph was made for
  Scope* holder = nullptr;                                // a nested graph: the scope of the op that will hold it
  int inlined = 0;                                        // sub-graphs around this one that stand in place of their node
  std::unordered_map<std::string, Binding> names;
  struct Capture {
    Value* outer;                                         // of the holder's graph
    Value* inner;                                         // an input of graph
  };
  std::vector<Capture> captures;
  std::unordered_map<const Value*, Value*> inner;         // values of outer graphs: what stands for them here
};

// A node that could not be imported.
struct Refused {
  std::string node, reason;
};

struct ImportState {
  const ImportOptions& options;
  Module& module;
  const pb::ModelProto& model;
  TensorSource source;
  int64_t node_budget = 0;                                // expansions left
  std::unordered_map<std::string, const pb::FunctionProto*> functions;  // domain:name:overload
  std::vector<Refused> refused;
  int random_nodes = 0;                                   // seeds of random nodes that have none
};

// "" and "ai.onnx" are one domain.
inline std::string plain_domain(const std::string& d) { return d == "ai.onnx" ? "" : d; }

// --- models (import.cpp) ---
// The message that the scanned bytes hold.
Status parse_model(std::span<const std::byte> bytes, const WireScan& scan, pb::ModelProto& model);
// What such a message of so many nodes means. May throw, as protobuf does.
Result<std::unique_ptr<Module>> import_parsed(const pb::ModelProto& model, int64_t nodes, TensorSource source, const ImportOptions& options);
// Of the model's file: where its external data lies.
std::string folder_of(const std::string& path);

// --- scopes (scope.cpp) ---
// The value of a name. poisoned: set when the name's node was refused (the result is then null). Error when it is unknown.
Result<Value*> look_up(ImportState& s, Scope& scope, const std::string& name, bool* poisoned);
// What stands for a value of this or of a surrounding graph in the scope's graph.
Value* bring(Scope& scope, Value* v);
// Error when the scope defines it already.
Status define(Scope& scope, const std::string& name, Binding b);
// Those that are not defined yet as an input that may be overridden.
Status define_initializers(ImportState& s, Scope& scope, const pb::GraphProto& g);
std::set<std::string> initializer_names(const pb::GraphProto& g);

// --- graphs (graph.cpp) ---
// Nodes in their order, or in an order of definition before use if they are not in one. prefix of unnamed nodes' labels.
Status import_nodes(ImportState& s, Scope& scope, const google::protobuf::RepeatedPtrField<pb::NodeProto>& nodes);
Status import_node(ImportState& s, Scope& scope, const pb::NodeProto& node, int index);
// Names that a node reads, those that its graphs do not define themselves included.
void used_names(const pb::NodeProto& n, std::set<std::string>& out);
// What a node without a name is called.
inline std::string node_label(const pb::NodeProto& node, int index) {
  return node.name().empty() ? node.op_type() + "_" + std::to_string(index) : node.name();
}
// The values of the named outputs; poisoned as in look_up.
Result<std::vector<Value*>> graph_outputs(ImportState& s, Scope& scope, const pb::GraphProto& g, bool* poisoned);

// --- functions (functions.cpp) ---
// Whether the node's type has a body, in the model or in ONNX's schema.
bool has_function(const Node& n);
// Imports the body in place of the node. Error kUnsupported when ONNX cannot build one for these types.
Result<std::vector<Value*>> expand_function(Node& n);
// Error when two have one name.
Status define_functions(ImportState& s);
// The model's own function for a node, null if there is none.
const pb::FunctionProto* model_function(const ImportState& s, const pb::NodeProto& node);

// --- multi-device annotations (annotations.cpp; annotate.cpp writes them) ---
// metadata_props of this and a configuration's name: the mesh that its devices are, where we wrote it.
constexpr const char* kMeshKey = "weft.mesh.";
// Those of the main graph, whose nodes have been imported.
Status read_annotations(ImportState& s, const Scope& scope);

// --- inputs (inputs.cpp) ---
// The main graph's inputs but for initialisers; shape overrides applied.
Status import_inputs(ImportState& s, Scope& scope, const pb::GraphProto& g);

}  // namespace weft
