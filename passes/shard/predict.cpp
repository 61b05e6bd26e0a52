#include "passes/shard/predict.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "ir/base/text.h"
#include "ir/ops/collective.h"
#include "passes/schedule/timeline.h"
#include "passes/shard/forms.h"

namespace weft {

double Prediction::sum(const std::vector<Part>& parts) {
  double s = 0;
  for (const Part& p : parts) s += p.seconds;
  return s;
}

namespace {

void count(std::vector<Prediction::Part>& parts, const std::string& what, int64_t ops, double seconds, double bytes) {
  auto it = std::find_if(parts.begin(), parts.end(), [&](auto& p) { return p.what == what; });
  if (it == parts.end()) it = parts.insert(it, Prediction::Part{what});
  it->ops += ops;
  it->seconds += seconds;
  it->bytes += bytes;
}

// Of one graph.
class Predictor {
 public:
  Predictor(const Module& m, const Graph& g, const ShardingCosts& costs) : m_(m), g_(g), costs_(costs) {}

  Prediction run(bool beside) {
    Timeline t(costs_);
    for (auto& op : g_.ops) {
      if (is_fixed(*op)) continue;
      add(*op);
      if (beside) t.add(*op);
    }
    if (beside) p_.hidden_s = (1 - Timeline::kBeside) * (t.exchanging() - t.exposed());
    find_states();
    for (const Value* v : weights_) p_.weight_bytes += costs_.bytes(*v);
    p_.activation_bytes = most_alive();
    return std::move(p_);
  }

 private:
  void add(const Op& op) {
    for (const Value* v : op.operands)
      if (v && !v->known && is_fixed(v)) weights_.insert(v);
    const Family family = op_def(op).family;
    if (family == Family::collective) return add_exchange(op);
    p_.flops += costs_.flops(op);
    if (has_trait(op, kViewLike)) return;
    const char* what = family == Family::contraction ? "products" : family == Family::attention ? "attention" : "other";
    count(p_.compute, what, 1, costs_.seconds(op), 0);
  }

  void add_exchange(const Op& op) {
    if (op.kind == OpKind::send) return;  // whoever receives it waits for it
    const auto call = collective_call(op);
    const std::string axes = op.kind == OpKind::recv ? kStageAxis : call.ok() ? join(call->axes, ",") : "";
    count(p_.exchanges, std::string(op_name(op.kind)) + " " + axes, 1, costs_.exchange_seconds(op), costs_.exchange_bytes(op));
  }

  void find_states() {
    for (const State& s : m_.states) {
      if (s.graph != g_.name) continue;
      for (size_t i = 0; i < g_.outputs.size(); ++i) {
        if (g_.output_names[i] != s.output) continue;
        p_.state_bytes += costs_.bytes(*g_.outputs[i]) * (s.kind == State::Kind::append ? 1 : 2);
        in_states_.insert(root(g_.outputs[i]));
      }
      for (auto& in : g_.inputs)
        if (in->name == s.input) in_states_.insert(in.get());
    }
  }

  // The value whose memory a view is of.
  static const Value* root(const Value* v) {
    while (v->def && has_trait(*v->def, kViewLike) && v->def->operands[0]) v = v->def->operands[0];
    return v;
  }
  bool takes_memory(const Value* v) const { return !is_fixed(v) && !in_states_.count(v); }

  double most_alive() const {
    std::unordered_map<const Value*, const Op*> last;  // null: until the end
    for (auto& op : g_.ops)
      for (const Value* v : op->operands)
        if (v) last[root(v)] = op.get();
    for (const Value* v : g_.outputs) last[root(v)] = nullptr;
    double now = 0, most = 0;
    for (auto& in : g_.inputs)
      if (takes_memory(in.get())) now += costs_.bytes(*in);
    for (auto& op : g_.ops) {
      std::set<const Value*> ends;
      for (auto& r : op->results)
        if (root(r.get()) == r.get() && takes_memory(r.get())) {
          now += costs_.bytes(*r);
          if (!last.count(r.get())) ends.insert(r.get());
        }
      most = std::max(most, now);
      for (const Value* v : op->operands)
        if (v && last.at(root(v)) == op.get() && takes_memory(root(v)) && root(v)->def) ends.insert(root(v));
      for (const Value* v : ends) now -= costs_.bytes(*v);
    }
    return std::max(most, now);
  }

  const Module& m_;
  const Graph& g_;
  const ShardingCosts& costs_;
  Prediction p_;
  std::set<const Value*> weights_, in_states_;
};

}  // namespace

Prediction predict(const Module& m, const ShardingCosts& costs, bool beside, int64_t microbatches) {
  if (!is_pipeline(m)) return Predictor(m, *m.main(), costs).run(beside);
  Prediction all;
  double slowest = 0;
  for (auto& g : m.graphs) {
    Prediction p = Predictor(m, *g, costs).run(beside);
    p.state_bytes *= static_cast<double>(microbatches);
    slowest = std::max(slowest, p.seconds());
    for (const Prediction::Part& part : p.compute) count(all.compute, part.what, part.ops, part.seconds, part.bytes);
    for (const Prediction::Part& part : p.exchanges) count(all.exchanges, part.what, part.ops, part.seconds, part.bytes);
    all.flops += p.flops;
    all.hidden_s += p.hidden_s;
    if (p.bytes() <= all.bytes()) continue;
    all.weight_bytes = p.weight_bytes;
    all.state_bytes = p.state_bytes;
    all.activation_bytes = p.activation_bytes;
  }
  all.waves_s = slowest * static_cast<double>(microbatches - 1);
  return all;
}

}  // namespace weft
