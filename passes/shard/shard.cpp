// shard: gives every value of the main graph the sharding in which its op computes it. Axis after axis of the mesh: what each
// op may cut is found by its rule, by what is asked of its values (Module::given) and by what the axis is for; a search over
// the whole graph takes the fastest.
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
      if (std::all_of(op->results.begin(), op->results.end(), [](auto& r) { return is_fixed(r.get()); })) continue;
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

  Status run() {
    for (auto& op : g_.ops)
      for (auto& r : op->results)
        if (r->type.is_ranked()) r->sharding = whole(cx_.mesh, r->type.rank());
    for (auto& [axis, size] : cx_.mesh.axes)
      if (size > 1 && axis != kStageAxis) TRY(cut(axis, size));
    return {};
  }

 private:
  Status cut(const std::string& axis, int64_t size) {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      offer(nodes_[i], batch_[i], axis, size);
      if (!nodes_[i].cuts.empty()) continue;
      TRY(copy_results(i, axis, size));
      offer(nodes_[i], batch_[i], axis, size);
      if (nodes_[i].cuts.empty()) return given_.cannot(*nodes_[i].op, nodes_[i].rule, axis, size);
    }
    std::vector<int> factors = search_axis(nodes_, g_, pairs_, costs_, costs_.group({axis}));
    for (size_t i = 0; i < nodes_.size(); ++i) {
      int f = factors[i];
      if (f < 0) continue;
      ShardNode& node = nodes_[i];
      bool sums = node.rule.factors[f].role == ShardingRule::Role::sum;
      for (int r = 0; r < node.op->num_results(); ++r) {
        Sharding& s = node.op->result(r)->sharding;
        if (int d = node.rule.dim_of(node.rule.results[r], f); d >= 0) s.dims[d].push_back(axis);
        else if (sums) s.partial.push_back(axis);
      }
      node.rule.factors[f].size = floordiv(node.rule.factors[f].size, size);
    }
    return {};
  }
  // What the axis may do with an op, and the time it then takes.
  void offer(ShardNode& node, int batch, const std::string& axis, int64_t size) {
    const Op& op = *node.op;
    auto fits = [&](int f) { return given_.reads_fit(op, node.rule, f, axis) && given_.results_fit(op, node.rule, f, axis); };
    node.cuts.clear();
    if (fits(-1)) node.cuts.push_back(-1);
    bool sum = false;
    for (int f = 0; f < static_cast<int>(node.rule.factors.size()); ++f) {
      bool is_sum = node.rule.factors[f].role == ShardingRule::Role::sum;
      const bool asked = given_.asks_for(op, node.rule, f, axis);
      if (!asked && ((axis == "dp" && f != batch) || (axis == "tp" && f == batch))) continue;
      if (!can_cut(node.rule, f, size, axis == "dp" || (asked && !is_sum))) continue;
      // A sharding says that something is summed, not what: the first factor that can be.
      if (is_sum && (sum || waits(node))) continue;
      sum = sum || is_sum;
      if (!fits(f)) continue;
      if (axis == "dp") node.cuts.clear();  // where the batch can be cut, it is
      node.cuts.push_back(f);
    }
    if (axis == "tp") keep_cuts_of_weights(node);
    node.seconds.clear();
    for (int f : node.cuts) node.seconds.push_back(costs_.seconds(op, node.rule, f, size));
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
      possible = possible || ((f < 0 || can_cut(nodes_[i].rule, f, size, true)) && given_.reads_fit(op, nodes_[i].rule, f, axis));
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
      copy.rule.factors[f].size = floordiv(copy.rule.factors[f].size, size);
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
  // Another axis has cut what is summed already: which factor the next one cuts would be open.
  static bool waits(const ShardNode& node) { return !node.op->result()->sharding.partial.empty(); }

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
  TRY(Sharder(m, cx, cx.devices ? *cx.devices : default_devices(cx.target), std::move(given)).run());
  m.given = {};
  return true;
}

}  // namespace weft
