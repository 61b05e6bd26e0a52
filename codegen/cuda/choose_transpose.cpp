// transpose_shape and choose_transpose.
#include <algorithm>

#include "codegen/cuda/transpose_shape.h"

namespace weft {

// The axis along which all results lie together; -1: there is none.
static int unit_axis_of_results(const KernelSpec& s) {
  for (size_t a = 0; a < s.axes.size(); ++a) {
    const auto& stores = s.stages[0].stores;
    auto unit = [&](int o) {
      auto c = s.operands[static_cast<size_t>(o)].linear().coefficient(s.axes[a].name);
      return c && c->is(1);
    };
    if (!stores.empty() && std::all_of(stores.begin(), stores.end(), unit)) return static_cast<int>(a);
  }
  return -1;
}

std::optional<TransposeShape> transpose_shape(const KernelSpec& s) {
  if (s.stages.size() != 1 || s.stages[0].kind != SpecStage::Kind::map) return std::nullopt;
  for (const SpecAxis& a : s.axes)
    if (a.row) return std::nullopt;
  TransposeShape t;
  t.write_axis = unit_axis_of_results(s);
  if (t.write_axis < 0) return std::nullopt;
  // The axis that most bytes lie along.
  int64_t most = 0;
  for (size_t a = 0; a < s.axes.size(); ++a) {
    if (static_cast<int>(a) == t.write_axis) continue;
    std::vector<int> operands;
    int64_t bytes = 0;
    for (const StageInput& in : s.stages[0].inputs) {
      if (in.kind != StageInput::Kind::load || std::count(operands.begin(), operands.end(), in.operand)) continue;
      const SpecOperand& o = s.operands[static_cast<size_t>(in.operand)];
      const Dim lin = o.linear();
      auto c = lin.coefficient(s.axes[a].name), across = lin.coefficient(s.axes[static_cast<size_t>(t.write_axis)].name);
      if (is_indirect(o) || !c || !c->is(1) || !across || across->is(0) || across->is(1)) continue;
      operands.push_back(in.operand);
      bytes += byte_size(o.dtype);
    }
    if (bytes <= most) continue;
    most = bytes;
    t.read_axis = static_cast<int>(a);
    t.operands = std::move(operands);
  }
  if (t.read_axis < 0) return std::nullopt;
  for (size_t a = 0; a < s.axes.size(); ++a)
    if (static_cast<int>(a) != t.write_axis && static_cast<int>(a) != t.read_axis) t.others.push_back(static_cast<int>(a));
  return t;
}

bool choose_transpose(KernelSpec& s) {
  constexpr int64_t kThreads = 256, kLanes = 32, kShared = 40 << 10, kLeast = 16, kWork = 1 << 15;
  auto t = transpose_shape(s);
  if (!t) return false;
  const SpecAxis &w = s.axes[static_cast<size_t>(t->write_axis)], &r = s.axes[static_cast<size_t>(t->read_axis)];
  const Dim points = w.extent * r.extent, others = s.extent_of(t->others);
  if (s.estimate(w.extent) < kLeast || s.estimate(r.extent) < kLeast || s.estimate(points * others) < kWork) return false;
  int64_t bytes = 0, largest = 0;
  for (int o : t->operands) bytes += byte_size(s.operands[static_cast<size_t>(o)].dtype);
  for (const SpecOperand& o : s.operands) largest = std::max<int64_t>(largest, byte_size(o.dtype));
  SpecConfig& c = s.config;
  c.name = "transpose";
  c.threads = kThreads;
  c.unroll = 1;
  c.vec_axis = w.name;
  // Four bytes a lane: narrower elements go two or four at once.
  c.width = std::max<int64_t>(1, 4 / largest);
  auto fits = [&] { return kLanes * c.width * (kLanes * c.width + 4) * bytes <= kShared; };
  auto even = [&](const Dim& n) { return !n.is_const() || n.value() % c.width == 0; };
  while (c.width > 1 && !(fits() && even(w.extent) && even(r.extent))) c.width /= 2;
  if (!fits()) return false;
  s.tasks = ceildiv(w.extent, Dim(kLanes * c.width)) * ceildiv(r.extent, Dim(kLanes * c.width)) * others;
  return true;
}

}  // namespace weft
