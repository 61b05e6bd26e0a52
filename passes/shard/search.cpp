// A dynamic program over the ops in order: its state is the form (whole, cut along a dim, or waiting for a sum) of each value
// that is still needed, its cost the predicted time of ops and of the exchanges that bring operands into the form an op
// needs. States beyond kBeam are dropped, the slowest first.
//
// Of blocks that repeat (layers), the first, the second and the last are searched. The second stands for all between: it counts
// as often, leaves values in the forms in which it found them, and what it decides, they do.
#include "passes/shard/search.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "passes/shard/repeats.h"

namespace weft {

namespace {

constexpr size_t kBeam = 256;
// Forms of a value along one axis: a dim, or one of these.
using Form = int8_t;
constexpr Form kWhole = -1, kPartial = -2, kOpen = -3;  // open: a state, cut as its first reader wants it

class AxisSearch {
 public:
  AxisSearch(const std::vector<ShardNode>& nodes, const Graph& g, const StatePairs& pairs, const ShardingCosts& costs, const LinkGroup& links,
             Repeats repeats)
      : nodes_(nodes), pairs_(pairs), costs_(costs), links_(links), repeats_(repeats), settled_(nodes.size()) {
    for (size_t i = 0; i < nodes.size(); ++i) index_[nodes[i].op] = i;
    find_last_uses(g);
  }

  // Which factor every node cuts; nothing where blocks cannot repeat in this way.
  std::optional<std::vector<int>> run() {
    states_ = {{}};
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (stands_for(i) != i) continue;
      if (repeats_.count && i == middle()) enter();
      advance(i);
      if (repeats_.count && i + 1 == middle() + repeats_.period) leave();
      if (states_.empty()) return std::nullopt;
    }
    const State& best = *std::min_element(states_.begin(), states_.end(), [](auto& a, auto& b) { return a.seconds < b.seconds; });
    std::vector<int> out(nodes_.size(), -1);
    int at = best.trail;
    for (size_t i = nodes_.size(); i-- > 0;) {
      if (stands_for(i) != i) continue;
      out[i] = trails_[at].factor;
      at = trails_[at].before;
    }
    for (size_t i = 0; i < nodes_.size(); ++i) out[i] = out[stands_for(i)];
    return out;
  }

 private:
  struct Trail {
    int before, factor;
  };
  struct State {
    std::vector<Form> forms;    // parallel to live_
    std::vector<Form> entered;  // forms at the entry of the block that stands for others
    double seconds = 0;
    int trail = -1;
  };
  using Key = std::pair<std::vector<Form>, std::vector<Form>>;

  size_t middle() const { return repeats_.begin + repeats_.period; }
  // The node whose decision this one shares.
  size_t stands_for(size_t i) const {
    if (!repeats_.count || i < middle() || i >= repeats_.end() - repeats_.period) return i;
    return middle() + (i - middle()) % repeats_.period;
  }
  double times(size_t i) const {
    return repeats_.count && i >= middle() && i < middle() + repeats_.period ? static_cast<double>(repeats_.count - 2) : 1;
  }
  // The value of the node that stands for its own.
  const Value* image(const Value* v) const {
    auto it = v && v->def ? index_.find(v->def) : index_.end();
    return it == index_.end() ? v : nodes_[stands_for(it->second)].op->result(v->index);
  }
  bool tracked(const Value* v) const { return v && ((v->def && !is_fixed(v)) || pairs_.count(v)); }

  // Until when values are needed. What leaves the graph is brought into its form as soon as no op needs it any more.
  void find_last_uses(const Graph& g) {
    std::unordered_map<const Value*, size_t>& last = ends_;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (stands_for(i) != i) continue;
      for (const Value* v : nodes_[i].op->operands)
        if (tracked(image(v))) last[image(v)] = i;
      for (auto& r : nodes_[i].op->results)
        if (r->is_output() && tracked(r.get())) last.try_emplace(r.get(), i);
    }
    std::set<const Value*> next;
    for (auto& [in, out] : pairs_) {
      next.insert(out);
      if (!last.count(in) || !last.count(out)) continue;
      size_t& end = last[in] = last[out] = std::max(last[in], last[out]);
      settled_[end].push_back({in, out});
    }
    for (const Value* v : std::set<const Value*>(g.outputs.begin(), g.outputs.end()))
      if (auto it = last.find(v); it != last.end() && !next.count(v)) settled_[it->second].push_back({nullptr, v});
  }
  int slot(const Value* v) const {
    auto it = std::find(live_.begin(), live_.end(), v);
    return it == live_.end() ? -1 : static_cast<int>(it - live_.begin());
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
    if (pending_reduction(node.rule.factors[factor].role)) return kPartial;
    return static_cast<Form>(node.rule.dim_of(node.rule.results[result], factor));
  }
  // Outputs are whole, but for those that are the next state of an input that is not.
  double settle(const Value* out, Form form, Form state) const {
    if (state == kOpen) return form == kPartial ? exchange(out, form, kWhole) : 0;
    if (form == state) return 0;
    return exchange(out, form, state) + (form == kWhole && state != kWhole ? links_.all_gather(costs_.bytes(*out)) : 0);
  }

