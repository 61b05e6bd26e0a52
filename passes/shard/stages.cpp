// assign-stages: cuts the main graph into the stages of a pipeline, one for each rank along the mesh's axis "pp": runs of ops
// in their order, so that the slowest stage, with what it receives, is as fast as it can be. What follows from inputs and
// small constants alone (masks, positions) belongs to no stage: every one that needs it computes it.
//
// Where nodes have stages already (Module::given), those hold.
//
// Not cut: between the first use of a state and the value that becomes the next one, since its memory is one stage's; where a
// value crosses whose dims only data decide.
#include <algorithm>
#include <cmath>
#include <set>

#include "passes/pass_manager.h"
#include "passes/shard/cost.h"
#include "passes/shard/forms.h"

namespace weft {

namespace {

constexpr int64_t kLightBytes = 1 << 16;  // of a constant that every stage may hold
constexpr size_t kMaxCuts = 1024;         // that are looked at: those that the least crosses

class Stages {
 public:
  Stages(Module& m, const PassContext& cx, const DeviceTable& devices)
      : m_(m), g_(*m.main()), costs_(m, devices, cx.mesh), links_(costs_.group({kStageAxis})), count_(static_cast<int>(cx.mesh.axis_size(kStageAxis))) {}

  Status run() {
    if (!m_.given.stages.empty()) return keep_given();
    for (const State& s : m_.states)
      for (auto& in : g_.inputs)
        if (s.graph == g_.name && in->name == s.input) states_[in.get()] = &s;
    for (auto& op : g_.ops)
      if (!is_light(*op)) {
        place_[op.get()] = ops_.size();
        ops_.push_back(op.get());
      }
    if (ops_.size() < static_cast<size_t>(count_)) return too_few(ops_.size());
    find_crossings();
    return cut();
  }

 private:
  // Each op belongs to the last stage of the nodes that it comes of, what has none to that of what it reads.
  Status keep_given() {
    for (auto& [node, stage] : m_.given.stages)
      if (stage >= count_)
        return usage("stage " + std::to_string(stage) + " of a pipeline of " + std::to_string(count_)).with_hint("give --pp as many").at_node(node);
    for (auto& op : g_.ops) {
      if (is_fixed(*op)) continue;
      int given = -1, read = -1;
      for (const std::string& node : op->provenance)
        if (auto it = m_.given.stages.find(node); it != m_.given.stages.end()) given = std::max(given, it->second);
      for (const Value* v : op->operands)
        if (v && v->def) read = std::max(read, v->def->stage);
      if (given >= 0 && given < read)
        return unsupported("given to stage " + std::to_string(given) + ", it reads what stage " + std::to_string(read) + " computes")
            .at_node(op->describe());
      op->stage = given >= 0 ? given : read;
    }
    return {};
  }
  // Ops come in order.
  bool is_light(const Op& op) {
    if (is_fixed(op)) return true;
    if (op_def(op).family == Family::contraction || !op.graphs.empty() || has_trait(op, kNondeterministic)) return false;
    if (!std::all_of(op.operands.begin(), op.operands.end(), [&](const Value* v) { return !v || is_light(v); })) return false;
    light_.insert(&op);
    return true;
  }
  bool is_light(const Value* v) const {
    if (is_fixed(v)) return costs_.bytes(*v) <= kLightBytes;
    return v->def ? light_.count(v->def) != 0 : !states_.count(v);
  }

