// order-memory: the order of ops that needs the least memory at once, as far as a greedy choice finds it: of the ops that
// could come next, the one after which the fewest bytes are alive. The order that was there stays unless the new one has a
// lower peak. Symbolic dims count with their optimum, else their lower bound. Views cost nothing and keep what they show.
#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "ir/core/op_def.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

class MemoryOrder {
 public:
  explicit MemoryOrder(Graph& g) : g_(g) {
    for (auto& [name, info] : g.module->symbols) symbols_[name] = info.opt > 0 ? info.opt : std::max<int64_t>(info.lo, 1);
    for (auto& op : g.ops) {
      if (is_ready_made(*op)) continue;
      place_[op.get()] = static_cast<int>(order_.size());
      order_.push_back(op.get());
    }
    for (Op* op : order_) count(*op);
  }

  bool improve() {
    std::vector<Op*> better = greedy();
    if (better == order_ || peak(better) >= peak(order_)) return false;
    put_in_order(g_, better);
    return true;
  }

 private:
  static bool is_view(const Op& op) { return has_trait(op, kViewLike); }

  // The value whose memory v lies in; null where it is a constant's or an input's.
  const Value* memory_of(const Value* v) const {
    while (v && v->def && is_view(*v->def)) v = v->def->operands[0];
    return v && v->def && !is_ready_made(*v->def) ? v : nullptr;
  }
  int64_t bytes(const Value* v) const {
    if (!v->type.is_ranked()) return 0;
    return numel(v->type.shape).eval(symbols_).value_or(0) * byte_size(v->type.dtype);
  }
  std::set<const Value*> read_by(const Op& op) const {
    std::set<const Value*> out;
    for (const Value* v : op.operands)
      if (const Value* m = memory_of(v)) out.insert(m);
    return out;
  }
  void count(const Op& op) {
    for (const Value* v : read_by(op)) ++readers_[v];
    for (auto& r : op.results)
      if (r->is_output())
        if (const Value* m = memory_of(r.get())) ++readers_[m];  // a reader that never comes
  }

  // Bytes alive after the op, less those before it. `left`: readers still to come.
  int64_t change(const Op& op, const std::unordered_map<const Value*, int>& left) const {
    int64_t delta = 0;
    if (!is_view(op))
      for (auto& r : op.results)
        if (auto it = readers_.find(r.get()); it != readers_.end()) delta += bytes(r.get());
    for (const Value* v : read_by(op))
      if (left.at(v) == 1) delta -= bytes(v);
    return delta;
  }

  std::vector<Op*> greedy() const {
    std::unordered_map<const Value*, int> left = readers_;
    std::unordered_map<const Op*, int> waits;
    std::map<int, Op*> ready;  // by place, so that equals keep their order
    for (Op* op : order_) {
      std::set<const Op*> needed;
      for (const Value* v : op->operands)
        if (v && v->def && !is_ready_made(*v->def)) needed.insert(v->def);
      waits[op] = static_cast<int>(needed.size());
      if (needed.empty()) ready[place_.at(op)] = op;
    }
    std::vector<Op*> out;
    while (!ready.empty()) {
      auto best = ready.begin();
      int64_t least = change(*best->second, left);
      for (auto it = std::next(ready.begin()); it != ready.end(); ++it)
        if (int64_t d = change(*it->second, left); d < least) {
          least = d;
          best = it;
        }
      Op* op = best->second;
      ready.erase(best);
      out.push_back(op);
      for (const Value* v : read_by(*op)) --left[v];
      std::set<Op*> users;
      for (auto& r : op->results)
        for (const Use& u : r->uses) users.insert(u.op);
      for (Op* u : users)
        if (--waits[u] == 0) ready[place_.at(u)] = u;
    }
    return out;
  }

  int64_t peak(const std::vector<Op*>& order) const {
    std::unordered_map<const Value*, int> left = readers_;
    int64_t live = 0, top = 0;
    for (const Op* op : order) {
      int64_t made = 0;
      if (!is_view(*op))
        for (auto& r : op->results) made += bytes(r.get());
      top = std::max(top, live + made);
      live += change(*op, left);
      for (const Value* v : read_by(*op)) --left[v];
    }
    return top;
  }

  Graph& g_;
  SymbolValues symbols_;
  std::vector<Op*> order_;
  std::unordered_map<const Op*, int> place_;
  std::unordered_map<const Value*, int> readers_;
};

// Ops that act elsewhere keep their order.
bool may_reorder(const Graph& g) {
  return std::all_of(g.ops.begin(), g.ops.end(), [](auto& op) { return !op->results.empty() && op_def(*op).family != Family::collective; });
}

}  // namespace

Result<bool> pass_order_memory(Module& m, PassContext&) {
  bool changed = false;
  for (auto& g : m.graphs) changed = (may_reorder(*g) && MemoryOrder(*g).improve()) || changed;
  return changed;
}

}  // namespace weft
