#include "ir/text/printer.h"

#include <set>
#include <unordered_map>

#include "ir/core/op_def.h"
#include "ir/text/constant_text.h"

namespace weft {

// --- constants that ops refer to ------------------------------------------------------------------------------------

namespace {
struct CollectConstants : SomeFields {
  using SomeFields::field;
  std::set<int> ids;
  void field(const char*, ConstantRef& v) override { ids.insert(v.id); }

  void graph(Graph& g) {
    walk_nested(g, [&](Op* op) { op->attrs->visit(*this); });
  }
};
}  // namespace

std::vector<int> used_constants(const Module& m) {
  CollectConstants c;
  if (m.prepare) c.graph(*m.prepare);
  for (auto& g : m.graphs) c.graph(*g);
  std::vector<int> out;
  for (int id : c.ids)
    if (id >= 0 && id < m.constants.size()) out.push_back(id);
  return out;
}

// --- the printer ----------------------------------------------------------------------------------------------------

namespace {

// What the values of one graph are called.
class ValueNames {
 public:
  explicit ValueNames(const Graph& g) {
    for (auto& v : g.inputs) ++uses_[v->name];
    for (auto& op : g.ops)
      for (auto& r : op->results) ++uses_[r->name];
    for (auto& v : g.inputs) add(*v);
    for (auto& op : g.ops)
      for (auto& r : op->results) add(*r);
  }
  std::string ref(const Value* v) const {
    if (!v) return "_";
    auto it = refs_.find(v);
    return it == refs_.end() ? "%<not of this graph>" : it->second;  // a module that breaks its rules prints too
  }
  std::string declared(const Value* v) const {
    bool lost = !v->name.empty() && uses_.at(v->name) > 1;
    return ref(v) + (lost ? " named " + quote(v->name) : "");
  }

 private:
  void add(const Value& v) {
    bool unique = !v.name.empty() && uses_.at(v.name) == 1;
    refs_[&v] = "%" + (unique ? name_text(v.name) : std::to_string(next_++));
  }
  std::unordered_map<std::string_view, int> uses_;
  std::unordered_map<const Value*, std::string> refs_;
  int next_ = 0;
};

class ModulePrinter {
 public:
  ModulePrinter(const Module& m, const PrintOptions& o) : m_(m), o_(o), constant_names_(m.constants.names()) {}

  std::string module() {
    out_ = "weft.module 1 " + quote(m_.name) + "\n";
    symbols();
    for (const Mesh& mesh : m_.meshes) out_ += mesh.to_string() + "\n";
    if (m_.interface != Interface()) out_ += "interface " + names_text(m_.interface.inputs) + " -> " + names_text(m_.interface.outputs) + "\n";
    for (auto& [k, v] : m_.metadata) out_ += "metadata " + quote(k) + " = " + quote(v) + "\n";
    if (m_.concrete_layouts) out_ += "layouts concrete\n";
    for (int id : used_constants(m_)) constant(id);
    for (const State& s : m_.states) state(s);
    out_ += m_.given.to_string();
    if (m_.prepare) graph("prepare", *m_.prepare);
    for (auto& g : m_.graphs) graph("graph @" + name_text(g->name), *g);
    return std::move(out_);
  }
  std::string op_text(const Op& op) {
    op_line(op, ValueNames(*op.graph), 0);
    return std::move(out_);
  }

 private:
  static std::string names_text(const std::vector<std::string>& names) {
    std::string s;
    for (const std::string& n : names) s += (s.empty() ? "" : ", ") + name_text(n);
    return "(" + s + ")";
  }
  void symbols() {
    for (auto& [name, info] : m_.symbols) {
      if (info == SymbolInfo()) continue;
      out_ += "symbol " + name + " = " + std::to_string(info.lo) + "..";
      if (info.hi != INT64_MAX) out_ += std::to_string(info.hi);
      if (info.opt != 0) out_ += " @" + std::to_string(info.opt);
      out_ += "\n";
    }
  }
  void constant(int id) {
    const Constant& c = m_.constants[id];
    out_ += "const @" + name_text(c.name) + " : " + Type::tensor(c.dtype, to_shape(c.dims)).to_string() + " = " + constant_text(c, id, o_) + "\n";
  }
  void state(const State& s) {
    out_ += "state " + name_text(s.name) + " : ";
    if (s.kind == State::Kind::overwrite) out_ += "overwrite";
    else out_ += "append(axis=" + std::to_string(s.axis) + ", length=" + s.length.to_string() + ", capacity=" + s.capacity.to_string() + ")";
    out_ += " @" + name_text(s.graph) + " %" + name_text(s.input) + " -> %" + name_text(s.output);
    if (!s.share.sharding.empty()) out_ += " " + s.share.to_string();
    out_ += "\n";
  }