  void advance(size_t i) {
    const ShardNode& node = nodes_[i];
    // Results and states that are first read here come alive behind what is at hand.
    std::vector<int> slots;
    for (const Value* operand : node.op->operands) {
      const Value* v = image(operand);
      if (tracked(v) && slot(v) < 0 && !v->def) {
        live_.push_back(v);
        for (State& s : states_) s.forms.push_back(kOpen);
      }
      slots.push_back(tracked(v) ? slot(v) : -1);
    }
    std::vector<int> fresh;
    for (int r = 0; r < node.op->num_results(); ++r)
      if (tracked(node.op->result(r)) && ends_.count(node.op->result(r))) {
        fresh.push_back(r);
        live_.push_back(node.op->result(r));
      }
    std::vector<size_t> kept;
    std::vector<const Value*> live;
    for (size_t k = 0; k < live_.size(); ++k)
      if (ends_.at(live_[k]) > i) {
        kept.push_back(k);
        live.push_back(live_[k]);
      }
    std::map<Key, State> next;
    for (const State& s : states_)
      for (size_t c = 0; c < node.cuts.size(); ++c) {
        State t = s;
        step(t, i, c, slots, fresh);
        std::vector<Form> forms;
        for (size_t k : kept) forms.push_back(t.forms[k]);
        auto [it, added] = next.try_emplace({forms, t.entered});
        if (!added && it->second.seconds <= t.seconds) continue;
        t.trail = static_cast<int>(trails_.size());
        trails_.push_back({s.trail, node.cuts[c]});
        t.forms = std::move(forms);
        it->second = std::move(t);
      }
    live_ = std::move(live);
    states_.clear();
    for (auto& [key, s] : next) states_.push_back(std::move(s));
    if (states_.size() <= kBeam) return;
    std::nth_element(states_.begin(), states_.begin() + kBeam, states_.end(), [](const State& a, const State& b) { return a.seconds < b.seconds; });
    states_.resize(kBeam);
  }

  // One choice of an op: its operands' forms and its results', and the time.
  void step(State& t, size_t i, size_t choice, const std::vector<int>& slots, const std::vector<int>& fresh) const {
    const ShardNode& node = nodes_[i];
    const int factor = node.cuts[choice];
    double seconds = node.seconds[choice];
    for (size_t k = 0; k < slots.size(); ++k) {
      if (slots[k] < 0) continue;
      Form want = needed(node, static_cast<int>(k), factor), &now = t.forms[slots[k]];
      seconds += exchange(node.op->operands[k], now, want);
      if (now != kWhole) now = want;  // from a whole value every part can be cut again
    }
    for (int r : fresh) t.forms.push_back(given(node, r, factor));
    for (auto& [in, out] : settled_[i]) seconds += settle(out, t.forms[slot(out)], in ? t.forms[slot(in)] : kWhole);
    t.seconds += seconds * times(i);
  }

  void enter() {
    entered_ = live_;
    for (State& s : states_) s.entered = s.forms;
  }
  // Values that were alive then are in the forms that their likes of a block later have now.
  void leave() {
    std::vector<State> steady;
    for (State& s : states_) {
      bool same = entered_.size() == live_.size();
      for (size_t k = 0; same && k < live_.size(); ++k) {
        auto it = live_[k]->def ? index_.find(live_[k]->def) : index_.end();
        const bool made_here = it != index_.end() && it->second >= middle() && it->second < middle() + repeats_.period;
        const Value* before = made_here ? nodes_[it->second - repeats_.period].op->result(live_[k]->index) : live_[k];
        auto at = std::find(entered_.begin(), entered_.end(), before);
        same = at != entered_.end() && s.entered[static_cast<size_t>(at - entered_.begin())] == s.forms[k];
      }
      s.entered.clear();
      if (same) steady.push_back(std::move(s));
    }
    states_ = std::move(steady);
  }

  const std::vector<ShardNode>& nodes_;
  const StatePairs& pairs_;
  const ShardingCosts& costs_;
  const LinkGroup& links_;
  Repeats repeats_;
  std::unordered_map<const Op*, size_t> index_;
  std::unordered_map<const Value*, size_t> ends_;
  std::vector<std::vector<std::pair<const Value*, const Value*>>> settled_;  // behind a node: state or null, output
  std::vector<const Value*> live_, entered_;
  std::vector<State> states_;
  std::vector<Trail> trails_;
};

}  // namespace

std::vector<int> search_axis(const std::vector<ShardNode>& nodes, const Graph& g, const StatePairs& pairs, const ShardingCosts& costs, const LinkGroup& links) {
  const Repeats repeats = find_repeats(nodes, pairs);
  if (repeats.count)
    if (auto found = AxisSearch(nodes, g, pairs, costs, links, repeats).run()) return *found;
  return *AxisSearch(nodes, g, pairs, costs, links, {}).run();
}

}  // namespace weft
