#include "passes/shard/forms.h"

#include <algorithm>

namespace weft {

// A result has a dim that only data decide: a rank's part of it cannot be told beforehand.
static bool has_data_dims(const Op& op) {
  for (auto& r : op.results)
    for (const Dim& d : r->type.shape)
      for (const std::string& s : d.symbols())
        if (std::none_of(op.graph->inputs.begin(), op.graph->inputs.end(), [&](auto& in) {
              return std::any_of(in->type.shape.begin(), in->type.shape.end(), [&](const Dim& x) { return x.contains(s); });
            }))
          return true;
  return false;
}

ShardingRule rule_of(const Op& op) {
  ShardingRule none(op);
  const OpDef& def = op_def(op);
  if (!def.shard || !op.graphs.empty()) return none;
  for (const Value* v : op.operands)
    if (v && !v->type.is_ranked()) return none;
  for (auto& r : op.results)
    if (!r->type.is_ranked() || r->type.dtype == DType::str) return none;
  if (has_data_dims(op)) return none;
  auto rule = def.shard(op);
  return rule.ok() ? std::move(*rule) : none;
}

bool is_fixed(const Value* v) {
  if (!v->def) return false;
  if (v->def->kind == OpKind::constant || v->def->kind == OpKind::prepared || v->known) return true;
  if (!v->def->graphs.empty() || has_trait(*v->def, kNondeterministic)) return false;
  const auto& operands = v->def->operands;
  return !operands.empty() && std::all_of(operands.begin(), operands.end(), [](const Value* x) { return !x || is_fixed(x); });
}

bool can_cut(const ShardingRule& rule, int f, int64_t size, bool assume) {
  const Dim& n = rule.factors[f].size;
  bool fits = n.is_const() ? n.value() % size == 0 && n.value() > 0 : assume || floordiv(n, size) * Dim(size) == n;
  return fits && rule.leads(f);
}

int factor_of_axis(const ShardingRule& rule, const Op& op, const std::string& axis, int64_t size) {
  for (int r = 0; r < op.num_results(); ++r) {
    const Sharding& s = op.result(r)->sharding;
    for (size_t d = 0; d < s.dims.size(); ++d) {
      if (std::find(s.dims[d].begin(), s.dims[d].end(), axis) == s.dims[d].end()) continue;
      for (int f : rule.results[r][d])
        if (!rule.factors[f].size.is(1)) return f;
    }
    if (std::find(s.partial.begin(), s.partial.end(), axis) == s.partial.end()) continue;
    for (size_t f = 0; f < rule.factors.size(); ++f)
      if (rule.factors[f].role == ShardingRule::Role::sum && can_cut(rule, static_cast<int>(f), size)) return static_cast<int>(f);
  }
  return -1;
}

Shape local_shape(const Shape& dims, const Sharding& s, const Mesh& mesh) {
  Shape out = dims;
  for (size_t d = 0; d < s.dims.size(); ++d)
    for (const std::string& a : s.dims[d]) out[d] = floordiv(out[d], mesh.axis_size(a));
  return out;
}

Sharding whole(const Mesh& mesh, int rank) {
  Sharding s;
  s.mesh = mesh.name;
  s.dims.resize(static_cast<size_t>(rank));
  return s;
}

}  // namespace weft
