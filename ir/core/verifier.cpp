#include "ir/core/verifier.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "ir/base/text.h"
#include "ir/ops/sequence.h"

namespace weft {

namespace {

std::string value_name(const Value* v) { return v->name.empty() ? "number " + std::to_string(v->index) : quote(v->name); }

Error at(const Op& op, std::string message) {
  Error e = invalid(std::move(message));
  e.at_node(op.describe());
  return e;
}

// Whether every constant that attributes name is in the pool.
struct CheckConstants : SomeFields {
  using SomeFields::field;
  int size = 0;
  bool ok = true;
  void field(const char*, ConstantRef& v) override { ok = ok && v.id >= -1 && v.id < size; }
};

class GraphVerifier {
 public:
  GraphVerifier(const Module& m, const VerifyOptions& o) : m_(m), o_(o) {}

  // Each graph is isolated: what it sees are its own inputs and earlier results.
  Status graph(const Graph& g, const Op* parent) {
    if (g.module != &m_) return invalid("graph " + quote(g.name) + " belongs to another module");
    if (g.parent != parent) return invalid("graph " + quote(g.name) + " has another parent than the op that holds it");
    std::unordered_set<const Value*> defined;
    std::unordered_map<const Value*, size_t> used;
    for (size_t i = 0; i < g.inputs.size(); ++i) {
      const Value& v = *g.inputs[i];
      if (v.def || v.graph != &g || v.index != static_cast<int>(i))
        return invalid("input " + value_name(&v) + " of graph " + quote(g.name) + " is linked wrongly");
      TRY(value(v));
      defined.insert(&v);
    }
    for (auto& op : g.ops) {
      TRY(links(*op, g, defined, used));
      TRY(rules(*op));
      for (auto& sub : op->graphs) TRY(graph(*sub, op.get()));
      for (auto& r : op->results) {
        TRY(value(*r));
        defined.insert(r.get());
      }
      TRY(layouts(*op));
    }
    for (const Value* v : defined) TRY(uses(*v, used[v]));
    for (const Value* v : g.outputs)
      if (v && !defined.count(v)) return invalid("graph " + quote(g.name) + " returns value " + value_name(v) + ", which is not its own");
    return {};
  }

 private:
  Status links(const Op& op, const Graph& g, const std::unordered_set<const Value*>& defined, std::unordered_map<const Value*, size_t>& used) {
    if (op.graph != &g || op.self->get() != &op) return at(op, "the op is linked into another graph");
    if (!op.attrs) return at(op, "the op has no attributes");
    for (int i = 0; i < op.num_operands(); ++i) {
      const Value* v = op.operands[i];
      if (!v) continue;
      if (!defined.count(v)) return at(op, "operand " + std::to_string(i) + " is a value of another graph, or is used before it is defined");
      ++used[v];
    }
    for (int i = 0; i < op.num_results(); ++i) {
      const Value* r = op.result(i);
      if (!r || r->def != &op || r->graph != &g || r->index != i) return at(op, "result " + std::to_string(i) + " is linked wrongly");
    }
    return {};
  }

  // As many uses on record as there are, all of them true and different.
  Status uses(const Value& v, size_t count) {
    std::set<std::pair<const Op*, int>> seen;
    for (const Use& u : v.uses) {
      if (u.op->graph != v.graph || u.op->operand(u.index) != &v || !seen.emplace(u.op, u.index).second)
        return invalid("value " + value_name(&v) + " has a use on record that is none");
    }
    if (seen.size() == count) return {};
    return invalid("value " + value_name(&v) + " has " + std::to_string(seen.size()) + " uses on record and " + std::to_string(count) + " in fact");
  }

