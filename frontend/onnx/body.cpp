// Sub-graphs: a graph attribute becomes an isolated body, whose captures are explicit.
#include <unordered_set>

#include "frontend/onnx/importer.h"
#include "ir/ops/control.h"
#include "ir/ops/sequence.h"

namespace weft {

namespace {

// An input that is an initialiser too is a constant.
std::vector<std::string> formal_inputs(const pb::GraphProto& g) {
  std::set<std::string> constants = initializer_names(g);
  std::vector<std::string> out;
  for (const auto& i : g.input())
    if (!constants.count(i.name())) out.push_back(i.name());
  return out;
}

// What an element of a sequence is inside a body: its varying dims have one value each time.
Type inside(Type t, Module& m) {
  if (is_empty_element(t)) return Type::unranked(t.dtype);
  for (Dim& d : t.shape)
    if (is_varying(d)) d = m.fresh_symbol();
  return t;
}
int depth_of(const Scope& scope) {
  int depth = 0;
  for (const Scope* s = &scope; s;) {
    const Scope* made_for = s->owner ? s->owner : s;
    s = made_for->holder;
    ++depth;
  }
  return depth;
}

struct ImportedBody {
  std::unique_ptr<Graph> graph;
  std::vector<Scope::Capture> captures;
  std::optional<Error> misfit;  // a branch that makes no sense for the dims that the user gave; its graph is empty
};

Result<ImportedBody> import_body(Node& n, const pb::GraphProto& g, Scope& home, const std::vector<Type>& types) {
  ImportState& s = n.state;
  std::vector<std::string> inputs = formal_inputs(g);
  if (inputs.size() != types.size())
    return invalid("a body of " + n.describe() + " takes " + std::to_string(inputs.size()) + " values, is given " + std::to_string(types.size()));
  if (depth_of(n.scope) > s.options.limits.max_graph_depth)
    return resources("graphs are nested deeper than " + std::to_string(s.options.limits.max_graph_depth));
  ImportedBody body;
  body.graph = std::make_unique<Graph>();
  body.graph->name = g.name();
  body.graph->module = &s.module;
  Scope scope;
  scope.outer = &home;
  scope.frame = home.frame;
  scope.graph = body.graph.get();
  scope.holder = &n.scope;
  scope.inlined = n.scope.inlined;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Binding b;
    b.value = body.graph->add_input(types[i], inputs[i]);
    TRY(define(scope, inputs[i], b));
  }
  TRY(define_initializers(s, scope, g));
  TRY(import_nodes(s, scope, g.node()));
  TRY_ASSIGN(body.graph->outputs, graph_outputs(s, scope, g, &n.poisoned));
  body.captures = std::move(scope.captures);
  return body;
}

// Gives each body an input for every value that one of them captures, in one order behind its own inputs.
std::vector<Value*> align_captures(std::vector<ImportedBody>& bodies) {
  std::vector<Value*> all;
  std::unordered_set<const Value*> seen;
  for (const ImportedBody& b : bodies)
    for (const Scope::Capture& c : b.captures)
      if (seen.insert(c.outer).second) all.push_back(c.outer);
  for (ImportedBody& b : bodies) {
    std::unordered_map<const Value*, const Value*> inner;
    for (const Scope::Capture& c : b.captures) inner[c.outer] = c.inner;
    auto& inputs = b.graph->inputs;
    std::unordered_map<const Value*, std::unique_ptr<Value>> captured;
    for (size_t k = b.captures.size(); k > 0; --k) {
      const Value* v = inputs.back().get();
      captured[v] = std::move(inputs.back());
      inputs.pop_back();
    }
    for (Value* outer : all) {
      auto it = inner.find(outer);
      if (it == inner.end()) {
        b.graph->add_input(outer->type, outer->name)->known = outer->known;
        continue;
      }
      inputs.push_back(std::move(captured[it->second]));
      inputs.back()->index = static_cast<int>(inputs.size()) - 1;
    }
  }
  return all;
}

Result<std::vector<Value*>> import_in_place(Node& n, const pb::GraphProto& g, Scope& home) {
  if (g.input_size() > 0) return invalid("a branch of " + n.describe() + " takes inputs");
  if (n.scope.inlined >= n.state.options.limits.max_graph_depth)
    return resources("graphs are nested deeper than " + std::to_string(n.state.options.limits.max_graph_depth));
  Scope scope;
  scope.outer = &home;
  scope.frame = home.frame;
  scope.graph = n.scope.graph;
  scope.owner = n.scope.owner ? n.scope.owner : &n.scope;
  scope.inlined = n.scope.inlined + 1;
  TRY(define_initializers(n.state, scope, g));
  TRY(import_nodes(n.state, scope, g.node()));
  return graph_outputs(n.state, scope, g, &n.poisoned);
}

bool same_types(const Graph& body, const std::vector<Type>& types) {
  for (size_t i = 0; i < types.size(); ++i)
    if (!(body.inputs[i]->type == types[i])) return false;
  return true;
}

}  // namespace

