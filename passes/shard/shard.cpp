// shard: gives every value of the main graph the sharding in which its op computes it. Axis after axis of the mesh: what each
// op may cut is found by its rule and by what the axis is for; a search over the whole graph takes the fastest.
#include <algorithm>

#include "ir/base/check.h"
#include "passes/pass_manager.h"
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
  Sharder(Module& m, const PassContext& cx, const DeviceTable& devices) : cx_(cx), g_(*m.main()), costs_(m, devices, cx.mesh) {
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

  void run() {
    for (auto& op : g_.ops)
      for (auto& r : op->results)
        if (r->type.is_ranked()) r->sharding = whole(cx_.mesh, r->type.rank());
    for (auto& [axis, size] : cx_.mesh.axes)
      if (size > 1 && axis != kStageAxis) cut(axis, size);
  }

 private:
  void cut(const std::string& axis, int64_t size) {
    for (size_t i = 0; i < nodes_.size(); ++i) offer(nodes_[i], batch_[i], axis, size);
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
  }
  // What the axis may do with an op, and the time it then takes.
  void offer(ShardNode& node, int batch, const std::string& axis, int64_t size) {
    node.cuts = {-1};
    bool sum = false;
    for (int f = 0; f < static_cast<int>(node.rule.factors.size()); ++f) {
      bool is_sum = node.rule.factors[f].role == ShardingRule::Role::sum;
      if ((axis == "dp" && f != batch) || (axis == "tp" && f == batch)) continue;
      if (!can_cut(node.rule, f, size, axis == "dp")) continue;
      // A sharding says that something is summed, not what: the first factor that can be.
      if (is_sum && (sum || waits(node))) continue;
      sum = sum || is_sum;
      if (axis == "dp") node.cuts.clear();  // where the batch can be cut, it is
      node.cuts.push_back(f);
    }
    if (axis == "tp") keep_cuts_of_weights(node);
    node.seconds.clear();
    for (int f : node.cuts) node.seconds.push_back(costs_.seconds(*node.op, node.rule, f, size));
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
  std::vector<ShardNode> nodes_;
  std::vector<int> batch_;
  std::map<const Value*, const Value*> pairs_;
};

}  // namespace

Result<bool> pass_shard(Module& m, PassContext& cx) {
  if (cx.mesh.size() <= 1 || !m.meshes.empty()) return false;
  m.meshes.push_back(cx.mesh);
  Sharder(m, cx, cx.devices ? *cx.devices : default_devices(cx.target)).run();
  return true;
}

}  // namespace weft