  Status rules(const Op& op) {
    const OpDef& def = op_def(op);
    int n = op.num_operands();
    if (n < def.min_operands || (def.max_operands >= 0 && n > def.max_operands)) return at(op, "the op has " + std::to_string(n) + " operands");
    for (int i = 0; i < def.min_operands; ++i)
      if (!op.operands[i]) return at(op, "operand " + std::to_string(i) + " is absent");
    if (op.results.empty() && op.kind != OpKind::send) return at(op, "the op has no results");
    if (!op.graphs.empty() && !holds_graphs(op)) return at(op, "the op holds a graph, which its kind does not");
    CheckConstants constants;
    constants.size = m_.constants.size();
    op.attrs->visit(constants);
    if (!constants.ok) return at(op, "an attribute names no entry of the constant pool");
    if (def.verify) {
      Status s = def.verify(op);
      if (!s.ok()) return s.error().at_node(op.describe());
    }
    if (o_.warnings && op.provenance.empty() && op.kind != OpKind::constant)
      o_.warnings->push_back(std::string(op_name(op.kind)) +
                             (op.results.empty() ? "" : " defining " + value_name(op.result())) + " has no provenance");
    return {};
  }
  static bool holds_graphs(const Op& op) {
    return op_def(op).family == Family::control || op_def(op).family == Family::fused || op.kind == OpKind::sequence_map;
  }

  Status value(const Value& v) {
    if (v.type.kind == Type::Kind::none) return invalid("value " + value_name(&v) + " has no type");
    TRY(symbols(v.type, v));
    if (v.sharding.empty()) return {};
    auto mesh = std::find_if(m_.meshes.begin(), m_.meshes.end(), [&](const Mesh& x) { return x.name == v.sharding.mesh; });
    if (mesh == m_.meshes.end()) return invalid("the sharding of value " + value_name(&v) + " names no mesh of the module: " + v.sharding.mesh);
    if (!v.type.is_ranked() || v.type.shape.size() != v.sharding.dims.size())
      return invalid("the sharding of value " + value_name(&v) + " has " + std::to_string(v.sharding.dims.size()) +
                     " dims, the value is " + v.type.to_string());
    std::vector<std::string> axes = v.sharding.partial;
    axes.insert(axes.end(), v.sharding.joined.begin(), v.sharding.joined.end());
    for (auto& d : v.sharding.dims) axes.insert(axes.end(), d.begin(), d.end());
    std::set<std::string> seen;
    for (const std::string& a : axes) {
      if (mesh->axis_size(a) == 0) return invalid("the sharding of value " + value_name(&v) + " names no axis of mesh " + mesh->name + ": " + a);
      if (!seen.insert(a).second) return invalid("the sharding of value " + value_name(&v) + " uses mesh axis " + a + " twice");
    }
    return {};
  }
  Status symbols(const Type& t, const Value& v) {
    if (t.elem) return symbols(*t.elem, v);
    if (is_empty_element(t)) return {};
    for (const Dim& d : t.shape)
      for (const std::string& s : d.symbols())
        if (!m_.symbols.count(s) && !is_varying(d))
          return invalid(
              "the type of value " + value_name(&v) + " has the symbol " + s + ", which the module does not declare");
    return {};
  }

  // Every kernel reads any order of dims; an elementwise op keeps a blocked or packed layout, and `reorder` gives the one
  // that it names.
  Status layouts(const Op& op) {
    auto by_strides = [](const Layout& l) { return l.is_any() || l.kind == Layout::Kind::strided; };
    bool in_region = op.graph && op.graph->parent && op.graph->parent->kind == OpKind::fused;
    for (auto& r : op.results) {
      const Type& t = r->type;
      if (!t.is_ranked()) continue;
      if (m_.concrete_layouts && t.layout.is_any() && !in_region) return at(op, "value " + value_name(r.get()) + " has no concrete layout");
      if (op_def(op).family != Family::pointwise) continue;
      for (const Value* v : op.operands) {
        if (!v || !v->type.is_ranked() || v->type.shape != t.shape || v->type.layout == t.layout) continue;
        if (by_strides(v->type.layout) && by_strides(t.layout)) continue;
        return at(op, "operand " + value_name(v) + " has layout " + v->type.layout.to_string() + ", result " +
                          value_name(r.get()) + " has " + t.layout.to_string() + ": only reorder changes a layout");
      }
    }
    return {};
  }

