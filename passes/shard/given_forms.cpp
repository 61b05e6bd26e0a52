#include "passes/shard/given_forms.h"

#include <algorithm>
#include <set>

#include "ir/base/text.h"

namespace weft {

namespace {

std::string named(const GivenSharding& g) {
  return "the sharding " + g.form() + " of " + quote(g.tensor) + (g.reader.empty() ? "" : " in node " + quote(g.reader)) + " (" + g.source + ")";
}
std::string named(const Op& op) {
  return op.provenance.empty() ? std::string(op_name(op.kind)) : "node " + quote(op.provenance.front());
}

// Axes are the mesh's, each stands once, and those of one dim stand in the mesh's order.
Status check_axes(const GivenSharding& g, const Mesh& mesh) {
  std::set<std::string> seen;
  auto place = [&](const std::string& axis) { return std::find_if(mesh.axes.begin(), mesh.axes.end(), [&](auto& a) { return a.first == axis; }); };
  auto check = [&](const std::string& axis) -> Status {
    if (place(axis) == mesh.axes.end()) return usage(named(g) + " names axis " + axis + "; the mesh is " + mesh.axes_text());
    if (axis == kStageAxis) return usage(named(g) + " names axis " + axis + ", whose ranks run different stages: it cuts no tensor");
    if (!seen.insert(axis).second) return usage(named(g) + " names axis " + axis + " twice");
    return {};
  };
  for (const std::string& a : g.whole) TRY(check(a));
  for (auto& d : g.dims)
    for (size_t k = 0; k < d.size(); ++k) {
      TRY(check(d[k]));
      if (k && place(d[k]) < place(d[k - 1]))
        return unsupported(named(g) + " cuts a dim by " + d[k - 1] + " before " + d[k] + ", and the mesh has them in the other order: " + mesh.axes_text());
    }
  return {};
}

bool is_pending(const ShardingRule& rule, int f) { return f >= 0 && pending_reduction(rule.factors[f].role); }

int form_under(const ShardingRule& rule, const ShardingRule::Dims& dims, int f) { return f < 0 ? GivenForms::kWhole : rule.dim_of(dims, f); }

}  // namespace

Result<GivenForms> GivenForms::make(const Module& m, const Mesh& mesh) {
  GivenForms out;
  TRY(out.index(m, mesh));
  return out;
}

Status GivenForms::index(const Module& m, const Mesh& mesh) {
  for (const GivenSharding& g : m.given.shardings) {
    TRY(check_axes(g, mesh));
    by_name_[{g.reader, g.tensor}].push_back(all_.size());
    all_.emplace_back(&g, false);
  }
  if (all_.empty()) return {};
  const Graph& graph = *m.main();
  auto value = [&](const Value& v) -> Status {
    auto it = v.type.is_ranked() ? by_name_.find({"", v.name}) : by_name_.end();
    if (it == by_name_.end()) return {};
    for (size_t k : it->second)
      if (static_cast<int>(all_[k].first->dims.size()) == v.type.rank()) {
        all_[k].second = true;
        TRY(add(values_[&v], *all_[k].first));
      }
    return {};
  };
  for (auto& in : graph.inputs) TRY(value(*in));
  for (auto& op : graph.ops) {
    for (auto& r : op->results) TRY(value(*r));
    TRY(read(*op));
    TRY(carry(*op));
  }
  return {};
}

Status GivenForms::add(ByAxis& to, const std::string& axis, Asked asked) {
  auto [it, fresh] = to.try_emplace(axis, asked);
  if (fresh || it->second.form == asked.form) return {};
  return usage(named(*it->second.by) + " contradicts " + named(*asked.by) + " along axis " + axis);
}
Status GivenForms::add(ByAxis& to, const GivenSharding& g) {
  for (const std::string& axis : g.whole) TRY(add(to, axis, {kWhole, &g}));
  for (size_t d = 0; d < g.dims.size(); ++d)
    for (const std::string& axis : g.dims[d]) TRY(add(to, axis, {static_cast<int>(d), &g}));
  return {};
}

// What its nodes ask of an op's operands, and what is asked of constants and inputs among them.
Status GivenForms::read(const Op& op) {
  for (int i = 0; i < op.num_operands(); ++i) {
    const Value* v = op.operands[i];
    if (!v || !v->type.is_ranked()) continue;
    ByAxis asked;
    for (const std::string& node : op.provenance) {
      auto it = by_name_.find({node, v->name});
      if (it == by_name_.end()) continue;
      for (size_t k : it->second) {
        if (static_cast<int>(all_[k].first->dims.size()) != v->type.rank()) continue;
        all_[k].second = true;
        TRY(add(asked, *all_[k].first));
      }
    }
    if (auto it = values_.find(v); it != values_.end() && (!v->def || is_fixed(v)))
      for (auto& [axis, a] : it->second) TRY(add(asked, axis, a));
    if (!asked.empty()) operands_[{&op, i}] = std::move(asked);
  }
  return {};
}

// What is computed of constants alone is cut as they are.
Status GivenForms::carry(const Op& op) {
  if (op.num_results() != 1 || !is_fixed(op.result())) return {};
  std::optional<ShardingRule> rule;
  for (int i = 0; i < op.num_operands(); ++i) {
    auto it = operands_.find({&op, i});
    if (it == operands_.end()) continue;
    if (!rule) rule = rule_of(op);
    for (auto& [axis, a] : it->second) {
      int form = kWhole;
      if (a.form >= 0) {
        const auto& list = rule->operands[i][a.form];
        form = list.empty() ? kWhole : rule->dim_of(rule->results[0], list[0]);
        if (form < 0)
          return unsupported(named(*a.by) + " cannot be kept: " + named(op) + " makes a constant of it that has no such dim").at_tensor(a.by->tensor);
      }
      TRY(add(values_[op.result()], axis, {form, a.by}));
    }
  }
  return {};
}

const GivenForms::Asked* GivenForms::of_result(const Value* v, const std::string& axis) const {
  auto it = values_.find(v);
  if (it == values_.end()) return nullptr;
  auto at = it->second.find(axis);
  return at == it->second.end() ? nullptr : &at->second;
}
const GivenForms::Asked* GivenForms::of_operand(const Op& op, int i, const std::string& axis) const {
  auto it = operands_.find({&op, i});
  if (it == operands_.end()) return nullptr;
  auto at = it->second.find(axis);
  return at == it->second.end() ? nullptr : &at->second;
}

bool GivenForms::reads_fit(const Op& op, const ShardingRule& rule, int f, const std::string& axis) const {
  for (int i = 0; i < op.num_operands(); ++i)
    if (const Asked* a = of_operand(op, i, axis); a && a->form != form_under(rule, rule.operands[i], f)) return false;
  return true;
}
bool GivenForms::results_fit(const Op& op, const ShardingRule& rule, int f, const std::string& axis) const {
  if (is_pending(rule, f)) return true;
  for (int r = 0; r < op.num_results(); ++r)
    if (const Asked* a = of_result(op.result(r), axis); a && a->form != form_under(rule, rule.results[r], f)) return false;
  return true;
}
bool GivenForms::asks_for(const Op& op, const ShardingRule& rule, int f, const std::string& axis) const {
  auto is_f = [&](const Asked* a, const ShardingRule::Dims& dims) { return a && a->form >= 0 && a->form == rule.dim_of(dims, f); };
  for (int i = 0; i < op.num_operands(); ++i)
    if (is_f(of_operand(op, i, axis), rule.operands[i])) return true;
  for (int r = 0; r < op.num_results(); ++r)
    if (is_f(of_result(op.result(r), axis), rule.results[r])) return true;
  return false;
}
void GivenForms::move(const Value* from, const Value* to) {
  if (auto node = values_.extract(from); !node.empty()) {
    node.key() = to;
    values_.insert(std::move(node));
  }
}

Error GivenForms::cannot(const Op& op, const ShardingRule& rule, const std::string& axis, int64_t size) const {
  std::vector<std::pair<const Asked*, const Value*>> asked;
  std::string why;
  auto look = [&](const Asked* a, const Value* v, const ShardingRule::Dims& dims) {
    if (!a) return;
    asked.emplace_back(a, v);
    if (a->form < 0 || !why.empty()) return;
    const auto& factors = dims[a->form];
    const std::string dim = "dim " + std::to_string(a->form) + " of " + v->type.to_string();
    if (rule.factors.empty()) why = "no rule shares it out";
    else if (factors.empty()) why = "it needs " + dim + " whole";
    else if (!can_cut(rule, factors[0], size)) why = dim + " cannot be cut into " + std::to_string(size) + " parts";
    if (!why.empty()) std::swap(asked.front(), asked.back());
  };
  for (int i = 0; i < op.num_operands(); ++i) look(of_operand(op, i, axis), op.operands[i], rule.operands[i]);
  for (int r = 0; r < op.num_results(); ++r) look(of_result(op.result(r), axis), op.result(r), rule.results[r]);
  for (size_t k = 1; k < asked.size() && why.empty(); ++k)
    if (asked[k].first->by != asked[0].first->by) why = "it cannot keep " + named(*asked[k].first->by) + " at the same time";
  if (why.empty()) why = "ranks of axis " + axis + " cannot share it out so";
  const GivenSharding& first = *asked.front().first->by;
  Error e = unsupported(named(first) + " cannot be kept in " + named(op) + " (" + op_name(op.kind) + "): " + why);
  e.at_tensor(first.tensor);
  if (!op.provenance.empty()) e.at_node(op.provenance.front());
  return e;
}

std::string GivenForms::unused() const {
  constexpr size_t kShown = 8;
  std::vector<std::string> names;
  for (auto& [g, found] : all_)
    if (!found) names.push_back(quote(g->tensor) + " (" + g->source + ")");
  const size_t more = names.size() > kShown ? names.size() - kShown : 0;
  names.resize(names.size() - more);
  return join(names, ", ") + (more ? " and " + std::to_string(more) + " more" : "");
}

}  // namespace weft
