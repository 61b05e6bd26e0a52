#include "passes/shard/plan_mesh.h"

#include <algorithm>
#include <cmath>

#include "ir/base/text.h"
#include "ir/core/builder.h"
#include "passes/shard/forms.h"

namespace weft {

namespace {

// Dim 0 of the inputs; null where there is none.
const Dim* batch_dim(const Module& m) {
  for (auto& in : m.main()->inputs)
    if (in->type.is_ranked() && in->type.rank() > 0) return &in->type.shape[0];
  return nullptr;
}

// Weights of experts: a batch of matrices. The first one's number of experts; 0: there are none.
int64_t experts_of(const Module& m) {
  for (auto& op : m.main()->ops) {
    const Value* w = op->kind == OpKind::contract ? op->operands[1] : nullptr;
    if (!w || w->type.rank() != 3 || !w->type.shape[0].is_const() || !is_fixed(w)) continue;
    const ShardingRule rule = rule_of(*op);
    const auto& first = rule.operands[1][0];
    if (!first.empty() && rule.dim_of(rule.results[0], first[0]) >= 0) return w->type.shape[0].value();
  }
  return 0;
}

// The axes of a mesh, the outermost first, and why one cannot have a size; empty: it can.
struct PlannedAxis {
  const char* name;
  std::string (*wrong)(const Module&, const ShardingCosts&, int64_t size);
};
constexpr PlannedAxis kAxes[] = {
    {"dp",
     [](const Module& m, const ShardingCosts& costs, int64_t size) {
       const auto batch = batch_dim(m) ? static_cast<int64_t>(costs.number(*batch_dim(m))) : 1;
       return batch >= size ? std::string() : "dp=" + std::to_string(size) + " for a batch of " + std::to_string(batch);
     }},
    {kStageAxis,
     [](const Module&, const ShardingCosts&, int64_t size) {
       return size <= kMaxStages ? std::string() : "there are at most " + std::to_string(kMaxStages) + " stages";
     }},
    {"ep",
     [](const Module& m, const ShardingCosts&, int64_t size) {
       const int64_t experts = size > 1 ? experts_of(m) : 1;
       if (experts == 0) return std::string("there are no experts for ep");
       return size == 1 || experts % size == 0 ? std::string() : "ep=" + std::to_string(size) + " does not divide " + std::to_string(experts) + " experts";
     }},
    {"tp", [](const Module&, const ShardingCosts&, int64_t) { return std::string(); }},
};
constexpr size_t kAxisCount = std::size(kAxes);
using Sizes = std::array<int64_t, kAxisCount>;

class MeshPlanner {
 public:
  MeshPlanner(const Module& m, const PassContext& cx, int64_t microbatches, MeshPlan& plan)
      : m_(m), cx_(cx), microbatches_(microbatches), plan_(plan) {}

  Status run(int64_t devices) {
    Sizes sizes;
    sizes.fill(1);
    TRY_ASSIGN(plan_.one, candidate(sizes));
    std::vector<Sizes> all;
    enumerate(all, sizes, 0, devices);
    std::stable_sort(all.begin(), all.end(), [&](const Sizes& a, const Sizes& b) { return at_least(a) < at_least(b); });
    double best = INFINITY;
    for (const Sizes& s : all) {
      MeshCandidate c{mesh_of(s), cannot_win(s, best), {}, true};
      if (c.impossible.empty()) {
        TRY_ASSIGN(c, candidate(s));
      }
      if (c.impossible.empty() && c.fits) best = std::min(best, c.prediction.seconds());
      plan_.candidates.push_back(std::move(c));
    }
    greedy();
    auto rank = [](const MeshCandidate& c) { return c.impossible.empty() ? (c.fits ? 0 : 1) : 2; };
    std::stable_sort(plan_.candidates.begin(), plan_.candidates.end(), [&](const MeshCandidate& a, const MeshCandidate& b) {
      if (rank(a) != rank(b)) return rank(a) < rank(b);
      return rank(a) == 1 ? a.prediction.bytes() < b.prediction.bytes() : a.prediction.seconds() < b.prediction.seconds();
    });
    return {};
  }

  // As the pass manager would, but for its checks.
  Status price(MeshCandidate& c) {
    if (cx_.cancel && cx_.cancel->load(std::memory_order_relaxed)) return error(Code::kCancelled, "planning was cancelled");
    std::unique_ptr<Module> m = m_.clone();
    const int64_t parts = c.mesh.axis_size(kStageAxis) > 1 ? microbatches_ : 1;
    if (parts > 1 && !divide_batch(*m, parts)) {
      c.impossible = "the batch does not go through a pipeline in " + std::to_string(parts) + " parts";
      return {};
    }
    PassContext cx;
    cx.target = cx_.target;
    cx.mesh = c.mesh;
    cx.devices = plan_.devices;
    for (const char* name : {"repeat-heads", "assign-stages", "shard", "overlap-collectives", "partition", "order-collectives"})
      for (const PassInfo& pass : list_passes()) {
        if (pass.name != name) continue;
        auto changed = pass.run(*m, cx);
        if (changed.ok()) continue;
        // What is asked of tensors, say, names an axis that this mesh lacks.
        c.impossible = changed.error().message;
        return {};
      }
    for (auto& g : m->graphs) remove_dead(*g);
    c.prediction = predict(*m, ShardingCosts(*m, plan_.devices, c.mesh), cx.target.backend == Backend::cuda, parts);
    c.fits = plan_.devices.memory_bytes == 0 || c.prediction.bytes() <= plan_.devices.memory_bytes;
    return {};
  }

