// A dynamic program over the ops in order: its state is the form (whole, cut along a dim, or waiting for a sum) of each value
// that is still needed, its cost the predicted time of ops and of the exchanges that bring operands into the form an op
// needs. States beyond kBeam are dropped, the slowest first.
#include "passes/shard/search.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

namespace weft {

namespace {

constexpr size_t kBeam = 256;
// Forms of a value along one axis: a dim, or one of these.
using Form = int8_t;
constexpr Form kWhole = -1, kPartial = -2, kOpen = -3;  // open: a state, cut as its first reader wants it

class AxisSearch {
 public:
  AxisSearch(const std::vector<ShardNode>& nodes, const Graph& g, const StatePairs& pairs, const ShardingCosts& costs, const LinkGroup& links)
      : nodes_(nodes), g_(g), pairs_(pairs), costs_(costs), links_(links) {}

  // Which factor every node cuts.
  std::vector<int> run() {
    find_last_uses();
    begin();
    for (size_t i = 0; i < nodes_.size(); ++i) advance(i);
    size_t best = 0;
    double least = INFINITY;
    for (size_t s = 0; s < states_.size(); ++s)
      if (double t = states_[s].seconds + at_the_end(states_[s]); t < least) {
        least = t;
        best = s;
      }
    std::vector<int> out(nodes_.size(), -1);
    int at = states_[best].trail;
    for (size_t i = nodes_.size(); i-- > 0;) {
      out[i] = trails_[at].factor;
      at = trails_[at].before;
    }
    return out;
  }

 private:
  struct Trail {
    int before, factor;
  };
  struct State {
    std::vector<Form> forms;  // parallel to live_
    double seconds = 0;
    int trail = -1;
  };

  void find_last_uses() {
    for (size_t i = 0; i < nodes_.size(); ++i)
      for (const Value* v : nodes_[i].op->operands)
        if (v) last_[v] = i;
    for (const Value* v : g_.outputs) last_[v] = nodes_.size();
    for (auto& [in, out] : pairs_) last_[in] = nodes_.size();
  }
  bool tracked(const Value* v) const { return (v->def && !is_fixed(v)) || pairs_.count(v); }
  void begin() {
    State s;
    for (auto& [in, out] : pairs_) {
      live_.push_back(in);
      s.forms.push_back(kOpen);
    }
    states_ = {s};
    trails_.clear();
  }
  int slot(const Value* v) const {
    for (size_t k = 0; k < live_.size(); ++k)
      if (live_[k] == v) return static_cast<int>(k);
    return -1;
  }

  // Time to bring v from one form into another.
  double exchange(const Value* v, Form from, Form to) const {
    if (from == to || from == kWhole || from == kOpen) return 0;
    double bytes = costs_.bytes(*v);  // of all that the ranks of this axis hold together
    if (from == kPartial) return to == kWhole ? links_.all_reduce(bytes) : links_.reduce_scatter(bytes);
    return to == kWhole ? links_.all_gather(bytes) : links_.all_to_all(bytes / static_cast<double>(links_.size()));
  }
  static Form needed(const ShardNode& node, int operand, int factor) {
    return factor < 0 ? kWhole : static_cast<Form>(node.rule.dim_of(node.rule.operands[operand], factor));
  }
  static Form given(const ShardNode& node, int result, int factor) {
    if (factor < 0) return kWhole;
    if (node.rule.factors[factor].role == ShardingRule::Role::sum) return kPartial;
    return static_cast<Form>(node.rule.dim_of(node.rule.results[result], factor));
  }

  void advance(size_t i) {
    const ShardNode& node = nodes_[i];
    std::vector<int> slots;
    for (const Value* v : node.op->operands) slots.push_back(v && tracked(v) ? slot(v) : -1);
    // Who is still alive behind this op: of those at hand, and of its results.
    std::vector<int> kept;
    std::vector<const Value*> live;
    for (size_t k = 0; k < live_.size(); ++k)
      if (last_.at(live_[k]) > i) {
        kept.push_back(static_cast<int>(k));
        live.push_back(live_[k]);
      }
    std::vector<int> fresh;
    for (int r = 0; r < node.op->num_results(); ++r) {
      const Value* v = node.op->result(r);
      auto it = last_.find(v);
      if (it == last_.end() || !tracked(v)) continue;
      fresh.push_back(r);
      live.push_back(v);
    }
    std::map<std::vector<Form>, State> next;
    for (const State& s : states_)
      for (size_t c = 0; c < node.cuts.size(); ++c) {
        State t = s;
        int factor = node.cuts[c];
        t.seconds += node.seconds[c];
        for (size_t k = 0; k < slots.size(); ++k) {
          if (slots[k] < 0) continue;
          Form want = needed(node, static_cast<int>(k), factor), &now = t.forms[slots[k]];
          t.seconds += exchange(node.op->operands[k], now, want);
          if (now != kWhole) now = want;  // from a whole value every part can be cut again
        }
        std::vector<Form> forms;
        for (int k : kept) forms.push_back(t.forms[k]);
        for (int r : fresh) forms.push_back(given(node, r, factor));
        auto [it, added] = next.try_emplace(forms);
        if (!added && it->second.seconds <= t.seconds) continue;
        t.trail = static_cast<int>(trails_.size());
        trails_.push_back({s.trail, factor});
        t.forms = std::move(forms);
        it->second = std::move(t);
      }
    live_ = std::move(live);
    states_.clear();
    for (auto& [forms, s] : next) states_.push_back(std::move(s));
    if (states_.size() <= kBeam) return;
    std::nth_element(states_.begin(), states_.begin() + kBeam, states_.end(), [](const State& a, const State& b) { return a.seconds < b.seconds; });
    states_.resize(kBeam);
  }

  // Outputs are whole, but for those that are the next state of an input that is not.
  double at_the_end(const State& s) const {
    double t = 0;
    std::set<const Value*> next;
    for (auto& [in, out] : pairs_) {
      next.insert(out);
      int a = slot(in), b = slot(out);
      if (a >= 0 && b >= 0 && s.forms[a] != kOpen && s.forms[b] != s.forms[a]) t += exchange(out, s.forms[b], s.forms[a] == kWhole ? kWhole : s.forms[a]) +
                                                                                  (s.forms[b] == kWhole ? links_.all_gather(costs_.bytes(*out)) : 0);
    }
    for (const Value* v : g_.outputs)
      if (int k = slot(v); k >= 0 && !next.count(v)) t += exchange(v, s.forms[k], kWhole);
    return t;
  }

  const std::vector<ShardNode>& nodes_;
  const Graph& g_;
  const StatePairs& pairs_;
  const ShardingCosts& costs_;
  const LinkGroup& links_;
  std::unordered_map<const Value*, size_t> last_;
  std::vector<const Value*> live_;
  std::vector<State> states_;
  std::vector<Trail> trails_;
};

}  // namespace

std::vector<int> search_axis(const std::vector<ShardNode>& nodes, const Graph& g, const StatePairs& pairs, const ShardingCosts& costs, const LinkGroup& links) {
  return AxisSearch(nodes, g, pairs, costs, links).run();
}

}  // namespace weft
