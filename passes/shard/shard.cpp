// shard: gives every value of the main graph the sharding in which its op computes it. Axis after axis of the mesh, a dynamic
// program over the ops in order: its state is the form (whole, cut along a dim, or waiting for a sum) of each value that
// is still needed, its cost the predicted time of ops and of the exchanges that bring operands into the form an op needs.
// States beyond kBeam are dropped, the slowest first.
#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "ir/base/check.h"
#include "passes/pass_manager.h"
#include "passes/shard/cost.h"
#include "passes/shard/forms.h"

namespace weft {

namespace {

constexpr size_t kBeam = 256;
// Forms of a value along one axis: a dim, or one of these.
using Form = int8_t;
constexpr Form kWhole = -1, kPartial = -2, kOpen = -3;  // open: a state, cut as its first reader wants it

struct Node {
  const Op* op;
  ShardingRule rule;                 // with the sizes that axes before left
  std::vector<int> cuts;             // factors that this axis may cut, and -1
  std::vector<double> seconds;       // parallel
};

class AxisSearch {
 public:
  AxisSearch(std::vector<Node>& nodes, const Graph& g, const ShardingCosts& costs, int64_t size) : nodes_(nodes), g_(g), costs_(costs), n_(size) {}

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

  // The state pairs: where the input's first reader decides its form.
  std::map<const Value*, const Value*> next_of;  // a state's input -> its output

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
    for (auto& [in, out] : next_of) last_[in] = nodes_.size();
  }
  bool tracked(const Value* v) const { return (v->def && !is_fixed(v)) || next_of.count(v); }
  void begin() {
    State s;
    for (auto& [in, out] : next_of) {
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
    if (from == kPartial) return to == kWhole ? costs_.all_reduce(bytes, n_) : costs_.reduce_scatter(bytes, n_);
    return to == kWhole ? costs_.all_gather(bytes, n_) : costs_.all_to_all(bytes / static_cast<double>(n_), n_);
  }
  static Form needed(const Node& node, int operand, int factor) {
    return factor < 0 ? kWhole : static_cast<Form>(node.rule.dim_of(node.rule.operands[operand], factor));
  }
  static Form given(const Node& node, int result, int factor) {
    if (factor < 0) return kWhole;
    if (node.rule.factors[factor].role == ShardingRule::Role::sum) return kPartial;
    return static_cast<Form>(node.rule.dim_of(node.rule.results[result], factor));
  }

  void advance(size_t i) {
    Node& node = nodes_[i];
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
    for (auto& [in, out] : next_of) {
      next.insert(out);
      int a = slot(in), b = slot(out);
      if (a >= 0 && b >= 0 && s.forms[a] != kOpen && s.forms[b] != s.forms[a]) t += exchange(out, s.forms[b], s.forms[a] == kWhole ? kWhole : s.forms[a]) +
                                                                                  (s.forms[b] == kWhole ? costs_.all_gather(costs_.bytes(*out), n_) : 0);
    }
    for (const Value* v : g_.outputs)
      if (int k = slot(v); k >= 0 && !next.count(v)) t += exchange(v, s.forms[k], kWhole);
    return t;
  }

  std::vector<Node>& nodes_;
  const Graph& g_;
  const ShardingCosts& costs_;
  int64_t n_;
  std::unordered_map<const Value*, size_t> last_;
  std::vector<const Value*> live_;
  std::vector<State> states_;
  std::vector<Trail> trails_;
};

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
  Sharder(Module& m, const PassContext& cx) : m_(m), cx_(cx), g_(*m.main()), costs_(m, cx.target) {
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
      if (size > 1) cut(axis, size);
  }

 private:
  void cut(const std::string& axis, int64_t size) {
    for (size_t i = 0; i < nodes_.size(); ++i) offer(nodes_[i], batch_[i], axis, size);
    AxisSearch search(nodes_, g_, costs_, size);
    search.next_of = pairs_;
    std::vector<int> factors = search.run();
    for (size_t i = 0; i < nodes_.size(); ++i) {
      int f = factors[i];
      if (f < 0) continue;
      Node& node = nodes_[i];
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
  void offer(Node& node, int batch, const std::string& axis, int64_t size) {
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
    node.seconds.clear();
    for (int f : node.cuts) node.seconds.push_back(costs_.seconds(*node.op, node.rule, f, size));
  }
  // Another axis has cut what is summed already: which factor the next one cuts would be open.
  static bool waits(const Node& node) { return !node.op->result()->sharding.partial.empty(); }

  Module& m_;
  const PassContext& cx_;
  Graph& g_;
  ShardingCosts costs_;
  std::vector<Node> nodes_;
  std::vector<int> batch_;
  std::map<const Value*, const Value*> pairs_;
};

}  // namespace

Result<bool> pass_shard(Module& m, PassContext& cx) {
  if (cx.mesh.size() <= 1 || !m.meshes.empty()) return false;
  m.meshes.push_back(cx.mesh);
  Sharder(m, cx).run();
  return true;
}

}  // namespace weft
