// partition: makes of a graph whose values have shardings the graph that every rank runs. Each op computes the part that its
// results' shardings say; where an op needs an operand in another form than the one it was computed in, a collective (or
// a slice, which costs nothing) brings it there. Ranks differ by their coordinates alone, which are symbols (rank.tp).
//
// Inputs and outputs are whole on every rank; states are cut as the value is that becomes the next one.
#include <algorithm>

#include "ir/base/check.h"
#include "ir/ops/collective.h"
#include "ir/ops/move.h"
#include "passes/pass_manager.h"
#include "passes/shard/forms.h"

namespace weft {

namespace {

class Partition {
 public:
  Partition(Module& m, const Mesh& mesh, const Graph& from, Graph& to) : m_(m), mesh_(mesh), from_(from), to_(to), b_(&to) {}

  Status run() {
    for (auto& in : from_.inputs) TRY(input(*in));
    for (auto& op : from_.ops) TRY(place(*op));
    for (size_t i = 0; i < from_.outputs.size(); ++i) {
      const Value* v = from_.outputs[i];
      const State* s = state_of(from_.output_names[i], false);
      b_.provenance = v->def ? v->def->provenance : std::vector<std::string>();
      TRY_ASSIGN(Value * out, as(v, s ? state_form(*s) : whole(mesh_, v->type.rank())));
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
    Sharding form = whole(mesh_, t.is_ranked() ? t.rank() : 0);
    if (s) {
      form = state_form(*s);
      t.shape = local_shape(t.shape, form, mesh_);
    }
    Value* v = to_.add_input(t, in.name);
    v->place = in.place;
    v->known = in.known;
    forms_[&in].push_back({form, v});
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
    if (op.kind != OpKind::constant && op.num_results() == 1 && op.result()->known && op.result()->type.dtype == DType::i64 &&
        op.result()->type.is_ranked() && op.result()->type.rank() == 1) {
      // Dims of the whole model, whatever they were computed of.
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
        TRY_ASSIGN(v, as(op.operands[i], form_of(c, c.rule.operands[i])));
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
      if (op.result(r)->type.is_ranked()) v = with_dims(v, local.results[r]);
      if (!op.result(r)->type.is_ranked()) v->type = op.result(r)->type;
      v->place = op.result(r)->place;
      put(op.result(r), forms[r], v);
    }
    return {};
  }
  void put(const Value* whole, Sharding form, Value* v) {
    if (v->name.empty()) v->name = whole->name;
    forms_[whole].push_back({std::move(form), v});
  }
  // The same value where inference says its dims in another way.
  Value* with_dims(Value* v, const Shape& dims) {
    if (v->type.shape == dims) return v;
    ReshapeAttrs a;
    a.allowzero = true;
    DimsAttrs to;
    to.values = dims;
    return b_.op(OpKind::reshape, {v, b_.op(OpKind::dims, {}, to)}, a);
  }

  // --- forms --------------------------------------------------------------------------------------------------------

  struct Formed {
    Sharding form;
    Value* value;
  };

  // Steps from the form at hand to the one that is wanted; each leaves a form that others may use, too.
  Result<Value*> as(const Value* v, const Sharding& want) {
    std::vector<Formed>& have = forms_.at(v);
    for (const Formed& f : have)
      if (f.form == want || !v->type.is_ranked()) return f.value;
    // Cutting is free: the widest form that needs nothing else, else the first one.
    Formed at = have.front();
    for (const Formed& f : have)
      if (cuts_into(f.form, want)) at = f;
    Shape dims = v->type.shape;
    while (at.form != want) {
      TRY(step(at, want, dims));
      have.push_back(at);
    }
    return at.value;
  }
  static bool is_prefix(const std::vector<std::string>& a, const std::vector<std::string>& of) {
    return a.size() <= of.size() && std::equal(a.begin(), a.end(), of.begin());
  }
  static bool cuts_into(const Sharding& from, const Sharding& to) {
    for (size_t d = 0; d < from.dims.size(); ++d)
      if (!is_prefix(from.dims[d], to.dims[d])) return false;
    return from.partial == to.partial;
  }
  static bool uses(const Sharding& s, const std::string& axis) {
    for (auto& d : s.dims)
      if (std::find(d.begin(), d.end(), axis) != d.end()) return true;
    return std::find(s.partial.begin(), s.partial.end(), axis) != s.partial.end();
  }

  Status step(Formed& at, const Sharding& want, const Shape& dims) {
    // Cut first: what follows is smaller then.
    for (size_t d = 0; d < dims.size(); ++d) {
      auto& now = at.form.dims[d];
      const auto& then = want.dims[d];
      if (!is_prefix(now, then) || now.size() == then.size() || uses(at.form, then[now.size()])) continue;
      const std::string& axis = then[now.size()];
      at.value = slice(at.value, static_cast<int>(d), axis);
      now.push_back(axis);
      return {};
    }
    if (!at.form.partial.empty()) return reduce(at, want);
    for (size_t d = 0; d < dims.size(); ++d) {
      auto& now = at.form.dims[d];
      if (now.empty() || is_prefix(now, want.dims[d])) continue;
      std::string axis = now.back();
      now.pop_back();
      // Where it is cut along instead.
      for (size_t e = 0; e < dims.size(); ++e) {
        auto& then = want.dims[e];
        if (e == d || then.size() <= at.form.dims[e].size() || !is_prefix(at.form.dims[e], then) || then[at.form.dims[e].size()] != axis) continue;
        AllToAllAttrs a;
        a.mesh = mesh_.name;
        a.axes = {axis};
        a.split_dim = static_cast<int64_t>(e);
        a.concat_dim = static_cast<int64_t>(d);
        at.value = b_.op(OpKind::all_to_all, {at.value}, a);
        at.form.dims[e].push_back(axis);
        at.value = with_dims(at.value, local_shape(dims, at.form, mesh_));
        return {};
      }
      AllGatherAttrs a;
      a.mesh = mesh_.name;
      a.axes = {axis};
      a.dim = static_cast<int64_t>(d);
      at.value = with_dims(b_.op(OpKind::all_gather, {at.value}, a), local_shape(dims, at.form, mesh_));
      return {};
    }
    return invalid("a value of form " + at.form.to_string() + " is wanted as " + want.to_string());
  }
  // All sums that are pending and not wanted so; one axis at once where a rank keeps its part.
  Status reduce(Formed& at, const Sharding& want) {
    if (!want.partial.empty()) return invalid("a value that waits for a sum cannot be wanted as another one: " + want.to_string());
    for (const std::string& axis : at.form.partial)
      for (size_t d = 0; d < at.form.dims.size(); ++d) {
        auto& now = at.form.dims[d];
      const auto& then = want.dims[d];
        if (!is_prefix(now, then) || now.size() == then.size() || then[now.size()] != axis) continue;
        ReduceScatterAttrs a;
        a.mesh = mesh_.name;
        a.axes = {axis};
        a.dim = static_cast<int64_t>(d);
        at.value = b_.op(OpKind::reduce_scatter, {at.value}, a);
        now.push_back(axis);
        std::string done = axis;
        at.form.partial.erase(std::find(at.form.partial.begin(), at.form.partial.end(), done));
        return {};
      }
    AllReduceAttrs a;
    a.mesh = mesh_.name;
    a.axes = at.form.partial;
    at.value = b_.op(OpKind::all_reduce, {at.value}, a);
    at.form.partial.clear();
    return {};
  }
  Value* slice(Value* v, int d, const std::string& axis) {
    int64_t n = mesh_.axis_size(axis);
    Dim part = floordiv(v->type.shape[d], n), at = mesh_.position({axis});
    DimsAttrs start, end;
    start.values = {at * part};
    end.values = {(at + Dim(1)) * part};
    Shape to = v->type.shape;
    to[d] = part;
    Value* cut = b_.op(OpKind::slice, {v, b_.op(OpKind::dims, {}, start), b_.op(OpKind::dims, {}, end), b_.ints({d})});
    cut->name = v->name;
    return with_dims(cut, to);
  }

  Module& m_;
  const Mesh& mesh_;
  const Graph& from_;
  Graph& to_;
  Builder b_;
  std::map<const Value*, std::vector<Formed>> forms_;
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
