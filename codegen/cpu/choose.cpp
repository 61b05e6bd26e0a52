// choose_cpu: template and parameters for a spec, by an analytic model. Pure; nothing is timed.
#include <algorithm>
#include <utility>

#include "codegen/backend.h"
#include "codegen/cpu/attention_scratch.h"
#include "codegen/cpu/contraction_shape.h"

namespace weft {

namespace {

// Relative cost of one vector of accesses along an axis: how far memory order suits it.
double vector_cost(const KernelSpec& s, const SpecAxis& a, int lanes) {
  int64_t n = s.estimate(a.extent);
  double cost = 0;
  for (const SpecOperand& o : s.operands) {
    Dim lin = o.linear();
    const bool indirect = is_indirect(lin);
    auto c = lin.coefficient(a.name);
    if (!indirect && c && c->is(0)) cost += 0.3;
    else if (!indirect && c && c->is(1)) cost += 1;
    else if (!indirect && c && c->is(2) && !o.write && o.guards.empty()) cost += 3;  // two vectors, and every other lane
    else cost += o.write ? 2.0 * lanes : 1.2 * lanes;  // gathers and scatters go element by element
  }
  // Vectors that do not fill: tails run narrower.
  int64_t whole = n / lanes, left = n % lanes;
  if (lanes > 16) whole += std::exchange(left, left % (lanes / 4)) / (lanes / 4);
  double full = static_cast<double>(whole), tail = static_cast<double>(left);
  return cost * (full + tail * 0.7 + 0.3) / static_cast<double>(std::max<int64_t>(n, 1));
}

int widest_lanes(const KernelSpec& s, const Target& t) {
  int bytes = 1;
  auto see = [&](DType d) { bytes = std::max(bytes, is_float(d) && d != DType::f64 ? 4 : byte_size(d)); };
  for (const SpecOperand& o : s.operands) see(o.dtype);
  for (const SpecStage& st : s.stages)
    for (const ScalarInst& x : st.body.insts) see(x.type);
  return std::max(4, t.vector_bytes / bytes);
}

void choose_vector_axis(KernelSpec& s, const Target& target) {
  int lanes = widest_lanes(s, target);
  double best = 1e30;
  int pick = -1;
  for (size_t k = 0; k < s.axes.size(); ++k) {
    if (s.estimate(s.axes[k].extent) < 2) continue;
    if (s.ordered && s.axes[k].row && k + 1 < s.axes.size()) continue;  // it would move behind the others
    double c = vector_cost(s, s.axes[k], lanes);
    // Reducing along the vector needs a horizontal step at the end of each row.
    if (s.axes[k].row) c *= 1.0 + 8.0 / static_cast<double>(std::max<int64_t>(1, s.estimate(s.axes[k].extent)));
    s.runners_up.push_back("vec " + s.axes[k].name + " predicted " + std::to_string(c));
    if (c <= best) {
      best = c;
      pick = static_cast<int>(k);
    }
  }
  if (pick < 0) return;
  s.config.vec_axis = s.axes[pick].name;
  // The vector axis goes last in its group.
  SpecAxis a = s.axes[pick];
  s.axes.erase(s.axes.begin() + pick);
  size_t at = s.axes.size();
  if (!a.row)
    while (at > 0 && s.axes[at - 1].row) --at;
  s.axes.insert(s.axes.begin() + static_cast<long>(at), a);
}

void choose_tasks(KernelSpec& s) {
  constexpr double kGrain = 8192, kMostTasks = 256;  // elements of work that pay for handing out a task
  double work = 1;
  for (const SpecAxis& a : s.axes) work *= static_cast<double>(s.estimate(a.extent));
  double tasks = 1;
  for (const SpecAxis& a : s.axes) {
    if (a.row) continue;
    double n = static_cast<double>(s.estimate(a.extent)), each = work / tasks;
    if (each <= kGrain || tasks >= kMostTasks) break;
    if (each / n >= kGrain && tasks * n <= 4 * kMostTasks && a.name != s.config.vec_axis) {
      ++s.config.task_axes;
      tasks *= n;
      continue;
    }
    // Split in blocks: the last level of the task index.
    double per = each / n;  // work of one step along this axis
    int64_t block = std::max<int64_t>(1, static_cast<int64_t>(std::max(kGrain / per, n * tasks / kMostTasks)));
    if (a.name == s.config.vec_axis) block = (block + 63) / 64 * 64;
    s.config.task_block = block;
    break;
  }
}

// The task index: the first task_axes parallel axes, then blocks of the next one.
Dim loop_tasks(const KernelSpec& s) {
  Dim t(1);
  int64_t seen = 0;
  for (const SpecAxis& a : s.axes) {
    if (a.row) continue;
    if (seen < s.config.task_axes) t *= a.extent;
    else if (seen == s.config.task_axes && s.config.task_block > 0) t *= ceildiv(a.extent, Dim(s.config.task_block));
    ++seen;
  }
  return t;
}

}  // namespace

void choose_cpu(KernelSpec& spec, const Target& target, const SpecConfig* like, const Tuning* tuning) {
  if (choose_attention(spec, target)) return;
  if ((!like || like->name == "contraction") && choose_contraction(spec, target, like, tuning)) return;
  choose_vector_axis(spec, target);
  bool rows = std::any_of(spec.axes.begin(), spec.axes.end(), [](const SpecAxis& a) { return a.row; });
  spec.config.unroll = rows ? 4 : 1;
  choose_tasks(spec);
  spec.tasks = loop_tasks(spec);
}

Dim scratch_cpu(const KernelSpec& spec) {
  if (spec.config.name == "attention") return Dim(4 * attention_scratch(spec, *attention_axes(spec)).total);
  if (spec.config.name != "contraction") return Dim(0);
  auto shape = contraction_shape(spec, spec.config.swap, spec.config.lines);
  return shape ? contraction_scratch(spec, *shape).total : Dim(0);
}

}  // namespace weft