  // Seconds that it takes to send what crosses each cut: cut p lies before op p; infinite where none may be.
  void find_crossings() {
    crossing_.assign(ops_.size() + 1, 0);
    auto over = [&](size_t from, size_t to, double seconds) {
      for (size_t p = from + 1; p <= to; ++p) crossing_[p] += seconds;
    };
    for (size_t i = 0; i < ops_.size(); ++i)
      for (auto& r : ops_[i]->results) {
        size_t last = i;
        for (const Use& u : r->uses)
          if (auto it = place_.find(u.op); it != place_.end()) last = std::max(last, it->second);
        if (last > i) over(i, last, can_cross(*r) ? links_.permute(costs_.bytes(*r)) : INFINITY);
      }
    for (auto& [in, state] : states_) {
      size_t first = ops_.size(), last = 0;
      auto note = [&](const Op* op) {
        auto it = place_.find(op);
        if (it == place_.end()) return;
        first = std::min(first, it->second);
        last = std::max(last, it->second);
      };
      for (const Use& u : in->uses) note(u.op);
      for (size_t k = 0; k < g_.outputs.size(); ++k)
        if (g_.output_names[k] == state->output && g_.outputs[k]->def) note(g_.outputs[k]->def);
      if (first < last) over(first, last, INFINITY);
    }
  }
  bool can_cross(const Value& v) const {
    return v.type.is_ranked() && v.type.dtype != DType::str && inputs_decide(g_, v.type.shape);
  }

  // best[k][j]: of the first k stages, which end at cut j.
  Status cut() {
    std::vector<double> until{0};  // seconds of the ops before each
    for (const Op* op : ops_) until.push_back(until.back() + costs_.seconds(*op, rule_of(*op), -1, 1));
    std::vector<size_t> cuts = candidates();
    if (cuts.size() < static_cast<size_t>(count_) + 1) return too_few(cuts.size() - 1);
    struct Best {
      double slowest = INFINITY, crossed = INFINITY;
      size_t from = 0;
      bool operator<(const Best& o) const { return slowest != o.slowest ? slowest < o.slowest : crossed < o.crossed; }
    };
    std::vector<std::vector<Best>> best(static_cast<size_t>(count_) + 1, std::vector<Best>(cuts.size()));
    best[0][0] = {0, 0, 0};
    for (size_t k = 1; k < best.size(); ++k)
      for (size_t j = k; j < cuts.size(); ++j)
        for (size_t i = k - 1; i < j; ++i) {
          const double received = crossing_[cuts[i]];
          const Best& before = best[k - 1][i];
          Best b{std::max(before.slowest, until[cuts[j]] - until[cuts[i]] + received), before.crossed + received, i};
          if (b < best[k][j]) best[k][j] = b;
        }
    size_t end = cuts.size() - 1;
    for (size_t k = best.size() - 1; k > 0; --k) {
      const size_t begin = best[k][end].from;
      for (size_t p = cuts[begin]; p < cuts[end]; ++p) ops_[p]->stage = static_cast<int>(k) - 1;
      end = begin;
    }
    return {};
  }
  std::vector<size_t> candidates() const {
    std::vector<size_t> cuts;
    for (size_t p = 1; p < ops_.size(); ++p)
      if (std::isfinite(crossing_[p])) cuts.push_back(p);
    if (cuts.size() > kMaxCuts) {
      std::nth_element(cuts.begin(), cuts.begin() + kMaxCuts, cuts.end(), [&](size_t a, size_t b) { return crossing_[a] < crossing_[b]; });
      cuts.resize(kMaxCuts);
      std::sort(cuts.begin(), cuts.end());
    }
    cuts.insert(cuts.begin(), 0);
    cuts.push_back(ops_.size());
    return cuts;
  }
  Error too_few(size_t most) const {
    Error e = unsupported("the model cannot be cut into " + std::to_string(count_) + " stages of a pipeline: it has ops for " + std::to_string(most));
    return e.with_hint("a smaller pp"), e;
  }

  Module& m_;
  Graph& g_;
  ShardingCosts costs_;
  LinkGroup links_;
  int count_;
  std::map<const Value*, const State*> states_;
  std::set<const Op*> light_;
  std::vector<Op*> ops_;  // of stages
  std::map<const Op*, size_t> place_;
  std::vector<double> crossing_;
};

}  // namespace

Result<bool> pass_assign_stages(Module& m, PassContext& cx) {
  if (cx.mesh.axis_size(kStageAxis) <= 1 || !m.meshes.empty()) return false;
  const DeviceTable devices = devices_of(cx);
  TRY(Stages(m, cx, devices).run());
  return true;
}

}  // namespace weft