  const Module& m_;
  const VerifyOptions& o_;
};

Status verify_symbols_and_meshes(const Module& m) {
  for (auto& [name, info] : m.symbols)
    if (info.lo > info.hi) return invalid("symbol " + name + " has an empty range");
  std::set<std::string> names;
  for (const Mesh& mesh : m.meshes) {
    if (mesh.name.empty() || !names.insert(mesh.name).second) return invalid("mesh " + quote(mesh.name) + " is declared twice, or has no name");
    TRY(mesh.check());
  }
  return {};
}

// What callers see of a top-level graph: names, each there once.
Status verify_interface(const Graph& g) {
  if (g.outputs.size() != g.output_names.size())
    return invalid("graph " + quote(g.name) + " has " + std::to_string(g.outputs.size()) + " outputs and " +
                   std::to_string(g.output_names.size()) + " output names");
  std::set<std::string> in, out;
  for (auto& v : g.inputs)
    if (v->name.empty() || !in.insert(v->name).second) return invalid("graph " + quote(g.name) + " has two inputs, or none, named " + quote(v->name));
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    if (!g.outputs[i]) return invalid("output " + quote(g.output_names[i]) + " of graph " + quote(g.name) + " has no value");
    if (g.output_names[i].empty() || !out.insert(g.output_names[i]).second)
      return invalid("graph " + quote(g.name) + " has two outputs, or none, named " + quote(g.output_names[i]));
  }
  return {};
}

// Of stages: every input is a stage's, every output one stage's.
Status verify_stages(const Module& m) {
  if (m.interface == Interface()) return {};
  for (const std::string& name : m.interface.inputs)
    if (!m.input(name)) return invalid("no graph has the input " + quote(name) + " of the interface");
  size_t outputs = 0;
  for (auto& g : m.graphs) outputs += g->outputs.size();
  if (outputs != m.interface.outputs.size())
    return invalid("the interface has " + std::to_string(m.interface.outputs.size()) + " outputs, the graphs " + std::to_string(outputs));
  std::set<std::string> names(m.interface.outputs.begin(), m.interface.outputs.end());
  for (auto& g : m.graphs)
    for (const std::string& name : g->output_names)
      if (!names.erase(name)) return invalid("output " + quote(name) + " of graph " + quote(g->name) + " is not of the interface, or another graph's, too");
  return {};
}

Status verify_state(const Module& m, const State& s) {
  auto wrong = [&](const std::string& what) { return invalid("state " + quote(s.name) + ": " + what); };
  const Graph* g = m.graph(s.graph);
  if (!g) return wrong("the module has no graph " + quote(s.graph));
  auto in = std::find_if(g->inputs.begin(), g->inputs.end(), [&](auto& v) { return v->name == s.input; });
  auto out = std::find(g->output_names.begin(), g->output_names.end(), s.output);
  if (in == g->inputs.end()) return wrong("the graph has no input " + quote(s.input));
  if (out == g->output_names.end()) return wrong("the graph has no output " + quote(s.output));
  const Type &from = (*in)->type, &to = g->outputs[out - g->output_names.begin()]->type;
  if (!from.is_ranked() || !to.is_ranked() || from.dtype != to.dtype || from.rank() != to.rank())
    return wrong("the input is " + from.to_string() + ", the output " + to.to_string());
  if (s.kind == State::Kind::append && (s.axis < 0 || s.axis >= from.rank()))
    return wrong("axis " + std::to_string(s.axis) + " is not one of " + from.to_string());
  if (Status share = s.share.check(m.meshes.empty() ? Mesh() : m.meshes[0], from.rank()); !share.ok()) return wrong(share.error().message);
  std::vector<Dim> dims = s.share.whole;
  dims.insert(dims.end(), {s.length, s.capacity});
  for (const Dim& d : dims)
    for (const std::string& x : d.symbols())
      if (!m.symbols.count(x)) return wrong("the module does not declare the symbol " + x);
  return {};
}

Status verify_structure(const Module& m, const VerifyOptions& options) {
  TRY(verify_symbols_and_meshes(m));
  GraphVerifier v(m, options);
  std::set<std::string> names;
  if (m.prepare) {
    TRY(v.graph(*m.prepare, nullptr));
    TRY(verify_interface(*m.prepare));
  }
  for (auto& g : m.graphs) {
    if (g->name.empty() || !names.insert(g->name).second) return invalid("graph " + quote(g->name) + " is there twice, or has no name");
    TRY(v.graph(*g, nullptr));
    TRY(verify_interface(*g));
  }
  TRY(verify_stages(m));
  for (const State& s : m.states) TRY(verify_state(m, s));
  return {};
}

}  // namespace

Status verify_module(const Module& m, const VerifyOptions& options) {
  TRY(verify_structure(m, options));
  if (options.types) TRY(infer_and_compare(*m.clone()));
  return {};
}

}  // namespace weft
