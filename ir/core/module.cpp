#include "ir/core/module.h"

#include <algorithm>

#include "ir/base/check.h"
#include "ir/base/text.h"

namespace weft {

bool Value::is_output() const {
  return graph && std::find(graph->outputs.begin(), graph->outputs.end(), this) != graph->outputs.end();
}

// From the back, where the newest uses are: an op that is built and dropped again costs nothing by the uses before it.
static void remove_use(Value* v, Op* op, int index) {
  auto it = std::find_if(v->uses.rbegin(), v->uses.rend(), [&](const Use& u) { return u.op == op && u.index == index; });
  CHECK(it != v->uses.rend());
  v->uses.erase(std::next(it).base());
}

void Op::set_operand(int i, Value* v) {
  CHECK(i >= 0 && i < num_operands());
  if (operands[i] == v) return;
  if (operands[i]) remove_use(operands[i], this, i);
  operands[i] = v;
  if (v) v->uses.push_back({this, i});
}
void Op::add_operand(Value* v) {
  operands.push_back(v);
  if (v) v->uses.push_back({this, num_operands() - 1});
}
void Op::drop_operands() {
  for (int i = num_operands() - 1; i >= 0; --i) set_operand(i, nullptr);
  operands.clear();
}
std::string Op::describe() const {
  std::string s = op_name(kind);
  if (!provenance.empty()) s += " `" + provenance.front() + "`";
  return s;
}

Graph::~Graph() {
  // Use lists point between ops: unlink all before any of them goes.
  for (auto& op : ops) {
    for (Value* v : op->operands)
      if (v) v->uses.clear();
    op->operands.clear();
  }
  // Lowering lets ops read inputs of a graph of its own, which goes before them.
  for (auto& in : inputs)
    for (const Use& u : in->uses) u.op->operands[u.index] = nullptr;
}
Value* Graph::add_input(Type type, std::string name) {
  auto v = std::make_unique<Value>();
  v->type = std::move(type);
  v->name = std::move(name);
  v->index = static_cast<int>(inputs.size());
  v->graph = this;
  inputs.push_back(std::move(v));
  return inputs.back().get();
}
Op* Graph::insert(std::unique_ptr<Op> op, Op* before) {
  CHECK(!before || before->graph == this);
  Op* p = op.get();
  p->graph = this;
  for (auto& r : p->results) r->graph = this;
  for (auto& g : p->graphs) g->parent = p;
  p->self = ops.insert(before ? before->self : ops.end(), std::move(op));
  return p;
}
void Graph::erase(Op* op) {
  for (auto& r : op->results) CHECK(r->unused());
  op->drop_operands();
  ops.erase(op->self);
}
void Graph::replace_uses(Value* from, Value* to) {
  CHECK(from != to);
  while (!from->uses.empty()) {
    Use u = from->uses.back();
    u.op->set_operand(u.index, to);
  }
  if (from->graph)
    for (Value*& o : from->graph->outputs)
      if (o == from) o = to;
}

Graph* Module::graph(const std::string& n) const {
  for (auto& g : graphs)
    if (g->name == n) return g.get();
  return nullptr;
}
Interface Module::ports() const {
  if (interface != Interface()) return interface;
  Interface out;
  for (auto& in : main()->inputs) out.inputs.push_back(in->name);
  out.outputs = main()->output_names;
  return out;
}
const Value* Module::input(const std::string& n) const {
  for (auto& g : graphs)
    for (auto& in : g->inputs)
      if (in->name == n) return in.get();
  return nullptr;
}
const Value* Module::output(const std::string& n) const {
  for (auto& g : graphs)
    for (size_t i = 0; i < g->outputs.size(); ++i)
      if (g->output_names[i] == n) return g->outputs[i];
  return nullptr;
}
Graph* Module::add_graph(std::string n) {
  auto g = std::make_unique<Graph>();
  g->name = std::move(n);
  g->module = this;
  graphs.push_back(std::move(g));
  return graphs.back().get();
}
Graph* Module::ensure_prepare() {
  if (!prepare) {
    prepare = std::make_unique<Graph>();
    prepare->name = "prepare";
    prepare->module = this;
  }
  return prepare.get();
}
Dim Module::fresh_symbol(const std::string& prefix, SymbolInfo info) {
  for (int k = static_cast<int>(symbols.size());; ++k) {
    std::string n = prefix + std::to_string(k);
    if (symbols.emplace(n, info).second) return Dim::symbol(n);
  }
}

void merge_provenance(std::vector<std::string>& to, const std::vector<std::string>& from) {
  for (const std::string& s : from)
    if (std::find(to.begin(), to.end(), s) == to.end()) to.push_back(s);
}

static std::unique_ptr<Value> copy_value(const Value& v, Graph* g, Op* def) {
  auto c = std::make_unique<Value>();
  c->type = v.type;
  c->name = v.name;
  c->def = def;
  c->index = v.index;
  c->graph = g;
  c->sharding = v.sharding;
  c->place = v.place;
  c->known = v.known;
  return c;
}

void clone_ops(const Graph& from, Graph& to, std::map<const Value*, Value*>& map, Op* before) {
  for (auto& op : from.ops) {
    auto c = std::make_unique<Op>();
    c->kind = op->kind;
    c->attrs = op->attrs->clone();
    c->provenance = op->provenance;
    c->assumed = op->assumed;
    c->stage = op->stage;
    for (auto& r : op->results) {
      c->results.push_back(copy_value(*r, &to, c.get()));
      map[r.get()] = c->results.back().get();
    }
    for (auto& g : op->graphs) c->graphs.push_back(clone_graph(*g, to.module, c.get()));
    Op* p = to.insert(std::move(c), before);
    for (Value* v : op->operands) {
      Value* image = nullptr;
      if (v) {
        auto it = map.find(v);
        CHECK(it != map.end());
        image = it->second;
      }
      p->add_operand(image);
    }
  }
}

std::unique_ptr<Graph> clone_graph(const Graph& from, Module* module, Op* parent) {
  auto g = std::make_unique<Graph>();
  g->name = from.name;
  g->module = module;
  g->parent = parent;
  g->output_names = from.output_names;
  std::map<const Value*, Value*> map;
  for (auto& in : from.inputs) {
    g->inputs.push_back(copy_value(*in, g.get(), nullptr));
    map[in.get()] = g->inputs.back().get();
  }
  clone_ops(from, *g, map);
  for (Value* o : from.outputs) g->outputs.push_back(o ? map.at(o) : nullptr);
  return g;
}

static void complete_graph_layouts(Graph& g) {
  auto complete = [](Value& v) {
    if (v.type.is_ranked() && v.type.layout.is_any()) v.type.layout = Layout::row_major(v.type.rank());
  };
  for (auto& v : g.inputs) complete(*v);
  for (auto& op : g.ops) {
    for (auto& r : op->results) complete(*r);
    if (op->kind == OpKind::fused) continue;
    for (auto& sub : op->graphs) complete_graph_layouts(*sub);
  }
}
void Module::complete_layouts() {
  if (prepare) complete_graph_layouts(*prepare);
  for (auto& g : graphs) complete_graph_layouts(*g);
}

std::unique_ptr<Module> Module::clone() const {
  auto m = std::make_unique<Module>();
  m->name = name;
  m->interface = interface;
  m->symbols = symbols;
  m->meshes = meshes;
  m->states = states;
  m->given = given;
  m->constants = constants;
  m->metadata = metadata;
  m->concrete_layouts = concrete_layouts;
  for (auto& g : graphs) m->graphs.push_back(clone_graph(*g, m.get(), nullptr));
  if (prepare) m->prepare = clone_graph(*prepare, m.get(), nullptr);
  return m;
}

}  // namespace weft
