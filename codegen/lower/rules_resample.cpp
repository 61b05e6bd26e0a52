// resize and affine_grid. A resize reads a few elements per dim around a position that is computed per result; the
// arithmetic of positions and weights is that of the evaluator, in f64.
#include <cmath>

#include "codegen/lower/rules.h"
#include "ir/base/check.h"
#include "ir/core/op_def.h"
#include "ir/ops/resample.h"

namespace weft {

namespace {
constexpr int64_t kMostUnrolled = 16;  // elements per result; more are a reduction

// One resized dim at one result.
struct Position {
  SpecBuilder& r;
  const ResizeOptions& a;
  const ResizeAxis& x;
  Dim o;

  S number(const Dim& d) const { return r.at(r.index_value(d)).cast(DType::f64); }
  S literal(double v) const { return r.at(r.program().constant(DType::f64, v)); }
  S scale() const { return x.scale > 0 ? literal(x.scale) : number(x.out) / number(x.in); }

  S source() const {
    using C = ResizeOptions::Coordinates;
    S at = number(o), in = number(x.in), width = scale() * in, alone = eq(width, literal(1)), half_pixel = (at + 0.5) / scale() - 0.5;
    switch (a.coordinates) {
      case C::asymmetric: return at / scale();
      case C::align_corners: return select(alone, literal(0), at * (in - 1.0) / (width - 1.0));
      case C::tf_half_pixel_for_nn: return (at + 0.5) / scale();
      case C::tf_crop_and_resize: {
        S extent = (in - 1.0) * (x.roi_end - x.roi_begin);
        return (in - 1.0) * x.roi_begin + select(alone, extent / 2.0, at * extent / (width - 1.0));
      }
      case C::pytorch_half_pixel: return select(alone, literal(-0.5), half_pixel);
      case C::half_pixel_symmetric: return in / 2.0 * (1.0 - number(x.out) / width) + half_pixel;
      case C::half_pixel: return half_pixel;
    }
    UNREACHABLE();
  }
  Dim element(S whole) const {
    S last = number(x.in) - 1.0;
    return r.as_index(max(min(whole, last), literal(0)).cast(DType::i64).id);
  }
  Dim nearest() const {
    if (auto d = whole_factor()) return *d;
    S s = source();
    using N = ResizeOptions::Nearest;
    if (a.nearest == N::floor) return element(s.un(Prim::floor));
    if (a.nearest == N::ceil) return element(s.un(Prim::ceil));
    if (a.nearest == N::round_prefer_ceil) return element((s + 0.5).un(Prim::floor));
    return element((s - 0.5).un(Prim::ceil));
  }
  // Enlarging by a whole number: result o reads floor(o / n).
  std::optional<Dim> whole_factor() const {
    using O = ResizeOptions;
    bool rounds = a.coordinates == O::Coordinates::half_pixel &&
        (a.nearest == O::Nearest::round_prefer_floor || a.nearest == O::Nearest::round_prefer_ceil);
    bool floors = a.coordinates == O::Coordinates::asymmetric && a.nearest == O::Nearest::floor;
    if (!(rounds || floors) || x.scale < 1 || x.scale > 1e6 || x.scale != std::floor(x.scale)) return std::nullopt;
    if (x.in * Dim(static_cast<int64_t>(x.scale)) != x.out) return std::nullopt;
    return r.simplify(floordiv(o, Dim(static_cast<int64_t>(x.scale))));
  }
  S outside() const {
    S s = source();
    return lt(s, literal(0)).bin(Prim::bit_or, lt(number(x.in) - 1.0, s));
  }
};

struct Tap {
  Dim element;
  S weight;
};
}  // namespace

static S cubic_weight(double A, S d) {
  S inner = ((d * (A + 2)) - (A + 3)) * d * d + 1.0, outer = ((d * A - 5 * A) * d + 8 * A) * d - 4 * A;
  return select(le(d, d.lit(1)), inner, select(lt(d, d.lit(2)), outer, d.lit(0)));
}
// Element k (a literal, or a row axis) of those that a position reads.
static Tap tap_at(const Position& p, const Dim& k) {
  double scale = p.x.scale > 0 ? p.x.scale : 1;
  S source = p.source(), at = source.un(Prim::floor) + p.number(k + Dim(resize_taps(p.a, scale).first));
  S d = at - source;
  if (p.a.antialias && scale < 1) d = d * scale;
  d = d.un(Prim::abs);
  S w = p.a.mode == ResizeOptions::Mode::linear ? max(1.0 - d, d.lit(0)) : cubic_weight(p.a.cubic_coeff_a, d);
  if (p.a.exclude_outside) w = select(lt(at, at.lit(0)).bin(Prim::bit_or, le(p.number(p.x.in), at)), w.lit(0), w);
  return {p.element(at), w};
}

static Shape resized_dims(const std::vector<Position>& positions) {
  Shape dims;
  for (const Position& p : positions) dims.push_back(p.x.in);
  return dims;
}
// {sum of weight * x, sum of weights} in `t`, over taps given by one index per resized dim.
static Result<std::vector<int>> weighted(SpecBuilder& r, const Value* x, const std::vector<Position>& positions, const Index& taps, Index at,
    DType t) {
  S weight{nullptr, -1};
  for (size_t k = 0; k < positions.size(); ++k) {
    Tap tap = tap_at(positions[k], taps[k]);
    at[positions[k].x.axis] = tap.element;
    weight = weight.p ? weight * tap.weight : tap.weight;
  }
  TRY_ASSIGN(int v, r.guarded(not_empty(resized_dims(positions)), 0, x->type.dtype, [&] { return r.emit(x, at); }));
  S w = weight.cast(t);
  return std::vector<int>{(r.at(v).cast(t) * w).id, w.id};
}
static SpecBuilder::Reduction two_sums(DType t) {
  SpecBuilder::Reduction red;
  ScalarProgram& c = red.combine;
  c.outputs = {c.add(Prim::add, c.input(0, t), c.input(2, t)), c.add(Prim::add, c.input(1, t), c.input(3, t))};
  red.init = {0, 0};
  return red;
}

static Result<S> interpolated(SpecBuilder& r, const Op& op, const std::vector<Position>& positions, const Index& idx) {
  const Value* x = op.operands[0];
  const ResizeOptions& a = positions[0].a;
  DType t = is_float(x->type.dtype) ? wide_float(x->type.dtype) : DType::f64;
  Shape extents;
  int64_t count = 1;
  for (const Position& p : positions) {
    if (a.antialias && !(p.x.scale > 0)) return r.refuse(op, "an antialiased resize by a scale that only the data know");
    int64_t taps = resize_taps(a, p.x.scale > 0 ? p.x.scale : 1).count;
    extents.push_back(Dim(taps));
    count = std::min(count * taps, kMostUnrolled + 1);
  }
  std::vector<int> sums;
  if (count > kMostUnrolled) {
    TRY_ASSIGN(sums, r.reduce(SpecBuilder::key_of(op, "taps", idx), extents, two_sums(t),
        [&](const Index& row) { return weighted(r, x, positions, row, idx, t); }));
  } else {
    for (int64_t n = 0; n < count; ++n) {
      Index taps;
      int64_t rest = n;
      for (const Dim& e : extents) {
        taps.push_back(Dim(rest % e.value()));
        rest /= e.value();
      }
      TRY_ASSIGN(std::vector<int> term, weighted(r, x, positions, taps, idx, t));
      if (sums.empty()) sums = term;
      else for (int k : {0, 1}) sums[k] = r.program().add(Prim::add, sums[k], term[k]);
    }
  }
  // Without these the weights sum to one.
  bool uneven = a.exclude_outside || a.antialias;
  return uneven ? r.at(sums[0]) / r.at(sums[1]) : r.at(sums[0]);
}

Result<int> rule_resize(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* x = op.operands[0];
  DType t = x->type.dtype;
  TRY_ASSIGN(ResizeOptions a, resize_options(op.attr<ResizeAttrs>(), x->type.rank()));
  TRY_ASSIGN(std::vector<ResizeAxis> axes, resize_axes_of(op));
  std::vector<Position> positions;
  for (const ResizeAxis& axis : axes) positions.push_back({r, a, axis, idx[axis.axis]});
  if (axes.empty()) return r.emit(x, idx);
  S value{nullptr, -1};
  if (a.mode == ResizeOptions::Mode::nearest) {
    Index at = idx;
    Shape computed;  // dims that are read at an index that only the run knows
    for (const Position& p : positions) {
      at[p.x.axis] = p.nearest();
      if (!p.whole_factor()) computed.push_back(p.x.in);
    }
    TRY_ASSIGN(int v, r.guarded(not_empty(computed), 0, t, [&] { return r.emit(x, at); }));
    value = r.at(v);
  } else {
    TRY_ASSIGN(value, interpolated(r, op, positions, idx));
    if (is_int(t)) value = value.un(Prim::round);
  }
  value = value.cast(t);
  if (!a.crops() || t == DType::b1) return value.id;
  for (const Position& p : positions) value = select(p.outside(), value.lit(a.extrapolation_value), value);
  return value.id;
}

// The grid's number j at a position: row j of theta times the position, x first, and its last column.
Result<int> rule_affine_grid(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Value* theta = op.operands[0];
  const Shape& dims = op.result()->type.shape;
  size_t spatial = idx.size() - 2;
  DType t = wide_float(theta->type.dtype);
  bool corners = op.attr<AffineGridAttrs>().align_corners;
  auto number = [&](const Dim& d) { return r.at(r.index_value(d)).cast(DType::f64); };
  TRY_ASSIGN(int shift, r.emit(theta, {idx[0], idx.back(), Dim(static_cast<int64_t>(spatial))}));
  S sum = r.at(shift).cast(t);
  for (size_t c = 0; c < spatial; ++c) {
    S n = number(dims[spatial - c]), i = number(idx[spatial - c]);
    S at = corners ? select(lt(n.lit(1), n), i * 2.0 / (n - 1.0) - 1.0, n.lit(-1)) : (i * 2.0 + 1.0) / n - 1.0;
    TRY_ASSIGN(int f, r.emit(theta, {idx[0], idx.back(), Dim(static_cast<int64_t>(c))}));
    sum = sum + r.at(f).cast(t) * at.cast(t);
  }
  return sum.cast(op.result()->type.dtype).id;
}

}  // namespace weft