  std::string value_type(const Value& v) const {
    Type type = v.type;
    if (m_.concrete_layouts && type.layout.is_row_major()) type.layout = {};  // where all are concrete, this goes without saying
    std::string s = type.to_string();
    if (v.place == Place::host) s += " host";
    if (!v.sharding.empty()) s += " " + v.sharding.to_string();
    return s;
  }
  // `(a, b)`, or one item a line where that would be long.
  void list(const std::vector<std::string>& items, int indent) {
    size_t length = 2 * items.size();
    for (const std::string& s : items) length += s.size();
    if (length <= 110) {
      out_ += "(" + join(items, ", ") + ")";
      return;
    }
    std::string pad(indent + 4, ' ');
    out_ += "(\n" + pad + join(items, ",\n" + pad) + ")";
  }
  void graph_head(const Graph& g, const ValueNames& names, int indent) {
    std::vector<std::string> items;
    for (auto& v : g.inputs) items.push_back(names.declared(v.get()) + ": " + value_type(*v));
    list(items, indent);
    out_ += " -> ";
    items.clear();
    for (size_t i = 0; i < g.outputs.size(); ++i) {
      bool named = i < g.output_names.size() && !g.output_names[i].empty();
      items.push_back((named ? name_text(g.output_names[i]) + " = " : "") + names.ref(g.outputs[i]));
    }
    list(items, indent);
    out_ += " {\n";
  }
  void graph_body(const Graph& g, const ValueNames& names, int indent) {
    for (auto& op : g.ops) {
      out_.append(indent + 2, ' ');
      op_line(*op, names, indent + 2);
      out_ += "\n";
    }
    out_.append(indent, ' ');
    out_ += "}";
  }
  void graph(const std::string& head, const Graph& g) {
    ValueNames names(g);
    out_ += head;
    graph_head(g, names, 0);
    graph_body(g, names, 0);
    out_ += "\n";
  }

  void op_line(const Op& op, const ValueNames& names, int indent) {
    for (auto& r : op.results) out_ += (r->index ? ", " : "") + names.declared(r.get());
    if (!op.results.empty()) out_ += " = ";
    if (op.kind == OpKind::constant) {
      out_ += "constant " + attr_texts(*op.attrs, &constant_names_)[0].value;
    } else {
      out_ += std::string(op_name(op.kind)) + "(";
      for (size_t i = 0; i < op.operands.size(); ++i) out_ += (i ? ", " : "") + names.ref(op.operands[i]);
      out_ += ")";
      attributes(op);
    }
    for (auto& g : op.graphs) {
      ValueNames inner(*g);
      out_ += " " + (g->name == "loc" ? quote(g->name) : name_text(g->name));
      graph_head(*g, inner, indent);
      graph_body(*g, inner, indent);
    }
    for (auto& r : op.results) out_ += (r->index ? ", " : " : ") + value_type(*r);
    if (op.stage >= 0) out_ += " stage(" + std::to_string(op.stage) + ")";
    if (!op.provenance.empty()) {
      std::string s;
      for (const std::string& p : op.provenance) s += (s.empty() ? "" : ", ") + quote(p);
      out_ += " loc(" + s + ")";
    }
    contents_note(op);
  }
  void attributes(const Op& op) {
    std::vector<AttrText> mine = attr_texts(*op.attrs, &constant_names_), defaults = attr_texts(*op_def(op).attrs());
    std::string s;
    for (size_t i = 0; i < mine.size(); ++i)
      if (i >= defaults.size() || mine[i].value != defaults[i].value) s += (s.empty() ? "" : ", ") + mine[i].name + "=" + mine[i].value;
    if (!s.empty()) out_ += " {" + s + "}";
  }
  // What a small constant holds, as a comment where it is used.
  void contents_note(const Op& op) {
    if (op.kind != OpKind::constant) return;
    int id = op.attr<ConstantAttrs>().value.id;
    if (id < 0 || id >= m_.constants.size()) return;
    std::string s = constant_summary(m_.constants[id], 8);
    if (!s.empty()) out_ += "  // " + s;
  }

  const Module& m_;
  const PrintOptions& o_;
  std::vector<std::string> constant_names_;
  std::string out_;
};

}  // namespace

std::string print_module(const Module& m, const PrintOptions& options) { return ModulePrinter(m, options).module(); }
std::string print_op(const Op& op) { return ModulePrinter(*op.graph->module, {}).op_text(op); }

}  // namespace weft
