// Nodes of one graph, in order of definition, each through the first of: the model's own function of that name, a rule,
// the op of the same name, the body in ONNX's schema.
#include <queue>

#include "frontend/onnx/importer.h"

namespace weft {

// Names that a graph uses and does not define.
static void free_names(const pb::GraphProto& g, std::set<std::string>& out);
void used_names(const pb::NodeProto& n, std::set<std::string>& out) {
  for (const std::string& name : n.input())
    if (!name.empty()) out.insert(name);
  for (const auto& a : n.attribute()) {
    if (a.has_g()) free_names(a.g(), out);
    for (const auto& g : a.graphs()) free_names(g, out);
  }
}
static void free_names(const pb::GraphProto& g, std::set<std::string>& out) {
  std::set<std::string> used;
  for (const auto& n : g.node()) used_names(n, used);
  for (const auto& o : g.output()) used.insert(o.name());
  for (const auto& i : g.input()) used.erase(i.name());
  for (const auto& t : g.initializer()) used.erase(t.name());
  for (const auto& n : g.node())
    for (const std::string& o : n.output()) used.erase(o);
  out.merge(used);
}

namespace {

using Nodes = google::protobuf::RepeatedPtrField<pb::NodeProto>;

// Node numbers so that each comes after those it reads from: their own order where that will do.
Result<std::vector<int>> definition_order(const Nodes& nodes) {
  std::unordered_map<std::string, int> maker;
  for (int i = 0; i < nodes.size(); ++i)
    for (const std::string& o : nodes[i].output())
      if (!o.empty()) maker.emplace(o, i);
  std::vector<std::vector<int>> readers(nodes.size());
  std::vector<int> waits(nodes.size(), 0), order;
  bool sorted = true;
  for (int i = 0; i < nodes.size(); ++i) {
    std::set<std::string> used;
    used_names(nodes[i], used);
    for (const std::string& name : used) {
      auto it = maker.find(name);
      if (it == maker.end()) continue;
      sorted = sorted && it->second < i;
      readers[it->second].push_back(i);
      ++waits[i];
    }
  }
  if (sorted) {
    for (int i = 0; i < nodes.size(); ++i) order.push_back(i);
    return order;
  }
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
  for (int i = 0; i < nodes.size(); ++i)
    if (waits[i] == 0) ready.push(i);
  while (!ready.empty()) {
    int i = ready.top();
    ready.pop();
    order.push_back(i);
    for (int r : readers[i])
      if (--waits[r] == 0) ready.push(r);
  }
  if (static_cast<int>(order.size()) == nodes.size()) return order;
  for (int i = 0; i < nodes.size(); ++i)
    if (waits[i] > 0) return invalid("the graph has a cycle").at_node(nodes[i].name());
  UNREACHABLE();
}

std::string label_of(const Frame& frame, const pb::NodeProto& node, int index) {
  if (frame.schema) return frame.label;
  std::string own = node_label(node, index);
  return frame.label.empty() ? own : frame.label + "/" + own;
}

Result<int> opset_of(const Frame& frame, const std::string& domain) {
  for (const Frame* f = &frame; f; f = f->caller)
    if (auto it = f->opsets.find(domain); it != f->opsets.end()) return it->second;
  if (domain.empty()) return invalid("the model imports no opset of the default domain");
  return 1;
}

std::optional<OpKind> same_op(const Node& n) {
  if (!n.domain().empty()) return std::nullopt;
  std::optional<OpKind> kind = op_from_onnx(n.type());
  return kind && op_def(*kind).infer ? kind : std::nullopt;
}

Result<std::vector<Value*>> by_rule(Node& n, Rule rule, std::optional<OpKind> kind) {
  TRY_ASSIGN(std::vector<Value*> results, rule ? rule(n) : n.as(*kind));
  TRY(n.all_read());
  return results;
}

// What a rule had built before it failed. Constants stay: they may be initialisers, which names refer to.
void drop_leftovers(Graph& g, size_t before) {
  std::vector<Op*> late;
  for (auto it = g.ops.end(); g.ops.size() - late.size() > before && it != g.ops.begin();) late.push_back((--it)->get());
  for (Op* op : late) {
    bool used = op->kind == OpKind::constant;
    for (auto& r : op->results) used = used || !r->uses.empty();
    if (!used) g.erase(op);
  }
}

Result<std::vector<Value*>> import_by_type(Node& n) {
  TRY_ASSIGN(n.version, opset_of(*n.scope.frame, n.domain()));
  if (model_function(n.state, n.proto)) return expand_function(n);
  Rule rule = find_rule(n.domain(), n.type());
  std::optional<OpKind> kind = same_op(n);
  // Asked late: the first question makes ONNX register all of its schemas, which takes longer than importing most models.
  auto has_body = [&] { return has_function(n); };
  if (rule || kind) {
    size_t before = n.scope.graph->ops.size(), refused = n.state.refused.size();
    auto r = by_rule(n, rule, kind);
    if (!r.ok()) drop_leftovers(*n.scope.graph, before);
    // What our op cannot do, its body may.
    if (r.ok() || r.error().code != Code::kUnsupported || !has_body()) return r;
    Node again(n.state, n.scope, n.proto, n.label);
    again.inputs = n.inputs;
    again.version = n.version;
    auto expanded = expand_function(again);
    if (expanded.ok() && !again.poisoned) return expanded;
    n.state.refused.resize(refused);
    return r;
  }
  if (has_body()) return expand_function(n);
  return unsupported("no definition of op " + (n.domain().empty() ? "" : n.domain() + "::") + n.type() + " (opset " + std::to_string(n.version) +
                     ")");
}

// The values of the node's inputs; a poisoned one makes the node poisoned.
Status bind_inputs(Node& n) {
  for (const std::string& name : n.proto.input()) {
    Value* v = nullptr;
    if (!name.empty()) {
      TRY_ASSIGN(v, look_up(n.state, n.scope, name, &n.poisoned));
    }
    n.inputs.push_back(v);
  }
  while (!n.inputs.empty() && !n.inputs.back()) n.inputs.pop_back();
  return {};
}

// By its ONNX name; what a function's body called it gives way.
void name_value(const Node& n, Value& v, const std::string& name) {
  if (!v.def || (!v.name.empty() && !v.name.starts_with(n.label + "/"))) return;
  const std::string& prefix = n.scope.frame->label;
  v.name = prefix.empty() ? name : prefix + "/" + name;
}

Status define_outputs(Node& n, const std::vector<Value*>& results) {
  for (int i = 0; i < n.proto.output_size(); ++i) {
    const std::string& name = n.proto.output(i);
    if (name.empty()) continue;
    Binding b;
    b.poisoned = n.poisoned;
    if (!n.poisoned) {
      if (i >= static_cast<int>(results.size()) || !results[i]) return unsupported("result " + std::to_string(i) + " of " + n.type());
      b.value = results[i];
      name_value(n, *b.value, name);
    }
    TRY(define(n.scope, name, b));
  }
  return {};
}

}  // namespace

Status import_node(ImportState& s, Scope& scope, const pb::NodeProto& proto, int index) {
  Node n(s, scope, proto, label_of(*scope.frame, proto, index));
  auto located = [&](Error e) {
    e.at_node(n.label);
    return e;
  };
  if (--s.node_budget < 0)
    return located(
        resources("the model's functions and loops expand to too many nodes").with_hint("the limit grows with the number of nodes in the file"));
  if (Status st = bind_inputs(n); !st.ok()) return located(std::move(st.error()));
  std::vector<Value*> results;
  auto refuse = [&](const Error& e) {
    s.refused.push_back({n.label, e.message});
    n.poisoned = true;
  };
  bool skip = n.poisoned;
  n.poisoned = false;
  if (!skip) {
    auto r = import_by_type(n);
    if (r.ok()) results = std::move(*r);
    else if (r.error().code == Code::kUnsupported) refuse(r.error());
    else return located(std::move(r.error()));
  } else {
    n.poisoned = true;
  }
  if (Status st = define_outputs(n, results); !st.ok()) {
    if (st.error().code != Code::kUnsupported) return located(std::move(st.error()));
    refuse(st.error());
    return define_outputs(n, results);
  }
  return {};
}

Status import_nodes(ImportState& s, Scope& scope, const Nodes& nodes) {
  TRY_ASSIGN(std::vector<int> order, definition_order(nodes));
  for (int i : order) TRY(import_node(s, scope, nodes[i], i));
  return {};
}

Result<std::vector<Value*>> graph_outputs(ImportState& s, Scope& scope, const pb::GraphProto& g, bool* poisoned) {
  std::vector<Value*> out;
  for (const auto& o : g.output()) {
    TRY_ASSIGN(Value* v, look_up(s, scope, o.name(), poisoned));
    out.push_back(v);
  }
  return out;
}

}  // namespace weft
