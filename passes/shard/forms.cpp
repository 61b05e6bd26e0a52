#include "passes/shard/forms.h"

#include <algorithm>

namespace weft {

bool inputs_decide(const Graph& g, const Shape& dims) {
  for (const Dim& d : dims)
    for (const std::string& s : d.symbols())
      if (std::none_of(g.inputs.begin(), g.inputs.end(), [&](auto& in) {
            return std::any_of(in->type.shape.begin(), in->type.shape.end(), [&](const Dim& x) { return x.contains(s); });
          }))
        return false;
  return true;
}

Dim batch_of(const Graph& g) {
  for (auto& in : g.inputs)
    if (in->type.is_ranked() && in->type.rank() > 0) return in->type.shape[0].is_const() ? Dim(0) : in->type.shape[0];
  return 0;
}

ShardingRule rule_of(const Op& op) {
  ShardingRule none(op);
  const OpDef& def = op_def(op);
  if (!def.shard || !op.graphs.empty()) return none;
  for (const Value* v : op.operands)
    if (v && !v->type.is_ranked()) return none;
  for (auto& r : op.results)
    if (!r->type.is_ranked() || r->type.dtype == DType::str) return none;
  for (auto& r : op.results)
    if (!inputs_decide(*op.graph, r->type.shape)) return none;  // a rank's part of it cannot be told beforehand
  auto rule = def.shard(op);
  if (!rule.ok()) return none;
  rule->batch = batch_of(*op.graph);
  return std::move(*rule);
}

bool is_fixed(const Value* v) {
  if (!v->def) return false;
  if (v->def->kind == OpKind::constant || v->def->kind == OpKind::prepared || v->known) return true;
  if (!v->def->graphs.empty() || has_trait(*v->def, kNondeterministic)) return false;
  const auto& operands = v->def->operands;
  return !operands.empty() && std::all_of(operands.begin(), operands.end(), [](const Value* x) { return !x || is_fixed(x); });
}

bool is_fixed(const Op& op) {
  return !op.results.empty() && std::all_of(op.results.begin(), op.results.end(), [](auto& r) { return is_fixed(r.get()); });
}

bool can_cut(const ShardingRule& rule, int f, int64_t size) {
  const ShardingRule::Factor& factor = rule.factors[f];
  if (!rule.leads(f) || (factor.size.is_const() && factor.size.value() <= 0)) return false;
  if (is_multiple(factor.size, size)) return true;
  const bool exchanges = factor.role == ShardingRule::Role::joined || !factor.exchanged.is(0);
  if (factor.even || exchanges || factor.size.is(1)) return false;
  auto agrees = [&](const std::vector<int>& dim) {
    if (std::find(dim.begin(), dim.end(), f) == dim.end()) return true;
    Dim all = 1, part = 1;
    for (int k : dim) {
      all *= rule.factors[k].size;
      part *= k == f ? part_of(factor.size, size, rule.batch) : rule.factors[k].size;
    }
    return part_of(all, size, rule.batch) == part;
  };
  for (const auto* tensors : {&rule.operands, &rule.results})
    for (const auto& dims : *tensors)
      if (!std::all_of(dims.begin(), dims.end(), agrees)) return false;
  return true;
}

void cut(ShardingRule& rule, int f, int64_t size) { rule.factors[f].size = part_of(rule.factors[f].size, size, rule.batch); }

static bool holds(const std::vector<std::string>& axes, const std::string& axis) { return std::find(axes.begin(), axes.end(), axis) != axes.end(); }

int factor_of_axis(const ShardingRule& rule, const Op& op, const std::string& axis, int64_t size) {
  using Role = ShardingRule::Role;
  for (int r = 0; r < op.num_results(); ++r) {
    const Sharding& s = op.result(r)->sharding;
    for (size_t d = 0; d < s.dims.size(); ++d) {
      if (!holds(s.dims[d], axis)) continue;
      for (int f : rule.results[r][d])
        if (!rule.factors[f].size.is(1)) return f;
    }
    const bool pending = holds(s.partial, axis);
    if (!pending && !holds(s.joined, axis)) continue;
    for (size_t f = 0; f < rule.factors.size(); ++f) {
      const char* reduction = pending_reduction(rule.factors[f].role);
      bool fits = pending ? reduction && s.reduction == reduction : rule.factors[f].role == Role::joined;
      if (fits && can_cut(rule, static_cast<int>(f), size)) return static_cast<int>(f);
    }
  }
  return -1;
}

void note_cut(const Op& op, const ShardingRule& rule, int f, const std::string& axis) {
  const ShardingRule::Role role = rule.factors[f].role;
  for (int r = 0; r < op.num_results(); ++r) {
    Sharding& s = op.result(r)->sharding;
    if (int d = rule.dim_of(rule.results[r], f); d >= 0) s.dims[d].push_back(axis);
    else if (role == ShardingRule::Role::joined) s.joined.push_back(axis);
    else if (const char* reduction = pending_reduction(role)) {
      s.partial.push_back(axis);
      s.reduction = reduction;
    }
  }
}

Cuts cuts_of(const Op& op, const Mesh& mesh) {
  Cuts c{rule_of(op), {}};
  for (const auto& f : c.rule.factors) c.parts.push_back({f.role, 0, 1, {}, 0, f.size, f.size, f.size});
  for (auto& [axis, size] : mesh.axes) {
    int f = factor_of_axis(c.rule, op, axis, size);
    if (f < 0) continue;
    const bool divides = is_multiple(c.rule.factors[f].size, size);
    cut(c.rule, f, size);
    FactorPart& p = c.parts[f];
    p.axes.push_back(axis);
    p.count *= size;
    p.index = mesh.position(p.axes);
    const Dim start = mesh.position({axis}) * c.rule.factors[f].size;
    p.first += start;
    p.own = divides && !p.ragged() ? c.rule.factors[f].size : max(min(p.own - start, c.rule.factors[f].size), 0);
    p.size = c.rule.factors[f].size;
  }
  return c;
}
Sharding form_of(const Cuts& c, const ShardingRule::Dims& dims, const Mesh& mesh) {
  Sharding s = whole(mesh, static_cast<int>(dims.size()));
  for (size_t d = 0; d < dims.size(); ++d)
    for (int f : dims[d]) s.dims[d].insert(s.dims[d].end(), c.parts[f].axes.begin(), c.parts[f].axes.end());
  return s;
}

Shape local_shape(const Shape& dims, const Sharding& s, const Mesh& mesh, const Dim& batch) {
  Shape out = dims;
  for (size_t d = 0; d < s.dims.size(); ++d)
    for (const std::string& a : s.dims[d]) out[d] = part_of(out[d], mesh.axis_size(a), batch);
  return out;
}

Sharding whole(const Mesh& mesh, int rank) {
  Sharding s;
  s.mesh = mesh.name;
  s.dims.resize(static_cast<size_t>(rank));
  return s;
}

}  // namespace weft
