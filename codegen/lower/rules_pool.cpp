// Pools: reductions over the window (or all of a plane) with guarded loads.
#include <limits>

#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/ops/pool.h"

namespace weft {

namespace {
// The window of the result at an index: where its elements lie for a row of kernel coordinates, and which of them do not
// lie in the padding.
struct PoolWindow {
  std::vector<WindowAxis> axes;
  Index idx;
  bool clipped;  // some windows reach outside
  Shape extents() const {
    Shape s;
    for (const WindowAxis& a : axes) s.push_back(a.kernel);
    return s;
  }
  Dim start(size_t k) const { return idx[k + 2] * Dim(axes[k].stride) - axes[k].pad_begin; }
  Index at(const Index& row) const {
    Index out{idx[0], idx[1]};
    for (size_t k = 0; k < axes.size(); ++k) out.push_back(start(k) + row[k] * Dim(axes[k].dilation));
    return out;
  }
  std::vector<SpecGuard> guards(const Index& row) const {
    std::vector<SpecGuard> g;
    for (size_t k = 0; k < axes.size() && clipped; ++k) g.push_back({start(k) + row[k] * Dim(axes[k].dilation), Dim(0), axes[k].in});
    return g;
  }
};
}  // namespace

static Result<PoolWindow> pool_window(const Op& op, const Index& idx, bool ceil_mode) {
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes_of(op));
  bool clipped = ceil_mode;
  for (const WindowAxis& a : axes) clipped = clipped || !a.pad_begin.is(0) || !a.pad_end.is(0);
  return PoolWindow{std::move(axes), idx, clipped};
}

static double lowest(DType t) { return is_float(t) ? -std::numeric_limits<double>::infinity() : static_cast<double>(int_min(t)); }

static Dim plane_offset(const Index& at, const Shape& dims) {
  Dim out(0);
  for (size_t k = 0; k < dims.size(); ++k) out = out * dims[k] + at[k];
  return out;
}
// The same element counted with the first spatial dim fastest.
static S by_column(SpecBuilder& r, S index, const Shape& dims) {
  auto size = [&](const Dim& d) { return r.at(r.index_value(d)); };
  S rest = index, out = index.lit(0), factor = index.lit(1);
  std::vector<S> digits;
  for (size_t k = dims.size(); k-- > 2;) {
    digits.push_back(rest.bin(Prim::rem, size(dims[k])));
    rest = rest / size(dims[k]);
  }
  for (size_t k = 2; k < dims.size(); ++k) {
    out = out + digits[dims.size() - 1 - k] * factor;
    factor = factor * size(dims[k]);
  }
  return rest * factor + out;
}
static Result<int> max_pool_index(SpecBuilder& r, const Op& op, const PoolWindow& w) {
  const Value* x = op.operands[0];
  DType t = wide_float(x->type.dtype);
  auto body = [&](const Index& row) -> Result<std::vector<int>> {
    Index at = w.at(row);
    TRY_ASSIGN(int v, r.guarded(w.guards(row), lowest(t), x->type.dtype, [&] { return r.emit(x, at); }));
    TRY_ASSIGN(int i, r.guarded(w.guards(row), -1, DType::i64, [&]() -> Result<int> { return r.index_value(plane_offset(at, x->type.shape)); }));
    return std::vector<int>{r.at(v).cast(t).id, i};
  };
  TRY_ASSIGN(std::vector<int> acc, r.reduce(SpecBuilder::key_of(op, "argmax", w.idx), w.extents(), arg_extreme(t, true, false), body));
  Index origin(w.idx.size(), Dim(0));
  origin[0] = w.idx[0];
  origin[1] = w.idx[1];
  S index = r.at(acc[1]), first = r.at(r.index_value(plane_offset(origin, x->type.shape)));
  index = select(lt(index, index.lit(0)), first, index);
  return op.attr<MaxPoolAttrs>().storage_order == 1 ? by_column(r, index, x->type.shape).id : index.id;
}
Result<int> rule_max_pool(SpecBuilder& r, const Op& op, int result, const Index& idx) {
  const Value* x = op.operands[0];
  TRY_ASSIGN(PoolWindow w, pool_window(op, idx, op.attr<MaxPoolAttrs>().ceil_mode));
  if (result == 1) return max_pool_index(r, op, w);
  DType t = wide_float(x->type.dtype);
  auto body = [&](const Index& row) -> Result<std::vector<int>> {
    TRY_ASSIGN(int v, r.guarded(w.guards(row), lowest(t), x->type.dtype, [&] { return r.emit(x, w.at(row)); }));
    return std::vector<int>{r.at(v).cast(t).id};
  };
  TRY_ASSIGN(std::vector<int> acc, r.reduce(SpecBuilder::key_of(op, "max", idx), w.extents(), SpecBuilder::maximum(t), body));
  return r.at(acc[0]).cast(op.result()->type.dtype).id;
}

