// Module, Graph, Op, Value: the SSA form. A Module holds named Graphs (one entry per pipeline stage), a `prepare` Graph,
// symbols, meshes, states and constants. Addresses of Values, Ops and Graphs are stable for their lifetime.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ir/base/facts.h"
#include "ir/base/mesh.h"
#include "ir/core/attrs.h"
#include "ir/core/constant.h"
#include "ir/core/given.h"
#include "ir/core/op_kind.h"
#include "ir/core/type.h"

namespace weft {

struct Op;
struct Graph;
struct Module;

enum class Place : uint8_t { device, host };

struct Use {
  Op* op;
  int index;  // operand number
};

struct Value {
  Type type;
  std::string name;          // the ONNX name where there is one; need not be unique
  Op* def = nullptr;         // null: a graph input
  int index = 0;             // result or input number
  Graph* graph = nullptr;
  Sharding sharding;
  Place place = Place::device;
  std::vector<Use> uses;     // operands only; graph outputs are looked up in graph->outputs
  // Contents of a small integer (or bool) tensor as symbolic integers, row-major, where inference knows them.
  // Derived by infer, never printed.
  std::shared_ptr<const std::vector<Dim>> known;

  bool is_input() const { return def == nullptr; }
  bool is_output() const;    // of its graph
  bool unused() const { return uses.empty() && !is_output(); }
};

struct Op {
  OpKind kind;
  std::vector<Value*> operands;                 // null: an absent optional operand, printed `_`
  std::vector<std::unique_ptr<Value>> results;
  std::unique_ptr<Attrs> attrs;                 // never null once built
  std::vector<std::unique_ptr<Graph>> graphs;   // isolated: captures are explicit trailing operands
  std::vector<std::string> provenance;          // the ONNX nodes it came from, in order, without duplicates
  std::vector<Assumption> assumed;              // about the operands' dims. Derived by infer, never printed.
  int stage = -1;                               // of the pipeline, in a module that is to be shared out; -1: every one that needs it
  Graph* graph = nullptr;
  std::list<std::unique_ptr<Op>>::iterator self;

  Value* result(int i = 0) const { return results[i].get(); }
  Value* operand(int i) const { return i < static_cast<int>(operands.size()) ? operands[i] : nullptr; }
  int num_operands() const { return static_cast<int>(operands.size()); }
  int num_results() const { return static_cast<int>(results.size()); }
  void set_operand(int i, Value* v);            // keeps use lists
  void add_operand(Value* v);
  void drop_operands();
  template <class T>
  T& attr() { return static_cast<T&>(*attrs); }
  template <class T>
  const T& attr() const { return static_cast<const T&>(*attrs); }
  // "conv `Conv_12`" for messages.
  std::string describe() const;
};

struct Graph {
  std::string name;
  Module* module = nullptr;
  Op* parent = nullptr;                         // the op that holds it, null for a top-level graph
  std::vector<std::unique_ptr<Value>> inputs;
  std::vector<Value*> outputs;
  std::vector<std::string> output_names;        // interface names of a top-level graph, parallel to outputs
  std::list<std::unique_ptr<Op>> ops;           // in topological order

  ~Graph();
  Value* add_input(Type type, std::string name);
  // Appends (before == null) or inserts an op; types are not inferred here (use Builder).
  Op* insert(std::unique_ptr<Op> op, Op* before = nullptr);
  // Unlinks and destroys an op whose results have no uses.
  void erase(Op* op);
  // Every use of `from` (operands and graph outputs) becomes `to`.
  void replace_uses(Value* from, Value* to);
};

struct State {
  enum class Kind : uint8_t { overwrite, append };
  std::string name, input, output;              // state name; graph input and output names of graph `graph`
  std::string graph = "main";
  Kind kind = Kind::overwrite;
  int axis = 0;                                 // append: along this axis ...
  Dim length, capacity;                         // ... at `length`, in a buffer of `capacity`
  RankShare share;                              // behind `partition`: a rank's part
  bool operator==(const State&) const = default;
};

// What callers see: names, in the model's order.
struct Interface {
  std::vector<std::string> inputs, outputs;
  bool operator==(const Interface&) const = default;
};

struct Module {
  std::string name;
  std::vector<std::unique_ptr<Graph>> graphs;   // entries; the first is the main one
  Interface interface;                          // where the graphs are the stages of a pipeline: of all together; else empty
  std::unique_ptr<Graph> prepare;               // null until something is prepared; its outputs are named
  SymbolTable symbols;
  std::vector<Mesh> meshes;
  std::vector<State> states;
  Given given;                                  // until the pass `shard` has done it
  ConstantPool constants;
  std::map<std::string, std::string> metadata;  // ONNX metadata_props and producer facts
  bool concrete_layouts = false;                // since the layout pass: every tensor in memory has a concrete layout

  Graph* main() const { return graphs.empty() ? nullptr : graphs.front().get(); }
  Graph* graph(const std::string& name) const;
  // That of the stages, else of the main graph.
  Interface ports() const;
  // The input or output of that name of the first graph that has one; null: none.
  const Value* input(const std::string& name) const;
  const Value* output(const std::string& name) const;
  Graph* add_graph(std::string name);
  Graph* ensure_prepare();
  // Values that lie in memory and have no layout yet become row-major; inside fused regions nothing lies in memory.
  void complete_layouts();
  // A new symbol `prefix<k>` that no other symbol equals.
  Dim fresh_symbol(const std::string& prefix = "u", SymbolInfo info = {});
  std::unique_ptr<Module> clone() const;
};

// Calls f on every op of the graph and of nested graphs, outer before inner, in order.
template <class F>
void walk(Graph& g, F&& f) {
  for (auto it = g.ops.begin(); it != g.ops.end();) {
    Op* op = (it++)->get();  // f may erase op
    f(op);
  }
}
template <class F>
void walk_nested(Graph& g, F&& f) {
  for (auto& op : g.ops) {
    f(op.get());
    for (auto& sub : op->graphs) walk_nested(*sub, f);
  }
}
// Copies the ops, inputs and outputs of `from` to the end of `to` with `map` giving the images of from's inputs and
// receiving those of all other values. Nested graphs are copied too. Does not touch to's outputs.
void clone_ops(const Graph& from, Graph& to, std::map<const Value*, Value*>& map, Op* before = nullptr);
std::unique_ptr<Graph> clone_graph(const Graph& from, Module* module, Op* parent);

// Appends the names of `from` that `to` lacks.
void merge_provenance(std::vector<std::string>& to, const std::vector<std::string>& from);

}  // namespace weft
