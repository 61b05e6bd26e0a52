// shard: gives every value of the main graph the sharding in which its op computes it. Axis after axis of the mesh: what each
// op may cut is found by its rule, by what is asked of its values (Module::given) and by what the axis is for; a search over
// the whole graph takes the fastest. Ops that no rule shares out are noted for the user.
//
// Where an op can compute a value, but not in the form that is asked for, a copy of it (`identity`) is what has this form.
#include <algorithm>

#include "ir/base/check.h"
#include "ir/base/text.h"
#include "passes/pass_manager.h"
#include "passes/shard/given_forms.h"
#include "passes/shard/search.h"

namespace weft {

namespace {

// Dims that are the batch of the model: dim 0 of inputs, and what comes of it.
class Batch {
 public:
  explicit Batch(const Graph& g) {
    const Dim* first = nullptr;
    for (auto& in : g.inputs) {
      if (!in->type.is_ranked() || in->type.rank() == 0) continue;
      if (!first) first = &in->type.shape[0];
      if (in->type.shape[0] == *first) dim_[in.get()] = 0;
    }
  }
  // The op's factor that is the batch, -1: it has none. Remembers which dims of the results it is.
  int factor(const Op& op, const ShardingRule& rule) {
    int found = -1;
    for (int i = 0; i < op.num_operands() && found < 0; ++i) {
      auto it = op.operands[i] ? dim_.find(op.operands[i]) : dim_.end();
      if (it == dim_.end()) continue;
      const auto& list = rule.operands[i][it->second];
      if (!list.empty()) found = list[0];
    }
    if (found < 0) return -1;
    for (int r = 0; r < op.num_results(); ++r)
      if (int d = rule.dim_of(rule.results[r], found); d >= 0) dim_[op.result(r)] = d;
    return found;
  }

 private:
  std::map<const Value*, int> dim_;
};

class Sharder {
 public:
  Sharder(Module& m, const PassContext& cx, const DeviceTable& devices, GivenForms given)
      : cx_(cx), g_(*m.main()), costs_(m, devices, cx.mesh), given_(std::move(given)) {
    Batch batch(g_);
    for (auto& op : g_.ops) {
      if (is_fixed(*op)) continue;
      nodes_.push_back({op.get(), rule_of(*op), {}, {}});
      batch_.push_back(batch.factor(*op, nodes_.back().rule));
    }
    for (const State& s : m.states) {
      const Value *in = nullptr, *out = nullptr;
      for (auto& v : g_.inputs)
        if (v->name == s.input) in = v.get();
      for (size_t i = 0; i < g_.outputs.size(); ++i)
        if (g_.output_names[i] == s.output) out = g_.outputs[i];
      if (s.graph == g_.name && in && out) pairs_[in] = out;
    }
  }

  // What every rank computes whole since nothing says how to share it out: each kind of op, and where the first one comes from.
  std::string kept_whole() const {
    std::map<OpKind, std::pair<const Op*, int>> kinds;
    for (const ShardNode& node : nodes_) {
      if (!node.rule.factors.empty() || has_one_element(*node.op)) continue;
      auto& [first, count] = kinds[node.op->kind];
      if (count++ == 0) first = node.op;
    }
    std::vector<std::string> out;
    for (auto& [kind, found] : kinds) {
      std::string node = found.first->provenance.empty() ? "" : "node " + quote(found.first->provenance[0]);
      if (found.second > 1) node += (node.empty() ? "" : ", ") + std::to_string(found.second) + " in all";
      out.push_back(op_name(kind) + (node.empty() ? "" : " (" + node + ")"));
    }
    return join(out, ", ");
  }

  Status run() {
    for (auto& op : g_.ops)
      for (auto& r : op->results)
        if (r->type.is_ranked()) r->sharding = whole(cx_.mesh, r->type.rank());
    for (auto& [axis, size] : cx_.mesh.axes)
      if (size > 1 && axis != kStageAxis) TRY(cut(axis, size));
    return {};
  }

