#include "codegen/split_reduction.h"

#include <algorithm>

namespace weft {

namespace {

// Elements of a row that is split, and of its parts.
struct Least {
  int64_t row, part;
};
constexpr Least kAlong{1 << 15, 2048}, kAcross{1 << 10, 64};
constexpr int64_t kColumns = 64;  // rows that lie beside each other and that one part of a device takes together
constexpr const char* kPart = "part";

// Reductions that read memory alone, in types that memory holds exactly; then stages once per point.
bool suits(const KernelSpec& s) {
  bool reduces = false, maps = false;
  for (const SpecStage& st : s.stages) {
    if (st.kind == SpecStage::Kind::map) return false;
    if (st.kind == SpecStage::Kind::map_row) {
      maps = true;
      continue;
    }
    if (maps) return false;
    reduces = true;
    for (const StageInput& in : st.inputs)
      if (in.kind == StageInput::Kind::acc) return false;
    for (int o : st.body.outputs) {
      const DType t = st.body.type(o);
      if (t != DType::f32 && t != DType::f64 && t != DType::b1 && (!is_int(t) || is_subbyte(t))) return false;
    }
  }
  return reduces && maps && s.axis(kPart) < 0;
}

// How many parts, and of which row axis: the most up to `parts` that divide it.
std::pair<int, int64_t> parts_of(const KernelSpec& s, int64_t parts, const Least& least) {
  int64_t rows = 1;
  for (const SpecAxis& a : s.axes)
    if (a.row) rows *= std::max<int64_t>(1, s.estimate(a.extent));
  parts = std::min(parts, rows / least.part);
  std::pair<int, int64_t> best{-1, 1};
  for (size_t a = 0; a < s.axes.size(); ++a) {
    if (!s.axes[a].row) continue;
    for (int64_t n = parts; n > best.second; --n)
      if (mod(s.axes[a].extent, Dim(n)).is(0)) best = {static_cast<int>(a), n};
  }
  return best;
}

// Whether rows lie beside each other, none of them lying together. What all points read alike does not count.
bool lies_across(const KernelSpec& s) {
  bool across = false;
  for (const SpecOperand& o : s.operands) {
    const Dim place = o.linear();
    const bool alike = std::none_of(s.axes.begin(), s.axes.end(), [&](const SpecAxis& a) { return !a.row && place.contains(a.name); });
    if (o.write || alike) continue;
    for (const SpecAxis& a : s.axes) {
      auto c = place.coefficient(a.name);
      if (!c || !c->is(1)) continue;
      if (a.row) return false;
      across = true;
    }
  }
  return across;
}

Dim place(const Dim& d, const std::string& axis, const Dim& by) {
  return d.substitute([&](const std::string& n) { return n == axis ? std::optional<Dim>(by) : std::nullopt; });
}

// Keeps the operands that the stages use, and numbers them and their pointers anew; *ptrs: the whole's pointers, in order.
void keep_used(KernelSpec& s, std::vector<int>* ptrs) {
  std::vector<int> number(s.operands.size(), -1);
  std::vector<SpecOperand> kept;
  auto use = [&](int& o) {
    int& n = number[static_cast<size_t>(o)];
    if (n < 0) {
      n = static_cast<int>(kept.size());
      kept.push_back(s.operands[static_cast<size_t>(o)]);
    }
    o = n;
  };
  for (SpecStage& st : s.stages) {
    for (StageInput& in : st.inputs)
      if (in.kind == StageInput::Kind::load) use(in.operand);
    for (int& o : st.stores) use(o);
  }
  for (SpecOperand& o : kept) {
    auto it = std::find(ptrs->begin(), ptrs->end(), o.ptr);
    if (it == ptrs->end()) it = ptrs->insert(ptrs->end(), o.ptr);
    o.ptr = static_cast<int>(it - ptrs->begin());
  }
  s.operands = std::move(kept);
  s.num_ptrs = static_cast<int>(ptrs->size());
}

}  // namespace

std::optional<SplitReduction> split_reduction(const KernelSpec& s, int64_t parts) {
  if (!suits(s)) return std::nullopt;
  int64_t points = 1, rows = 1;
  for (const SpecAxis& a : s.axes) (a.row ? rows : points) *= std::max<int64_t>(1, s.estimate(a.extent));
  const bool across = lies_across(s);
  const Least& least = across ? kAcross : kAlong;
  if (across) parts *= kColumns;
  if (rows < least.row || points >= parts / 2) return std::nullopt;
  auto [axis, n] = parts_of(s, parts / points, least);
  if (axis < 0 || n < 2) return std::nullopt;

  SplitReduction r;
  SpecAxis part;
  part.name = kPart;
  part.extent = Dim(n);
  r.first = r.second = s;
  // The first: row r of part p is p * extent / n + r.
  const std::string row = s.axes[static_cast<size_t>(axis)].name;
  const Dim length = floordiv(s.axes[static_cast<size_t>(axis)].extent, Dim(n)), by = Dim::symbol(kPart) * length + Dim::symbol(row);
  r.first.axes[static_cast<size_t>(axis)].extent = length;
  for (SpecOperand& o : r.first.operands) {
    for (Dim& d : o.index) d = place(d, row, by);
    o.offset = place(o.offset, row, by);
    for (SpecGuard& g : o.guards)
      for (Dim* d : {&g.expr, &g.lo, &g.hi}) *d = place(*d, row, by);
  }
  for (SpecStage& st : r.first.stages)
    for (StageInput& in : st.inputs) in.dim = place(in.dim, row, by);
  std::erase_if(r.first.stages, [](const SpecStage& st) { return st.kind != SpecStage::Kind::reduce; });
  std::erase_if(r.second.axes, [](const SpecAxis& a) { return a.row; });
  auto first_row = std::find_if(r.first.axes.begin(), r.first.axes.end(), [](const SpecAxis& a) { return a.row; });
  r.first.axes.insert(first_row, part);

  // A partial tensor for each accumulator, over the parallel axes and the parts, in the order in which rows lie.
  SpecOperand partial;
  auto partial_dim = [&](const SpecAxis& a) {
    partial.index.push_back(Dim::symbol(a.name));
    r.dims.push_back(a.extent);
  };
  if (across) partial_dim(part);
  for (const SpecAxis& a : r.second.axes) partial_dim(a);
  if (!across) partial_dim(part);
  partial.strides.assign(r.dims.size(), Dim(1));
  for (size_t k = r.dims.size() - 1; k-- > 0;) partial.strides[k] = partial.strides[k + 1] * r.dims[k + 1];
  part.row = true;
  r.second.axes.push_back(part);
  SpecStage store;
  store.kind = SpecStage::Kind::map_row;
  for (size_t k = 0; k < r.first.stages.size(); ++k) {
    SpecStage& again = r.second.stages[k];
    again.inputs.clear();
    std::vector<int> outputs = again.body.outputs;
    ScalarProgram whole = std::exchange(again.body, {});
    for (size_t a = 0; a < outputs.size(); ++a) {
      const DType t = whole.type(outputs[a]);
      partial.name = "partial" + std::to_string(r.partials.size());
      partial.dtype = t;
      partial.ptr = -1 - static_cast<int>(r.partials.size());
      r.partials.push_back(t);
      StageInput acc, load;
      acc.kind = StageInput::Kind::acc;
      acc.stage = static_cast<int>(k);
      acc.output = static_cast<int>(a);
      store.body.outputs.push_back(store.body.input(static_cast<int>(store.inputs.size()), t));
      store.inputs.push_back(acc);
      partial.write = true;
      store.stores.push_back(static_cast<int>(r.first.operands.size()));
      r.first.operands.push_back(partial);
      partial.write = false;
      load.operand = static_cast<int>(r.second.operands.size());
      r.second.operands.push_back(partial);
      again.body.outputs.push_back(again.body.input(static_cast<int>(a), t));
      again.inputs.push_back(load);
    }
  }
  r.first.stages.push_back(std::move(store));
  keep_used(r.first, &r.first_ptrs);
  keep_used(r.second, &r.second_ptrs);
  return r;
}

}  // namespace weft
