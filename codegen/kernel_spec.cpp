#include "codegen/kernel_spec.h"

#include <algorithm>
#include <set>

#include "codegen/attention.h"
#include "ir/base/check.h"
#include "ir/base/text.h"

namespace weft {

Dim SpecOperand::linear() const {
  Dim d = offset;
  for (size_t k = 0; k < index.size(); ++k) d += index[k] * strides[k];
  return d;
}

int64_t KernelSpec::estimate(const Dim& d) const {
  constexpr int64_t kTypicalDim = 64;
  if (d.is_const()) return d.value();
  SymbolValues v = typical;
  for (const std::string& s : d.symbols()) v.emplace(s, kTypicalDim);
  return std::max<int64_t>(1, d.eval(v).value_or(kTypicalDim));
}
int KernelSpec::axis(const std::string& name) const {
  for (size_t k = 0; k < axes.size(); ++k)
    if (axes[k].name == name) return static_cast<int>(k);
  return -1;
}
Dim KernelSpec::extent_of(std::span<const int> of) const {
  Dim n(1);
  for (int a : of) n *= axes[static_cast<size_t>(a)].extent;
  return n;
}

Dim with_params(const KernelSpec& s, const std::vector<Dim>& values, const Dim& d) {
  return d.substitute([&](const std::string& name) -> std::optional<Dim> {
    for (size_t k = 0; k < values.size(); ++k)
      if (s.params[k] == name) return values[k];
    return std::nullopt;
  });
}

DType SpecStage::result_type(size_t k) const {
  return kind == Kind::attend ? body.type(body.outputs[1]) : combine.type(combine.outputs[k]);
}

static int64_t arithmetic_of(const ScalarProgram& p) {
  int64_t n = 0;
  for (const ScalarInst& i : p.insts) n += i.prim == Prim::fma ? 2 : i.prim != Prim::input && i.prim != Prim::constant && i.prim != Prim::cast;
  return n;
}

bool has_reduction(const KernelSpec& s) {
  return std::any_of(s.stages.begin(), s.stages.end(), [](const SpecStage& st) { return st.results() > 0; });
}

Dim spec_flops(const KernelSpec& s) {
  if (auto axes = attention_axes(s)) return attention_flops(s, *axes);
  Dim rows = 1, points = 1, sum = 0;
  for (const SpecAxis& a : s.axes) {
    points = points * a.extent;
    if (!a.row) rows = rows * a.extent;
  }
  for (const SpecStage& st : s.stages)
    sum = sum + (st.kind == SpecStage::Kind::map_row ? rows : points) *
                    Dim(arithmetic_of(st.body) + arithmetic_of(st.combine));
  return sum;
}

static Dim replace(const Dim& d, const std::string& name, const Dim& by) {
  return d.substitute([&](const std::string& s) { return s == name ? std::optional<Dim>(by) : std::nullopt; });
}

static void replace_axis(KernelSpec& s, const std::string& name, const Dim& by) {
  for (SpecOperand& o : s.operands) {
    for (Dim& d : o.index) d = replace(d, name, by);
    o.offset = replace(o.offset, name, by);
    for (SpecGuard& g : o.guards) g.expr = replace(g.expr, name, by);
  }
  for (SpecStage& st : s.stages)
    for (StageInput& in : st.inputs) in.dim = replace(in.dim, name, by);
}

// True when `outer` and `inner` (its right neighbour) can become one axis: in every use the outer coefficient equals the
// inner's times the inner extent, and neither stands anywhere else than linearly in the address.
static bool can_merge(const KernelSpec& s, const SpecAxis& outer, const SpecAxis& inner) {
  if (outer.row != inner.row || outer.inner != inner.inner) return false;
  for (const SpecOperand& o : s.operands) {
    for (const SpecGuard& g : o.guards)
      if (g.expr.contains(outer.name) || g.expr.contains(inner.name)) return false;
    Dim lin = o.linear();
    auto a = lin.coefficient(outer.name), b = lin.coefficient(inner.name);
    if (!a || !b || *a != *b * inner.extent) return false;
  }
  for (const SpecStage& st : s.stages)
    for (const StageInput& in : st.inputs)
      if (in.dim.contains(outer.name) || in.dim.contains(inner.name)) return false;
  return true;
}

Dim simplify_index(const Dim& d, const std::vector<SpecAxis>& axes) {
  if (!d.expr()) return d;
  SymbolTable ranges;
  for (const SpecAxis& a : axes) {
    SymbolInfo info;
    info.hi = a.extent.is_const() ? a.extent.value() - 1 : INT64_MAX;
    ranges[a.name] = info;
  }
  Dim sum(d.expr()->constant);
  for (const DimTerm& t : d.expr()->terms) {
    Dim p(t.coef);
    for (const DimAtom& a : t.atoms) {
      if (a.fn == DimFn::symbol) {
        p *= Dim::symbol(a.name);
        continue;
      }
      Dim x = simplify_index(a.args[0], axes), y = simplify_index(a.args[1], axes);
      Interval rx = range_of(x, ranges);
      if ((a.fn == DimFn::floordiv || a.fn == DimFn::mod) && y.is_const() && y.value() > 0 && rx.lo >= 0 && rx.hi < y.value()) {
        p *= a.fn == DimFn::mod ? x : Dim(0);
      } else if (a.fn == DimFn::floordiv) {
        p *= floordiv(x, y);
      } else if (a.fn == DimFn::mod) {
        p *= mod(x, y);
      } else {
        bool ge = known_ge(x, y, ranges), le = known_ge(y, x, ranges);
        if (ge || le) p *= (a.fn == DimFn::min) == le ? x : y;
        else p *= a.fn == DimFn::min ? min(x, y) : max(x, y);
      }
    }
    sum += p;
  }
  return sum;
}

// The largest c by which an index divides the axis, where c divides its extent; 1: none.
static int64_t divisor_of(const Dim& d, const SpecAxis& axis) {
  int64_t most = 1;
  if (!d.expr() || !axis.extent.is_const()) return most;
  for (const DimTerm& t : d.expr()->terms)
    for (const DimAtom& a : t.atoms) {
      if (a.fn != DimFn::floordiv && a.fn != DimFn::mod) continue;
      if (a.args[0] != Dim::symbol(axis.name) || !a.args[1].is_const() || a.args[1].value() <= most) continue;
      const int64_t c = a.args[1].value();
      if (axis.extent.value() % c == 0 && c < axis.extent.value()) most = c;
    }
  return most;
}

void split_axes(KernelSpec& s) {
  for (size_t k = 0; k < s.axes.size();) {
    int64_t c = 1;
    for (const SpecOperand& o : s.operands) c = std::max(c, divisor_of(o.linear(), s.axes[k]));
    if (c == 1) {
      ++k;
      continue;
    }
    SpecAxis outer = s.axes[k], inner = s.axes[k];
    outer.name += "o";
    outer.extent = Dim(s.axes[k].extent.value() / c);
    inner.name += "i";
    inner.extent = Dim(c);
    Dim by = Dim::symbol(outer.name) * Dim(c) + Dim::symbol(inner.name);
    std::string name = s.axes[k].name;
    s.axes[k] = inner;
    s.axes.insert(s.axes.begin() + static_cast<long>(k), outer);
    replace_axis(s, name, by);
    for (SpecOperand& o : s.operands) {
      for (Dim& d : o.index) d = simplify_index(d, s.axes);
      o.offset = simplify_index(o.offset, s.axes);
    }
  }
}

void collapse_axes(KernelSpec& s) {
  const bool attends = std::any_of(s.stages.begin(), s.stages.end(), [](const SpecStage& st) { return st.kind == SpecStage::Kind::attend; });
  for (size_t k = 0; k < s.axes.size();) {
    if (s.axes[k].extent.is(1) && !(attends && s.axes[k].row)) {
      replace_axis(s, s.axes[k].name, Dim(0));
      s.axes.erase(s.axes.begin() + static_cast<long>(k));
    } else {
      ++k;
    }
  }
  for (size_t k = s.axes.size(); k-- > 1;) {
    SpecAxis &outer = s.axes[k - 1], &inner = s.axes[k];
    if (!can_merge(s, outer, inner)) continue;
    // One axis named like the inner one remains; what other axes and indirections add moves to the offset.
    for (SpecOperand& o : s.operands) {
      Dim rest, lin = o.linear();
      Dim coef = *lin.coefficient(inner.name, &rest);
      Dim others;
      rest.coefficient(outer.name, &others);
      o.index = {Dim::symbol(inner.name)};
      o.strides = {coef};
      o.offset = others;
    }
    inner.extent = outer.extent * inner.extent;
    s.axes.erase(s.axes.begin() + static_cast<long>(k - 1));
  }
}

// The stage that stores to operand w; -1: there is none, or more than one.
static int storing_stage(const KernelSpec& s, int w) {
  int found = -1;
  for (size_t k = 0; k < s.stages.size(); ++k)
    if (std::count(s.stages[k].stores.begin(), s.stages[k].stores.end(), w) > 0) {
      if (found >= 0) return -1;
      found = static_cast<int>(k);
    }
  return found;
}
static int last_loading_stage(const KernelSpec& s, int o) {
  for (size_t k = s.stages.size(); k-- > 0;)
    for (const StageInput& in : s.stages[k].inputs)
      if (in.kind == StageInput::Kind::load && in.operand == o) return static_cast<int>(k);
  return -1;
}
static bool loaded_by_sum(const KernelSpec& s, int o) {
  for (const StageInput& in : s.stages[0].inputs)
    if (in.kind == StageInput::Kind::load && in.operand == o) return s.stages[0].results() > 0;
  return false;
}

std::vector<std::pair<int, int>> in_place_pairs(const KernelSpec& s) {
  std::vector<std::pair<int, int>> out;
  auto of_ptr = [&](int ptr) { return std::count_if(s.operands.begin(), s.operands.end(), [&](const SpecOperand& o) { return o.ptr == ptr; }); };
  for (size_t w = 0; w < s.operands.size(); ++w) {
    const SpecOperand& to = s.operands[w];
    int stores = to.write && of_ptr(to.ptr) == 1 ? storing_stage(s, static_cast<int>(w)) : -1;
    if (stores < 0) continue;
    Dim place = to.linear();
    if (is_indirect(place)) continue;  // by a value that is read
    std::set<int> fits, unfit;
    for (size_t r = 0; r < s.operands.size(); ++r) {
      const SpecOperand& from = s.operands[r];
      if (r == w) continue;
      // A blocked sum reads its factors again after other results are stored.
      bool factor = s.config.name != "loops" && loaded_by_sum(s, static_cast<int>(r));
      bool same = !from.write && !from.tile && !factor && byte_size(from.dtype) == byte_size(to.dtype) && from.linear() == place;
      bool before = last_loading_stage(s, static_cast<int>(r)) <= stores;
      (same && before ? fits : unfit).insert(from.ptr);
    }
    for (int ptr : fits)
      if (!unfit.count(ptr)) out.emplace_back(ptr, to.ptr);
  }
  return out;
}

}  // namespace weft
