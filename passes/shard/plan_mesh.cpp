#include "passes/shard/plan_mesh.h"

#include <algorithm>
#include <map>

namespace weft {

namespace {

// Dim 0 of the inputs; 1 where there is none.
double batch_of(const Module& m, const ShardingCosts& costs) {
  for (auto& in : m.main()->inputs)
    if (in->type.is_ranked() && in->type.rank() > 0) return costs.number(in->type.shape[0]);
  return 1;
}

// The axes of a mesh, the outermost first, and why one cannot have a size; empty: it can.
struct PlannedAxis {
  const char* name;
  std::string (*wrong)(const Module&, const ShardingCosts&, int64_t size);
};
constexpr PlannedAxis kAxes[] = {
    {"dp",
     [](const Module& m, const ShardingCosts& costs, int64_t size) {
       const auto batch = static_cast<int64_t>(batch_of(m, costs));
       return batch % size == 0 ? std::string() : "dp=" + std::to_string(size) + " does not divide a batch of " + std::to_string(batch);
     }},
    {"tp", [](const Module&, const ShardingCosts&, int64_t) { return std::string(); }},
};
constexpr size_t kAxisCount = std::size(kAxes);
using Sizes = std::array<int64_t, kAxisCount>;

class MeshPlanner {
 public:
  MeshPlanner(const Module& m, const PassContext& cx, MeshPlan& plan) : m_(m), cx_(cx), plan_(plan) {}

  Status run(int64_t devices) {
    Sizes sizes;
    sizes.fill(1);
    TRY_ASSIGN(plan_.one, candidate(sizes));
    TRY(enumerate(sizes, 0, devices));
    TRY(greedy(sizes, devices));
    auto rank = [](const MeshCandidate& c) { return c.impossible.empty() ? (c.fits ? 0 : 1) : 2; };
    std::stable_sort(plan_.candidates.begin(), plan_.candidates.end(), [&](const MeshCandidate& a, const MeshCandidate& b) {
      if (rank(a) != rank(b)) return rank(a) < rank(b);
      return rank(a) == 1 ? a.prediction.bytes() < b.prediction.bytes() : a.prediction.seconds() < b.prediction.seconds();
    });
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

  Status enumerate(Sizes sizes, size_t axis, int64_t left) {
    if (axis + 1 == kAxisCount) {
      sizes[axis] = left;
      TRY_ASSIGN(MeshCandidate c, candidate(sizes));
      plan_.candidates.push_back(std::move(c));
      return {};
    }
    for (int64_t n = 1; n <= left; ++n) {
      if (left % n) continue;
      sizes[axis] = n;
      TRY(enumerate(sizes, axis + 1, left / n));
    }
    return {};
  }

  Status greedy(Sizes sizes, int64_t devices) {
    std::vector<int64_t> primes;
    for (int64_t p = 2; devices > 1; ++p)
      for (; devices % p == 0; devices /= p) primes.push_back(p);
    for (auto p = primes.rbegin(); p != primes.rend(); ++p) {
      std::optional<Sizes> best;
      double least = 0;
      for (size_t a = 0; a < kAxisCount; ++a) {
        Sizes next = sizes;
        next[a] *= *p;
        TRY_ASSIGN(MeshCandidate c, candidate(next));
        if (!c.impossible.empty()) continue;
        const double ratio = c.prediction.exchange_seconds() / c.prediction.compute_seconds();
        if (!best || ratio < least) best = next, least = ratio;
      }
      if (best) sizes = *best;
    }
    TRY_ASSIGN(plan_.greedy, candidate(sizes));
    return {};
  }

  Result<MeshCandidate> candidate(const Sizes& sizes) {
    auto [it, added] = seen_.try_emplace(sizes);
    MeshCandidate& c = it->second;
    if (!added) return c;
    c.mesh = mesh_of(sizes);
    const ShardingCosts costs(m_, plan_.devices, c.mesh);
    for (size_t a = 0; a < kAxisCount && c.impossible.empty(); ++a) c.impossible = kAxes[a].wrong(m_, costs, sizes[a]);
    if (!c.impossible.empty()) return c;
    std::unique_ptr<Module> m = m_.clone();
    PassContext cx;
    cx.target = cx_.target;
    cx.cancel = cx_.cancel;
    cx.mesh = c.mesh;
    cx.devices = plan_.devices;
    PipelineOptions o;
    o.passes = {"shard", "partition"};
    TRY(run_pipeline(*m, cx, o));
    c.prediction = predict(*m, ShardingCosts(*m, plan_.devices, c.mesh));
    c.fits = plan_.devices.memory_bytes == 0 || c.prediction.bytes() <= plan_.devices.memory_bytes;
    return c;
  }

  const Module& m_;
  const PassContext& cx_;
  MeshPlan& plan_;
  std::map<Sizes, MeshCandidate> seen_;
};

}  // namespace

Result<MeshPlan> plan_mesh(const Module& m, const PassContext& cx, int64_t devices) {
  MeshPlan plan;
  plan.devices = cx.devices ? *cx.devices : default_devices(cx.target);
  if (devices < 1 || devices > plan.devices.devices())
    return usage(std::to_string(devices) + " devices of " + std::to_string(plan.devices.devices()) + " that " + plan.devices.name + " has");
  plan.symbols = ShardingCosts(m, plan.devices, {}).symbols();
  TRY(MeshPlanner(m, cx, plan).run(devices));
  return plan;
}

}  // namespace weft
