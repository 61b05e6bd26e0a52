#include "passes/shard/repeats.h"

#include <map>
#include <unordered_map>

namespace weft {

namespace {

class RepeatFinder {
 public:
  RepeatFinder(const std::vector<ShardNode>& nodes, const StatePairs& pairs) : nodes_(nodes), pairs_(pairs) {
    for (size_t i = 0; i < nodes.size(); ++i) at_[nodes[i].op] = i;
  }

  Repeats run() {
    Repeats best;
    for (size_t period : periods()) {
      size_t begin = 0;
      for (size_t i = 0; i + period <= nodes_.size(); ++i) {
        if (i + period < nodes_.size() && alike(i, i + period)) continue;
        // Nodes [begin, i) are like those a period later.
        const Repeats r{begin, period, (i - begin) / period + 1};
        if (r.count >= 3 && r.period * r.count > best.period * best.count) best = r;
        begin = i + 1;
      }
    }
    return best;
  }

 private:
  // Distances to the last equal op: the length of a block is among them, unless all its ops stand in it twice.
  std::vector<size_t> periods() const {
    std::map<Hash, size_t> before;
    std::map<size_t, size_t> counts;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      auto [it, added] = before.try_emplace(signature(nodes_[i]), i);
      if (!added) ++counts[i - it->second];
      it->second = i;
    }
    std::vector<size_t> out;
    for (auto& [period, n] : counts)
      if (n >= 2) out.push_back(period);
    return out;
  }
  static Hash signature(const ShardNode& node) {
    std::string text = op_name(node.op->kind);
    for (const AttrText& a : attr_texts(*node.op->attrs)) text += " " + a.value;
    for (auto& r : node.op->results) text += r->type.to_string() + r->sharding.to_string();
    return hash_text(text);
  }

  bool alike(size_t i, size_t j) const {
    const ShardNode &a = nodes_[i], &b = nodes_[j];
    const Op &x = *a.op, &y = *b.op;
    if (x.kind != y.kind || a.cuts != b.cuts || a.seconds != b.seconds || !x.graphs.empty()) return false;
    if (x.num_operands() != y.num_operands() || x.num_results() != y.num_results() || !attrs_equal(*x.attrs, *y.attrs)) return false;
    for (int r = 0; r < x.num_results(); ++r)
      if (!alike(*x.result(r), *y.result(r))) return false;
    for (int k = 0; k < x.num_operands(); ++k)
      if (!connected_alike(x.operands[k], y.operands[k], j - i)) return false;
    return true;
  }
  bool alike(const Value& v, const Value& w) const {
    return v.type == w.type && v.sharding == w.sharding && v.is_output() == w.is_output() && pairs_.count(&v) == pairs_.count(&w);
  }
  // The same value, one made a period later, or one like it that is there from the start.
  bool connected_alike(const Value* v, const Value* w, size_t period) const {
    if (v == w) return true;
    if (!v || !w || !alike(*v, *w)) return false;
    auto a = v->def ? at_.find(v->def) : at_.end(), b = w->def ? at_.find(w->def) : at_.end();
    if (a == at_.end() || b == at_.end()) return a == b;
    return b->second == a->second + period && v->index == w->index;
  }

  const std::vector<ShardNode>& nodes_;
  const StatePairs& pairs_;
  std::unordered_map<const Op*, size_t> at_;
};

}  // namespace

Repeats find_repeats(const std::vector<ShardNode>& nodes, const StatePairs& pairs) { return RepeatFinder(nodes, pairs).run(); }

}  // namespace weft
