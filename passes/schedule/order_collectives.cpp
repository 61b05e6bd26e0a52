// order-collectives: the order of ops in which what is exchanged is hidden best behind what computes: of the ops that could come
// next, a collective first, else one whose operands are there by then, else the one whose operands come first. Of several, the
// one from which the next collective is nearest, so that links are busy again soon. The order that was there stays unless the
// new one ends earlier.
//
// All ranks of a stage have one graph, so their collectives keep one order. Sends and receives, which stages make together,
// keep theirs.
#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "passes/rewrite/rewrite.h"
#include "passes/schedule/timeline.h"

namespace weft {

namespace {

class CollectiveOrder {
 public:
  CollectiveOrder(Graph& g, const ShardingCosts& costs) : g_(g), costs_(costs) {
    const Op* last = nullptr;
    for (auto& op : g.ops) {
      if (is_ready_made(*op)) continue;
      place_[op.get()] = static_cast<int>(order_.size());
      order_.push_back(op.get());
      if (op->kind != OpKind::send && op->kind != OpKind::recv) continue;
      if (last) after_[last] = op.get();
      last = op.get();
    }
  }

  bool improve() {
    constexpr double kLeast = 0.998;  // of the time that there was: less is not worth another order
    std::vector<Op*> better = greedy();
    if (end(better) > kLeast * end(order_)) return false;
    put_in_order(g_, better);
    return true;
  }

 private:
  double end(const std::vector<Op*>& order) const {
    Timeline t(costs_);
    for (const Op* op : order) t.add(*op);
    return t.end();
  }

  std::unordered_set<Op*> behind(const Op& op) const {
    std::unordered_set<Op*> out;
    for (auto& r : op.results)
      for (const Use& u : r->uses) out.insert(u.op);
    if (auto it = after_.find(&op); it != after_.end()) out.insert(it->second);
    return out;
  }

  // Seconds of kernels from each op on to a collective.
  std::unordered_map<const Op*, double> distances() const {
    std::unordered_map<const Op*, double> out;
    const Timeline t(costs_);
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
      double least = INFINITY;
      for (const Op* next : behind(**it)) least = std::min(least, out.at(next));
      out[*it] = is_collective(**it) ? 0 : least + t.seconds(**it);
    }
    return out;
  }

  std::vector<Op*> greedy() const {
    std::unordered_map<const Op*, int> waits;
    for (Op* op : order_)
      for (Op* next : behind(*op)) ++waits[next];
    std::map<std::pair<double, int>, Op*> ready;  // by how far the next collective is, and by place
    const std::unordered_map<const Op*, double> distance = distances();
    auto add = [&](Op* op) { ready[{distance.at(op), place_.at(op)}] = op; };
    for (Op* op : order_)
      if (!waits.count(op)) add(op);
    Timeline t(costs_);
    std::vector<Op*> out;
    while (!ready.empty()) {
      auto best = ready.end();
      double soonest = 0;
      for (auto it = ready.begin(); it != ready.end(); ++it) {
        const double at = std::max(t.ready(*it->second), t.kernels_end());
        const bool now = at <= t.kernels_end();
        if (now && is_collective(*it->second)) {
          best = it;
          break;
        }
        if (best != ready.end() && at >= soonest) continue;
        best = it;
        soonest = at;
      }
      Op* op = best->second;
      ready.erase(best);
      t.add(*op);
      out.push_back(op);
      for (Op* next : behind(*op))
        if (--waits[next] == 0) add(next);
    }
    return out;
  }

  Graph& g_;
  const ShardingCosts& costs_;
  std::vector<Op*> order_;
  std::unordered_map<const Op*, int> place_;
  std::unordered_map<const Op*, Op*> after_;  // of a send or receive, the next one
};

}  // namespace

Result<bool> pass_order_collectives(Module& m, PassContext& cx) {
  if (cx.target.backend != Backend::cuda || m.meshes.empty() || m.meshes[0].size() <= 1) return false;
  const DeviceTable devices = devices_of(cx);
  const ShardingCosts costs(m, devices, m.meshes[0]);
  bool changed = false;
  for (auto& g : m.graphs) changed = CollectiveOrder(*g, costs).improve() || changed;
  return changed;
}

}  // namespace weft
