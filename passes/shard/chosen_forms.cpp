#include "passes/shard/chosen_forms.h"

#include <algorithm>

#include "passes/shard/forms.h"

namespace weft {

namespace {

class ChosenForms {
 public:
  explicit ChosenForms(const Module& m) : mesh_(m.meshes[0]) { out_.mesh = mesh_; }

  Given run(const Graph& g) {
    for (auto& op : g.ops)
      if (!is_fixed(*op)) op_forms(*op);
    for (auto& [key, form] : forms_) {
      if (form.empty()) continue;
      GivenSharding s;
      std::tie(s.reader, s.tensor) = key;
      s.dims = form.dims;
      auto cuts = [&](const std::string& axis) {
        return std::any_of(s.dims.begin(), s.dims.end(), [&](auto& d) { return std::count(d.begin(), d.end(), axis) != 0; });
      };
      for (auto& [axis, size] : mesh_.axes)
        if (axis != kStageAxis && !cuts(axis)) s.whole.push_back(axis);
      s.source = "shard";
      out_.shardings.push_back(std::move(s));
    }
    return std::move(out_);
  }

 private:
  void op_forms(const Op& op) {
    if (op.stage >= 0)
      for (const std::string& node : op.provenance) out_.stages[node] = std::max(out_.stages[node], op.stage);
    for (auto& r : op.results) {
      Sharding form{.mesh = r->sharding.mesh, .dims = r->sharding.dims};
      note("", *r, form);
    }
    ShardingRule rule = rule_of(op);
    std::vector<Sharding> reads;
    for (const Value* v : op.operands) reads.push_back(whole(mesh_, v && v->type.is_ranked() ? v->type.rank() : 0));
    for (auto& [axis, size] : mesh_.axes) {
      const int f = factor_of_axis(rule, op, axis, size);
      if (f < 0) continue;
      for (size_t i = 0; i < reads.size(); ++i)
        if (int d = rule.dim_of(rule.operands[i], f); d >= 0) reads[i].dims[d].push_back(axis);
      cut(rule, f, size);
    }
    for (size_t i = 0; i < reads.size(); ++i)
      for (const std::string& node : op.provenance)
        if (op.operands[i]) note(node, *op.operands[i], reads[i]);
  }
  // Different forms under one name leave none.
  void note(const std::string& reader, const Value& v, const Sharding& form) {
    if (v.name.empty() || !v.type.is_ranked() || v.type.rank() == 0) return;
    auto [it, fresh] = forms_.try_emplace({reader, v.name}, form);
    if (!fresh && !(it->second == form)) it->second = {};
  }

  const Mesh& mesh_;
  Given out_;
  std::map<std::pair<std::string, std::string>, Sharding> forms_;
};

}  // namespace

Given chosen_forms(const Module& m) { return ChosenForms(m).run(*m.main()); }

}  // namespace weft