 private:
  static Mesh mesh_of(const Sizes& sizes) {
    Mesh mesh;
    mesh.name = "mesh";
    for (size_t a = 0; a < kAxisCount; ++a)
      if (sizes[a] > 1) mesh.axes.emplace_back(kAxes[a].name, sizes[a]);
    return mesh;
  }

  static void enumerate(std::vector<Sizes>& out, Sizes sizes, size_t axis, int64_t left) {
    if (axis + 1 == kAxisCount) {
      sizes[axis] = left;
      out.push_back(sizes);
      return;
    }
    for (int64_t n = 1; n <= left; ++n) {
      if (left % n) continue;
      sizes[axis] = n;
      enumerate(out, sizes, axis + 1, left / n);
    }
  }

  // What one device computes, if it were shared out without loss. Of a pipeline as many stages are at work as there are parts.
  double at_least(const Sizes& sizes) const {
    double at_work = 1;
    for (size_t a = 0; a < kAxisCount; ++a)
      at_work *= static_cast<double>(kAxes[a].name == std::string_view(kStageAxis) ? std::min(sizes[a], microbatches_) : sizes[a]);
    return plan_.one.prediction.compute_seconds() / at_work;
  }
  // Every axis but dp may cut all weights.
  std::string cannot_win(const Sizes& sizes, double best) const {
    char text[64] = "";
    double parts = 1;
    for (size_t a = 1; a < kAxisCount; ++a) parts *= static_cast<double>(sizes[a]);
    const double weights = plan_.one.prediction.weight_bytes / parts;
    if (plan_.devices.memory_bytes > 0 && weights > plan_.devices.memory_bytes) return "does not fit: " + human_bytes(weights) + " of weights at least";
    if (at_least(sizes) > best) std::snprintf(text, sizeof text, "slower: %.4g ms at least", at_least(sizes) * 1e3);
    return text;
  }

  void greedy() {
    plan_.greedy = plan_.one;
    double least = INFINITY;
    for (const MeshCandidate& c : plan_.candidates) {
      const double ratio = c.impossible.empty() ? c.prediction.exchange_seconds() / c.prediction.compute_seconds() : INFINITY;
      if (ratio < least) plan_.greedy = c, least = ratio;
    }
  }

  Result<MeshCandidate> candidate(const Sizes& sizes) {
    MeshCandidate c;
    c.mesh = mesh_of(sizes);
    const ShardingCosts costs(m_, plan_.devices, c.mesh);
    for (size_t a = 0; a < kAxisCount && c.impossible.empty(); ++a) c.impossible = kAxes[a].wrong(m_, costs, sizes[a]);
    if (c.impossible.empty()) TRY(price(c));
    return c;
  }

  bool divide_batch(Module& m, int64_t parts) const {
    const Dim* d = batch_dim(m);
    if (!d || !d->is_symbol()) return false;
    const int64_t batch = plan_.symbols.at(d->symbol_name());
    m.symbols.find(d->symbol_name())->second.opt = batch / parts;
    return batch % parts == 0;
  }

  const Module& m_;
  const PassContext& cx_;
  int64_t microbatches_;
  MeshPlan& plan_;
};

}  // namespace

static Result<MeshPlan> empty_plan(const Module& m, const PassContext& cx, int64_t devices) {
  MeshPlan plan;
  plan.devices = devices_of(cx);
  if (devices < 1 || devices > plan.devices.devices())
    return usage(std::to_string(devices) + " devices of " + std::to_string(plan.devices.devices()) + " that " + plan.devices.name + " has");
  plan.symbols = ShardingCosts(m, plan.devices, {}).symbols();
  return plan;
}

Result<MeshPlan> plan_mesh(const Module& m, const PassContext& cx, int64_t devices, int64_t microbatches) {
  TRY_ASSIGN(MeshPlan plan, empty_plan(m, cx, devices));
  TRY(MeshPlanner(m, cx, microbatches, plan).run(devices));
  return plan;
}

Result<MeshCandidate> price_mesh(const Module& m, const PassContext& cx, int64_t microbatches) {
  TRY_ASSIGN(MeshPlan plan, empty_plan(m, cx, cx.mesh.size()));
  MeshCandidate c;
  c.mesh = cx.mesh;
  TRY(MeshPlanner(m, cx, microbatches, plan).price(c));
  return c;
}

}  // namespace weft