const pb::GraphProto* Node::graph_attr(const char* name, Scope** home) {
  const pb::AttributeProto* a = attribute(name, home);
  if (a && a->has_g()) return &a->g();
  fail(invalid(describe() + " lacks the graph `" + name + "`"));
  return nullptr;
}
std::vector<Value*> Node::in_place(const char* name) {
  Scope* home = nullptr;
  const pb::GraphProto* g = graph_attr(name, &home);
  if (failed()) return {};
  auto results = import_in_place(*this, *g, *home);
  if (results.ok()) return std::move(*results);
  fail(std::move(results.error()));
  return {};
}
int Node::body_inputs(const char* name) {
  Scope* home = nullptr;
  const pb::GraphProto* g = graph_attr(name, &home);
  return g ? static_cast<int>(formal_inputs(*g).size()) : 0;
}
int Node::body_outputs(const char* name) {
  Scope* home = nullptr;
  const pb::GraphProto* g = graph_attr(name, &home);
  return g ? g->output_size() : 0;
}

// Models choose between branches by their dims, too: what the dims at hand rule out may be ill-typed, and is refused only
// when a run takes it. Without --shapes there are no such dims: then it is the model that is wrong.
static Status settle_misfit(Node& n, std::vector<ImportedBody>& branches) {
  for (size_t k = 0; k < branches.size(); ++k) {
    ImportedBody& b = branches[k];
    const ImportedBody& other = branches[1 - k];
    if (!b.misfit) continue;
    auto symbolic = [](const Value* v) { return !v || !v->type.is_ranked() || !is_static(v->type.shape); };
    const auto& results = other.graph->outputs;
    if (other.misfit || std::any_of(results.begin(), results.end(), symbolic)) return std::move(*b.misfit);
    const std::string why = b.misfit->message + (b.misfit->node.empty() ? "" : " (node " + b.misfit->node + ")");
    TRY(become_reject(*b.graph, *other.graph, "a branch is taken that is for other dims: " + why, n.build.provenance));
  }
  return {};
}

// Null after an error or when poisoned.
Op* Node::build_bodies(OpKind kind, std::vector<Value*> operands, const std::vector<Body>& bodies, const Attrs& attrs, int results) {
  std::vector<ImportedBody> imported;
  for (const Body& b : bodies) {
    Scope* home = nullptr;
    const pb::GraphProto* g = graph_attr(b.attribute, &home);
    if (failed()) return nullptr;
    auto body = import_body(*this, *g, *home, b.inputs);
    if (!body.ok() && kind == OpKind::if_else && !state.options.shapes.empty() && body.error().code == Code::kInvalidModel) {
      ImportedBody misfit{std::make_unique<Graph>(), {}, std::move(body.error())};
      misfit.graph->name = g->name();
      misfit.graph->module = &state.module;
      body = std::move(misfit);
    }
    if (!body.ok()) {
      fail(std::move(body.error()));
      return nullptr;
    }
    imported.push_back(std::move(*body));
  }
  if (poisoned) return nullptr;
  if (Status s = kind == OpKind::if_else ? settle_misfit(*this, imported) : Status(); !s.ok()) {
    fail(std::move(s.error()));
    return nullptr;
  }
  std::vector<Value*> captures = align_captures(imported);
  operands.insert(operands.end(), captures.begin(), captures.end());
  std::vector<std::unique_ptr<Graph>> graphs;
  for (ImportedBody& b : imported) graphs.push_back(std::move(b.graph));
  return create(kind, std::move(operands), attrs.clone(), results, std::move(graphs));
}

std::vector<Value*> Node::with_bodies(OpKind kind, const std::vector<Value*>& operands, std::vector<Body> bodies, std::unique_ptr<Attrs> attrs,
                                      int results) {
  constexpr int kTries = 5;
  if (!attrs) attrs = op_def(kind).attrs();
  for (Body& b : bodies)
    for (Type& t : b.inputs) t = inside(std::move(t), state.module);
  for (int k = 0; k < kTries && !failed(); ++k) {
    Op* op = build_bodies(kind, operands, bodies, *attrs, results);
    if (!op) return {};
    bool settled = true;
    for (size_t b = 0; b < bodies.size(); ++b) settled = settled && same_types(*op->graphs[b], bodies[b].inputs);
    if (settled) {
      std::vector<Value*> out;
      for (auto& r : op->results) out.push_back(r.get());
      return out;
    }
    for (size_t b = 0; b < bodies.size(); ++b)
      for (size_t i = 0; i < bodies[b].inputs.size(); ++i) bodies[b].inputs[i] = op->graphs[b]->inputs[i]->type;
    build.graph()->erase(op);
  }
  fail(unsupported("the types inside " + describe() + " do not settle"));
  return {};
}

}  // namespace weft
