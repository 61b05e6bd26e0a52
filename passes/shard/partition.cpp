// partition: makes of a graph whose values have shardings the graph that every rank runs. Each op computes the part that its
// results' shardings say; where an op needs an operand in another form than the one it was computed in, a collective (or
// a slice, which costs nothing) brings it there. Ranks differ by their coordinates alone, which are symbols (rank.tp).
//
// Inputs and outputs are whole on every rank; states are cut as the value is that becomes the next one.
#include <algorithm>

#include "ir/base/check.h"
#include "passes/pass_manager.h"
#include "passes/shard/resharding.h"

namespace weft {

namespace {

class Partition {
 public:
  Partition(Module& m, const Mesh& mesh, const Graph& from, Graph& to) : m_(m), mesh_(mesh), from_(from), to_(to), b_(&to), forms_(mesh, b_) {}

  Status run() {
    for (auto& in : from_.inputs) TRY(input(*in));
    for (auto& op : from_.ops) TRY(place(*op));
    for (size_t i = 0; i < from_.outputs.size(); ++i) {
      const Value* v = from_.outputs[i];
      const State* s = state_of(from_.output_names[i], false);
      b_.provenance = v->def ? v->def->provenance : std::vector<std::string>();
      TRY_ASSIGN(Value * out, forms_.as(v, s ? state_form(*s) : whole(mesh_, v->type.rank())));
      to_.outputs.push_back(out);
    }
    to_.output_names = from_.output_names;
    return {};
  }

 private:
  const State* state_of(const std::string& name, bool is_input) const {
    for (const State& s : m_.states)
      if (s.graph == from_.name && (is_input ? s.input : s.output) == name) return &s;
    return nullptr;
  }
  // That of its output, once nothing is pending.
  Sharding state_form(const State& s) const {
    for (size_t i = 0; i < from_.outputs.size(); ++i) {
      if (from_.output_names[i] != s.output) continue;
      Sharding form = from_.outputs[i]->sharding.empty() ? whole(mesh_, from_.outputs[i]->type.rank()) : from_.outputs[i]->sharding;
      form.partial.clear();
      return form;
    }
    return {};
  }

  Status input(const Value& in) {
    const State* s = state_of(in.name, true);
    Type t = in.type;
    for (const Dim& d : t.shape)
      for (const std::string& name : d.symbols()) forms_.inputs_bind(name);
    Sharding form = whole(mesh_, t.is_ranked() ? t.rank() : 0);
    if (s) {
      form = state_form(*s);
      t.shape = local_shape(t.shape, form, mesh_);
    }
    Value* v = to_.add_input(t, in.name);
    v->place = in.place;
    v->known = in.known;
    forms_.add(&in, form, v);
    return {};
  }

  // What an axis cuts of an op's factors.
  struct Cuts {
    ShardingRule rule;
    std::vector<FactorPart> parts;
    std::vector<std::vector<std::string>> axes;  // per factor
  };
  Cuts cuts_of(const Op& op) const {
    Cuts c{rule_of(op), {}, {}};
    c.parts.resize(c.rule.factors.size());
    c.axes.resize(c.rule.factors.size());
    for (auto& [axis, size] : mesh_.axes) {
      int f = factor_of_axis(c.rule, op, axis, size);
      if (f < 0) continue;
      c.axes[f].push_back(axis);
      c.parts[f].count *= size;
      c.parts[f].index = mesh_.position(c.axes[f]);
      c.rule.factors[f].size = floordiv(c.rule.factors[f].size, size);
    }
    return c;
  }
  Sharding form_of(const Cuts& c, const ShardingRule::Dims& dims) const {
    Sharding s = whole(mesh_, static_cast<int>(dims.size()));
    for (size_t d = 0; d < dims.size(); ++d)
      for (int f : dims[d]) s.dims[d].insert(s.dims[d].end(), c.axes[f].begin(), c.axes[f].end());
    return s;
  }

  Status place(const Op& op) {
    b_.provenance = op.provenance;
    if (op.kind != OpKind::constant && op.num_results() == 1 && are_dims(*op.result())) {
      // Those of the whole model, whatever they were computed of.
      DimsAttrs a;
      a.values = *op.result()->known;
      put(op.result(), whole(mesh_, 1), b_.op(OpKind::dims, {}, a));
      return {};
    }
    Cuts c = cuts_of(op);
    LocalOp local{op, {}, {}, c.parts, b_};
    for (int i = 0; i < op.num_operands(); ++i) {
      Value* v = nullptr;
      if (op.operands[i]) {
        TRY_ASSIGN(v, forms_.as(op.operands[i], form_of(c, c.rule.operands[i])));
      }
      local.operands.push_back(v);
    }
    std::vector<Sharding> forms;
    for (int r = 0; r < op.num_results(); ++r) {
      Sharding s = form_of(c, c.rule.results[r]);
      for (size_t f = 0; f < c.axes.size(); ++f)
        if (c.rule.factors[f].role == ShardingRule::Role::sum) s.partial.insert(s.partial.end(), c.axes[f].begin(), c.axes[f].end());
      const Type& t = op.result(r)->type;
      local.results.push_back(t.is_ranked() ? local_shape(t.shape, s, mesh_) : Shape());
      forms.push_back(std::move(s));
    }
    bool cut = std::any_of(c.parts.begin(), c.parts.end(), [](const FactorPart& p) { return p.count > 1; });
    const OpDef& def = op_def(op);
    auto made = cut && def.localize ? def.localize(local) : local.build();
    if (!made.ok()) return std::move(made.error());
    for (int r = 0; r < op.num_results(); ++r) {
      Value* v = (*made)[r];
      if (op.result(r)->type.is_ranked()) v = forms_.with_dims(v, local.results[r]);
      if (!op.result(r)->type.is_ranked()) v->type = op.result(r)->type;
      v->place = op.result(r)->place;
      put(op.result(r), forms[r], v);
    }
    return {};
  }
  bool are_dims(const Value& v) const {
    return v.known && v.type.dtype == DType::i64 && v.type.rank() == 1 && forms_.are_decided(*v.known);
  }
  void put(const Value* whole, Sharding form, Value* v) {
    if (v->name.empty()) v->name = whole->name;
    forms_.add(whole, std::move(form), v);
  }

  Module& m_;
  const Mesh& mesh_;
  const Graph& from_;
  Graph& to_;
  Builder b_;
  Forms forms_;
};

bool is_sharded(const Graph& g) {
  for (auto& op : g.ops)
    for (auto& r : op->results)
      if (!r->sharding.empty()) return true;
  return false;
}

}  // namespace

Result<bool> pass_partition(Module& m, PassContext&) {
  if (m.meshes.empty() || m.meshes[0].size() <= 1 || !is_sharded(*m.main())) return false;
  const Mesh& mesh = m.meshes[0];
  for (auto& [axis, size] : mesh.axes) m.symbols[rank_symbol(axis)] = {0, size - 1, 0};
  auto to = std::make_unique<Graph>();
  to->name = m.main()->name;
  to->module = &m;
  TRY(Partition(m, mesh, *m.main(), *to).run());
  m.graphs[0] = std::move(to);
  return true;
}

}  // namespace weft
