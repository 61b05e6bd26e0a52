// grid_sample: positions are loaded from the grid, in f64 as the evaluator has them; every element that takes part is one
// load at a computed index, clamped into the input.
#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/ops/resample.h"

namespace weft {

namespace {
constexpr int64_t kMostTaps = 64;  // elements per result

// One element along one dim: where it is, its weight, and whether it is there at all (not a padding zero).
struct GridTap {
  Dim element;
  S weight, inside;
};
struct GridAxis {
  SpecBuilder& r;
  const GridSampleAttrs& a;
  S length;  // f64

  S literal(double v) const { return length.lit(v); }
  S low() const { return literal(a.align_corners ? 0 : -0.5); }
  S high() const { return a.align_corners ? length - 1.0 : length - 0.5; }
  S clamped(S v) const { return max(min(v, length - 1.0), literal(0)); }
  S inside(S v) const { return le(low(), v).bin(Prim::bit_and, le(v, high())); }

  // Mirrored at the borders until it is between them.
  S reflected(S v) const {
    S range = high() - low(), below = lt(v, low()), over = select(below, low() - v, v - high());
    S n = (over / range).un(Prim::trunc), rest = over - n * range;
    S even = eq(n.bin(Prim::rem, literal(2)), literal(0));
    S from_low = eq(below, even);
    S there = select(lt(literal(0), range), select(from_low, low() + rest, high() - rest), low());
    return select(inside(v), v, there);
  }
  S position(S g) const {
    S v = a.align_corners ? (g + 1.0) / 2.0 * (length - 1.0) : ((g + 1.0) * length - 1.0) / 2.0;
    v = select(lt(literal(-1e9), v), min(v, literal(1e9)), literal(-1e9));  // NaN, too: far outside
    if (a.mode == "nearest") v = v.un(Prim::round);
    if (a.padding_mode == "border") return select(inside(v), v, clamped(v));
    return a.padding_mode == "reflection" ? reflected(v) : v;
  }
  GridTap tap(S at, S weight) const {
    S there = le(literal(0), at).bin(Prim::bit_and, lt(at, length));
    S e = a.padding_mode == "reflection" ? select(there, at, reflected(at).un(Prim::trunc)) : at;
    return {r.as_index(clamped(e).cast(DType::i64).id), weight, there};
  }
  std::vector<GridTap> taps(S g) const {
    S v = position(g);
    if (a.mode == "nearest") return {tap(v.un(Prim::trunc), literal(1))};
    S f = v.un(Prim::floor), t = v - f;
    if (a.mode == "linear") return {tap(f, 1.0 - t), tap(f + 1.0, t)};
    constexpr double A = -0.75;
    auto inner = [](S d) { return (d * (A + 2) - (A + 3)) * d * d + 1.0; };
    auto outer = [](S d) { return ((d * A - 5 * A) * d + 8 * A) * d - 4 * A; };
    return {tap(f - 1.0, outer(t + 1.0)), tap(f, inner(t)), tap(f + 1.0, inner(1.0 - t)), tap(f + 2.0, outer(2.0 - t))};
  }
};
}  // namespace

Result<int> rule_grid_sample(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value *x = op.operands[0], *grid = op.operands[1];
  const GridSampleAttrs& a = op.attr<GridSampleAttrs>();
  Shape spatial(x->type.shape.begin() + 2, x->type.shape.end());
  size_t rank = spatial.size();
  DType t = is_float(x->type.dtype) ? wide_float(x->type.dtype) : DType::f64;
  std::vector<std::vector<GridTap>> taps;
  int64_t count = 1;
  for (size_t d = 0; d < rank; ++d) {
    Index at(idx.begin(), idx.end());
    at.erase(at.begin() + 1);
    at.push_back(Dim(static_cast<int64_t>(rank - 1 - d)));  // the innermost dim comes first
    TRY_ASSIGN(int g, r.emit(grid, at));
    GridAxis axis{r, a, r.at(r.index_value(spatial[d])).cast(DType::f64)};
    taps.push_back(axis.taps(r.at(g).cast(DType::f64)));
    count *= static_cast<int64_t>(taps.back().size());
    if (count > kMostTaps) return r.refuse(op, "grid_sample of " + std::to_string(rank) + " spatial dims");
  }
  S sum{nullptr, -1};
  for (int64_t n = 0; n < count; ++n) {
    Index at{idx[0], idx[1]};
    S weight{nullptr, -1}, inside{nullptr, -1};
    int64_t rest = n;
    for (const std::vector<GridTap>& axis : taps) {
      const GridTap& tap = axis[rest % static_cast<int64_t>(axis.size())];
      rest /= static_cast<int64_t>(axis.size());
      at.push_back(tap.element);
      weight = weight.p ? weight * tap.weight : tap.weight;
      inside = inside.p ? inside.bin(Prim::bit_and, tap.inside) : tap.inside;
    }
    TRY_ASSIGN(int v, r.guarded(not_empty(spatial), 0, x->type.dtype, [&] { return r.emit(x, at); }));
    S term = r.at(v).cast(t) * weight.cast(t);
    if (a.padding_mode == "zeros") term = select(inside, term, term.lit(0));
    sum = sum.p ? sum + term : term;
  }
  return sum.cast(op.result()->type.dtype).id;
}

}  // namespace weft
