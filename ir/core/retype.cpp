// infer_and_compare: types inferred again, against those that stood there.
#include <set>
#include <utility>

#include "ir/base/text.h"
#include "ir/core/builder.h"
#include "ir/core/verifier.h"

namespace weft {

namespace {

class Retyper {
 public:
  explicit Retyper(Module& m) : m_(m), declared_(names(m)) {}

  Status graph(Graph& g) {
    for (auto& op : g.ops) {
      where = op.get();
      TRY(infer(*op));
    }
    return {};
  }
  // Symbols that turned out to stand for others.
  void forget_bound() {
    for (auto& b : bound_) m_.symbols.erase(b.first);
  }
  const Op* where = nullptr;

 private:
  using Stated = std::vector<std::pair<Value*, Type>>;

  static std::set<std::string> names(const Module& m) {
    std::set<std::string> out;
    for (auto& s : m.symbols) out.insert(s.first);
    return out;
  }
  static void collect(Graph& g, Stated& out) {
    for (auto& v : g.inputs) out.emplace_back(v.get(), v->type);
    for (auto& op : g.ops) collect(*op, out);
  }
  static void collect(Op& op, Stated& out) {
    for (auto& sub : op.graphs) collect(*sub, out);
    for (auto& r : op.results) out.emplace_back(r.get(), r->type);
  }

  // An op's own inference gives its bodies' inputs their facts, so it comes before the bodies are looked at op by op.
  Status infer(Op& op) {
    Stated stated;
    collect(op, stated);
    TRY(infer_op(op, m_));
    for (auto& [v, t] : stated) bind(t, v->type);
    for (auto& [v, t] : stated) TRY(settle(op, *v, t));
    for (auto& sub : op.graphs) TRY(graph(*sub));
    where = &op;
    return {};
  }

  // A symbol made during this inference stands for the one that was stated in its place.
  void bind(const Type& stated, const Type& inferred) {
    if (stated.elem && inferred.elem) bind(*stated.elem, *inferred.elem);
    if (!stated.is_ranked() || !inferred.is_ranked() || stated.rank() != inferred.rank()) return;
    for (int i = 0; i < stated.rank(); ++i) {
      const Dim &s = stated.shape[i], &d = inferred.shape[i];
      if (d.is_symbol() && s.is_symbol() && !(d == s) && !declared_.count(d.symbol_name())) bound_.emplace(d.symbol_name(), s);
    }
  }
  Dim renamed(const Dim& d) const {
    if (bound_.empty() || d.is_const()) return d;
    return d.substitute([&](const std::string& s) {
      auto it = bound_.find(s);
      return it == bound_.end() ? std::nullopt : std::optional<Dim>(it->second);
    });
  }
  Type renamed(Type t) const {
    for (Dim& d : t.shape) d = renamed(d);
    if (t.elem) t.elem = std::make_shared<const Type>(renamed(*t.elem));
    return t;
  }
  // Layouts are not inferred: `reorder` states its own, which the layout rules look at.
  static bool same(const Type& a, const Type& b) {
    if (a.kind != b.kind) return false;
    if (a.elem) return a.key == b.key && same(*a.elem, *b.elem);
    return a.dtype == b.dtype && a.ranked == b.ranked && a.shape == b.shape;
  }

  Status settle(const Op& op, Value& v, const Type& stated) {
    Type t = renamed(v.type);
    if (stated.kind == Type::Kind::none) {
      v.type = std::move(t);
    } else if (same(stated, t)) {
      v.type = stated;
    } else {
      Error e = invalid("value " + (v.name.empty() ? "number " + std::to_string(v.index) : quote(v.name)) + " has type " + stated.to_string() +
                        ", inference gives " + t.to_string());
      return e.at_node((v.def ? *v.def : op).describe()).at_tensor(v.name);
    }
    if (v.known && !bound_.empty()) {
      std::vector<Dim> k;
      for (const Dim& d : *v.known) k.push_back(renamed(d));
      v.known = std::make_shared<const std::vector<Dim>>(std::move(k));
    }
    return {};
  }

  Module& m_;
  const std::set<std::string> declared_;
  std::map<std::string, Dim> bound_;
};

}  // namespace

Status infer_and_compare(Module& m, const Op** where) {
  Retyper r(m);
  Status s;
  if (m.prepare) s = r.graph(*m.prepare);
  for (auto& g : m.graphs)
    if (s.ok()) s = r.graph(*g);
  r.forget_bound();
  if (where) *where = s.ok() ? nullptr : r.where;
  return s;
}

}  // namespace weft