// Sums map(x) over the window; what lies outside adds nothing.
static Result<S> window_sum(SpecBuilder& r, const Op& op, const PoolWindow& w, const std::function<S(S)>& map) {
  const Value* x = op.operands[0];
  DType t = wide_float(x->type.dtype);
  auto body = [&](const Index& row) -> Result<std::vector<int>> {
    TRY_ASSIGN(int v, r.guarded(w.guards(row), 0, x->type.dtype, [&] { return r.emit(x, w.at(row)); }));
    return std::vector<int>{map(r.at(v).cast(t)).id};
  };
  TRY_ASSIGN(std::vector<int> acc, r.reduce(SpecBuilder::key_of(op, "sum", w.idx), w.extents(), SpecBuilder::sum(t), body));
  return r.at(acc[0]);
}
// How many elements of the window count.
static Dim counted(const PoolWindow& w, size_t k, bool with_padding) {
  const WindowAxis& a = w.axes[k];
  if (!w.clipped) return a.kernel;
  auto below = [&](const Dim& limit) { return max(min(ceildiv(limit - w.start(k), Dim(a.dilation)), a.kernel), Dim(0)); };
  if (with_padding) return below(a.in + a.pad_end);
  return max(below(a.in) - below(Dim(0)), Dim(0));
}
Result<int> rule_average_pool(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const AveragePoolAttrs& a = op.attr<AveragePoolAttrs>();
  TRY_ASSIGN(PoolWindow w, pool_window(op, idx, a.ceil_mode));
  TRY_ASSIGN(S sum, window_sum(r, op, w, [](S x) { return x; }));
  S count = sum.lit(1);
  for (size_t k = 0; k < w.axes.size(); ++k) count = count * r.at(r.index_value(r.simplify(counted(w, k, a.count_include_pad)))).cast(sum.type());
  return (sum / count).cast(op.result()->type.dtype).id;
}

static S power_of(S x, int64_t p) {
  if (p == 2) return x * x;
  return p == 1 ? x.un(Prim::abs) : x.un(Prim::abs).bin(Prim::pow, x.lit(static_cast<double>(p)));
}
static S root_of(S x, int64_t p) {
  if (p == 2) return x.un(Prim::sqrt);
  return p == 1 ? x : x.bin(Prim::pow, x.lit(1.0 / static_cast<double>(p)));
}
Result<int> rule_lp_pool(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const LpPoolAttrs& a = op.attr<LpPoolAttrs>();
  TRY_ASSIGN(PoolWindow w, pool_window(op, idx, a.ceil_mode));
  TRY_ASSIGN(S sum, window_sum(r, op, w, [&](S x) { return power_of(x, a.p); }));
  return root_of(sum, a.p).cast(op.result()->type.dtype).id;
}

// --- global -------------------------------------------------------------------------------------------------------------

static Result<S> plane_reduction(SpecBuilder& r, const Op& op, const Index& idx, const SpecBuilder::Reduction& red, const std::function<S(S)>& map) {
  const Value* x = op.operands[0];
  DType t = wide_float(x->type.dtype);
  auto body = [&](const Index& at) -> Result<std::vector<int>> {
    TRY_ASSIGN(int v, r.emit(x, at));
    return std::vector<int>{map(r.at(v).cast(t)).id};
  };
  Index base(idx.size(), Dim(0));
  std::vector<int> axes;
  for (size_t k = 0; k < idx.size(); ++k) {
    if (k < 2) base[k] = idx[k];
    else axes.push_back(static_cast<int>(k));
  }
  if (axes.empty()) {
    TRY_ASSIGN(std::vector<int> v, body(base));
    return r.at(v[0]);
  }
  TRY_ASSIGN(std::vector<int> acc, r.reduce_along(SpecBuilder::key_of(op, "plane", base), x->type.shape, axes, base, red, body));
  return r.at(acc[0]);
}
Result<int> rule_global_average_pool(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const Shape& dims = op.operands[0]->type.shape;
  TRY_ASSIGN(S sum, plane_reduction(r, op, idx, SpecBuilder::sum(wide_float(op.operands[0]->type.dtype)), [](S x) { return x; }));
  S count = r.at(r.index_value(numel(Shape(dims.begin() + 2, dims.end()))));
  return (sum / count.cast(sum.type())).cast(op.result()->type.dtype).id;
}
Result<int> rule_global_max_pool(SpecBuilder& r, const Op& op, int, const Index& idx) {
  TRY_ASSIGN(S top, plane_reduction(r, op, idx, SpecBuilder::maximum(wide_float(op.operands[0]->type.dtype)), [](S x) { return x; }));
  return top.cast(op.result()->type.dtype).id;
}
Result<int> rule_global_lp_pool(SpecBuilder& r, const Op& op, int, const Index& idx) {
  int64_t p = op.attr<GlobalLpPoolAttrs>().p;
  TRY_ASSIGN(S sum, plane_reduction(r, op, idx, SpecBuilder::sum(wide_float(op.operands[0]->type.dtype)), [&](S x) { return power_of(x, p); }));
  return root_of(sum, p).cast(op.result()->type.dtype).id;
}

}  // namespace weft
