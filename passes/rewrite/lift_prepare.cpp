// lift-prepare: what depends on constants alone moves to the prepare graph, which runs once, when the model is loaded. Views
// and copies that only repeat elements stay behind: they cost nothing where they are read, and memory when prepared. So
// does what dequantises weights for a product that reads them as they are. A rank's coordinates are constants here: its part of
// a weight is cut when it loads it.
#include <map>
#include <unordered_set>

#include "ir/base/check.h"
#include "ir/ops/sharding.h"
#include "ir/ops/structure.h"
#include "passes/fusion/roles.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static bool only_repeats(const Op& op) {
  switch (op.kind) {
    case OpKind::expand: case OpKind::tile: case OpKind::constant_of_shape: case OpKind::range: case OpKind::eye_like:
    case OpKind::shape: case OpKind::size: case OpKind::identity: return true;
    default: return has_trait(op, kViewLike) || op.kind == OpKind::reshape || op.kind == OpKind::squeeze || op.kind == OpKind::unsqueeze ||
                    op.kind == OpKind::flatten;
  }
}

static bool may_lift(const Op& op) {
  const OpDef& def = op_def(op);
  if (op.operands.empty() || !op.graphs.empty() || has_trait(op, kNondeterministic) || has_trait(op, kHostOnly)) return false;
  if (def.family == Family::collective || def.family == Family::sequence || def.family == Family::random || stays_quantised(op)) return false;
  for (auto& r : op.results)
    if (!r->type.is_ranked() || !is_static(r->type.shape) || known_of(r.get())) return false;
  return true;
}

namespace {
class Lift {
 public:
  explicit Lift(Graph& g) : g_(g), m_(*g.module) {}

  bool run() {
    for (auto& op : g_.ops) {
      bool fixed = is_given(*op);
      if (!fixed && may_lift(*op)) {
        fixed = true;
        for (const Value* v : op->operands) fixed = fixed && (!v || fixed_.count(v->def));
      }
      if (fixed) fixed_.insert(op.get());
    }
    bool changed = false;
    walk(g_, [&](Op* op) {
      for (auto& sub : op->graphs) changed = Lift(*sub).run() || changed;
      if (stays(*op)) return;
      for (auto& r : op->results)
        if (is_root(*r)) changed = lift(*r) || changed;
    });
    return changed;
  }

 private:
  static bool is_given(const Op& op) { return op.kind == OpKind::constant || op.kind == OpKind::prepared || depends_on_rank_alone(op); }
  bool stays(const Op& op) const { return !fixed_.count(&op) || is_given(op) || only_repeats(op); }

  // Read at run time: by an output, by an op that is not fixed, or by one that stays behind.
  bool is_root(const Value& v) const {
    if (v.is_output()) return true;
    for (const Use& u : v.uses)
      if (!fixed_.count(u.op) || (only_repeats(*u.op) && repeats_at_run_time(*u.op))) return true;
    return false;
  }
  bool repeats_at_run_time(const Op& op) const {
    for (auto& r : op.results)
      if (is_root(*r)) return true;
    return false;
  }

  // The value's image in the prepare graph.
  Value* image(const Value* v) {
    if (!v) return nullptr;
    if (auto it = images_.find(v); it != images_.end()) return it->second;
    Op& from = *v->def;
    if (from.kind == OpKind::prepared) return images_[v] = const_cast<Value*>(prepared_output(m_, from.attr<PreparedAttrs>().name));
    std::vector<Value*> operands;
    for (const Value* x : from.operands) operands.push_back(image(x));
    Builder b(m_.ensure_prepare());
    b.provenance = from.provenance;
    auto op = b.create(from.kind, operands, from.attrs->clone(), from.num_results());
    CHECK(op.ok());
    for (int i = 0; i < from.num_results(); ++i) {
      (*op)->result(i)->name = from.result(i)->name;
      images_[from.result(i)] = (*op)->result(i);
    }
    return images_[v];
  }

  bool lift(Value& v) {
    Value* to = image(&v);
    if (!same_type(to->type, v.type)) return false;
    Graph& p = *m_.prepare;
    PreparedAttrs a;
    std::string base = v.name.empty() ? "prepared" : v.name;
    a.name = base;
    for (int k = 1; prepared_output(m_, a.name); ++k) a.name = base + "." + std::to_string(k);
    p.outputs.push_back(to);
    p.output_names.push_back(a.name);
    Builder b(&g_, v.def);
    b.provenance = v.def->provenance;
    Value* with = b.op(OpKind::prepared, {}, a);
    with->name = v.name;
    g_.replace_uses(&v, with);
    return true;
  }

  Graph& g_;
  Module& m_;
  std::unordered_set<const Op*> fixed_;
  std::map<const Value*, Value*> images_;
};
}  // namespace

Result<bool> pass_lift_prepare(Module& m, PassContext&) {
  bool changed = false;
  for (auto& g : m.graphs) changed = Lift(*g).run() || changed;
  return changed;
}

}  // namespace weft