 private:
  static bool has_one_element(const Op& op) {
    return std::all_of(op.results.begin(), op.results.end(), [](auto& r) { return r->type.is_ranked() && numel(r->type.shape).is(1); });
  }
  Status cut(const std::string& axis, int64_t size) {
    const LinkGroup links = costs_.group({axis});
    for (size_t i = 0; i < nodes_.size(); ++i) {
      offer(nodes_[i], batch_[i], axis, links);
      if (!nodes_[i].cuts.empty()) continue;
      TRY(copy_results(i, axis, size));
      offer(nodes_[i], batch_[i], axis, links);
      if (nodes_[i].cuts.empty()) return given_.cannot(*nodes_[i].op, nodes_[i].rule, axis, size);
    }
    std::vector<int> factors = search_axis(nodes_, g_, pairs_, costs_, links);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      int f = factors[i];
      if (f < 0) continue;
      ShardNode& node = nodes_[i];
      note_cut(*node.op, node.rule, f, axis);
      weft::cut(node.rule, f, size);
    }
    return {};
  }
  // Repetitions are to be few, but for those of the batch; of symbols only the batch may have any.
  static bool is_worth(const Dim& n, const std::string& axis, int64_t size) {
    if (is_multiple(n, size)) return true;
    if (!n.is_const()) return axis == "dp";
    const int64_t part = ceildiv(n, size).value();
    return axis == "dp" ? part < n.value() : part * size * 4 <= n.value() * 5;
  }
  // What the axis may do with an op, and the time it then takes.
  void offer(ShardNode& node, int batch, const std::string& axis, const LinkGroup& links) {
    const int64_t size = links.size();
    const Op& op = *node.op;
    auto fits = [&](int f) { return given_.reads_fit(op, node.rule, f, axis) && given_.results_fit(op, node.rule, f, axis); };
    node.cuts.clear();
    if (fits(-1)) node.cuts.push_back(-1);
    bool reduced = false;
    for (int f = 0; f < static_cast<int>(node.rule.factors.size()); ++f) {
      const bool is_reduced = node.rule.factors[f].role != ShardingRule::Role::parallel;
      if (cx_.deterministic > 1 && (is_reduced || !node.rule.factors[f].exchanged.is(0))) continue;  // its order would follow the ranks
      const bool asked = given_.asks_for(op, node.rule, f, axis);
      if (!asked && ((axis == "dp" && f != batch) || (axis == "tp" && f == batch))) continue;
      if ((!asked && !is_worth(node.rule.factors[f].size, axis, size)) || !can_cut(node.rule, f, size)) continue;
      // A sharding says that something is reduced, not what: the first factor that can be.
      if (is_reduced && (reduced || waits(node))) continue;
      reduced = reduced || is_reduced;
      if (!fits(f)) continue;
      if (axis == "dp") node.cuts.clear();  // where the batch can be cut, it is
      node.cuts.push_back(f);
    }
    if (axis == "tp") keep_cuts_of_weights(node);
    node.seconds.clear();
    for (int f : node.cuts) {
      node.seconds.push_back(costs_.seconds(*node.op, node.rule, f, size));
      if (f >= 0 && !node.rule.factors[f].exchanged.is(0)) node.seconds.back() += links.all_reduce(costs_.number(node.rule.factors[f].exchanged) * 4);
    }
  }
  // No way to compute node i has its results in the forms that are asked for: copies of them will.
  Status copy_results(size_t i, const std::string& axis, int64_t size) {
    const Op& op = *nodes_[i].op;
    std::vector<Value*> asked;
    for (auto& r : op.results)
      if (given_.of_result(r.get(), axis)) asked.push_back(r.get());
    // The reads alone must leave a way.
    bool possible = false;
    for (int f = -1; f < static_cast<int>(nodes_[i].rule.factors.size()); ++f)
      possible = possible || ((f < 0 || can_cut(nodes_[i].rule, f, size)) && given_.reads_fit(op, nodes_[i].rule, f, axis));
    if (asked.empty() || !possible || op.kind == OpKind::identity) return given_.cannot(op, nodes_[i].rule, axis, size);
    for (Value* r : asked) {
      Builder b(&g_, std::next(op.self) == g_.ops.end() ? nullptr : std::next(op.self)->get());
      b.provenance = op.provenance;
      Value* copy = b.op(OpKind::identity, {r});
      g_.replace_uses(r, copy);
      copy->def->set_operand(0, r);
      copy->def->stage = op.stage;
      copy->name = std::exchange(r->name, "");
      given_.move(r, copy);
      for (auto& [in, out] : pairs_)
        if (out == r) out = copy;
      nodes_.insert(nodes_.begin() + static_cast<ptrdiff_t>(i) + 1, {copy->def, rule_of(*copy->def), {}, {}});
      batch_.insert(batch_.begin() + static_cast<ptrdiff_t>(i) + 1, -1);
      cut_as_before(nodes_[i + 1], r->sharding);
    }
    return {};
  }
  // A copy, along the axes that are done: as what it is a copy of, or as is asked of it.
  void cut_as_before(ShardNode& copy, const Sharding& original) {
    Sharding& s = copy.op->result()->sharding;
    s = whole(cx_.mesh, copy.op->result()->type.rank());
    for (auto& [axis, size] : cx_.mesh.axes) {
      int form = GivenForms::kWhole;
      for (size_t d = 0; d < original.dims.size(); ++d)
        if (std::count(original.dims[d].begin(), original.dims[d].end(), axis)) form = static_cast<int>(d);
      const bool pending = std::count(original.partial.begin(), original.partial.end(), axis) != 0;
      if (const auto* a = pending ? given_.of_result(copy.op->result(), axis) : nullptr) form = a->form;
      if (form < 0) continue;
      s.dims[form].push_back(axis);
      const int f = copy.rule.results[0][form][0];
      weft::cut(copy.rule, f, size);
    }
  }
  // A product or a table of weights: ranks of tp hold a part of them each, also where all of them would be faster.
  static void keep_cuts_of_weights(ShardNode& node) {
    const Op& op = *node.op;
    if (op_def(op).family != Family::contraction && op.kind != OpKind::gather) return;
    std::vector<int> cuts;
    for (int f : node.cuts)
      for (int i = 0; i < op.num_operands(); ++i) {
        const Value* v = op.operands[i];
        if (f < 0 || !v || v->type.rank() < 2 || !is_fixed(v) || node.rule.dim_of(node.rule.operands[i], f) < 0) continue;
        cuts.push_back(f);
        break;
      }
    if (!cuts.empty()) node.cuts = std::move(cuts);
  }
  // Another axis has cut what is reduced already: which factor the next one cuts would be open.
  static bool waits(const ShardNode& node) {
    const Sharding& s = node.op->result()->sharding;
    return !s.partial.empty() || !s.joined.empty();
  }

  const PassContext& cx_;
  Graph& g_;
  ShardingCosts costs_;
  GivenForms given_;
  std::vector<ShardNode> nodes_;
  std::vector<int> batch_;
  std::map<const Value*, const Value*> pairs_;
};

}  // namespace

Result<bool> pass_shard(Module& m, PassContext& cx) {
  if (cx.mesh.size() <= 1 || !m.meshes.empty()) return false;
  m.meshes.push_back(cx.mesh);
  TRY_ASSIGN(GivenForms given, GivenForms::make(m, cx.mesh));
  if (std::string unused = given.unused(); !unused.empty())
    cx.notes.push_back("given shardings without effect, since no op of its own makes or reads the tensor any more: " + unused);
  const DeviceTable devices = devices_of(cx);
  Sharder sharder(m, cx, devices, std::move(given));
  TRY(sharder.run());
  if (std::string kept = sharder.kept_whole(); !kept.empty()) cx.notes.push_back("every rank computes all of " + kept + ": no rule shares it out");
  m.given = {};
  return true;
}

}  // namespace weft
