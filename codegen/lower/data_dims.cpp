// Dims that only data decide. Where operands say them (a reshape's target, a slice's bounds), these are read into symbols
// and the result's dims follow from them, as if the operands had been known all along. All of it is Dim arithmetic, so
// the plan computes it, and nothing here is per element.
#include <algorithm>

#include "codegen/lower/data_dims.h"
#include "ir/core/builder.h"
#include "ir/ops/common.h"
#include "ir/ops/move.h"

namespace weft {

bool Lowering::is_bound(const Dim& d) const {
  for (const std::string& s : d.symbols())
    if (!bound.count(s)) return false;
  return true;
}
void Lowering::set_symbol(const std::string& symbol, const Dim& value) {
  Command& c = command(CommandKind::set);
  c.name = symbol;
  c.dim = value;
  bound.insert(symbol);
}
void Lowering::check_positive(const Dim& condition, const std::string& text) {
  if (condition.is_const() && condition.value() > 0) return;
  Command& c = command(CommandKind::check);
  c.dim = condition;
  c.text = text;
}

Result<std::vector<Dim>> Lowering::contents(const Value* v) {
  constexpr int64_t kMost = 256;
  const std::vector<Dim>* known = known_of(v);
  if (known && std::all_of(known->begin(), known->end(), [&](const Dim& d) { return is_bound(d); })) return *known;
  if (auto it = contents_read.find(v); it != contents_read.end()) return it->second;
  Dim n = v->type.is_ranked() ? numel(v->type.shape) : Dim::overflow();
  DType t = v->type.dtype;
  if (!v->type.is_ranked() || !n.is_const() || n.value() > kMost || (!is_int(t) && !is_float(t) && t != DType::b1))
    return unsupported("a shape that depends on " + v->type.to_string()).at_tensor(v->name);
  TRY_ASSIGN(int id, tensor(v));
  if (is_float(t)) {
    // Truncated by a kernel first: only integers can be read.
    int whole = temp(v->name, DType::i64, v->type.shape);
    KernelSpec s;
    s.title = "truncate";
    s.num_ptrs = 2;
    SpecOperand from, to;
    from.dtype = t;
    to.dtype = DType::i64;
    to.ptr = 1;
    to.write = true;
    from.name = to.name = v->name;
    s.axes = {{"i0", n, false}};
    from.index = to.index = {Dim::symbol("i0")};
    from.strides = to.strides = {Dim(1)};
    s.operands = {from, to};
    SpecStage st;
    st.inputs.resize(1);
    st.inputs[0].operand = 0;
    st.body.outputs = {st.body.cast(st.body.input(0, t), DType::i64)};
    st.stores = {1};
    s.stages.push_back(std::move(st));
    if (!dense(id)) return unsupported("a shape that depends on a view").at_tensor(v->name);
    TRY(launch(std::move(s), {id, whole}, {}));
    id = whole;
  }
  std::vector<Dim> out;
  for (int64_t k = 0; k < n.value(); ++k) {
    out.push_back(m.fresh_symbol("d", {-INT64_MAX, INT64_MAX, 0}));
    Command& c = command(CommandKind::read);
    c.tensors = {id};
    c.index = k;
    c.name = out.back().symbol_name();
    bound.insert(c.name);
  }
  contents_read[v] = out;
  return out;
}

// --- arithmetic over integers of unknown sign: 1 or 0 ---------------------------------------------------------------

static Dim is_negative(const Dim& d) { return min(max(Dim(0) - d, 0), 1); }
static Dim is_zero(const Dim& d) { return Dim(1) - min(max(d, Dim(0) - d), 1); }
static Dim clamp(const Dim& d, const Dim& lo, const Dim& hi) { return min(max(d, lo), hi); }

// A value that much is computed from gets a symbol of its own: products of long sums grow without bound.
static Dim named(Lowering& l, const Dim& value) {
  if (value.is_const() || value.is_symbol()) return value;
  Dim s = l.m.fresh_symbol("d", {-INT64_MAX, INT64_MAX, 0});
  l.set_symbol(s.symbol_name(), value);
  return s;
}

// 0 copies, one -1 takes the rest.
static Result<Shape> reshape_dims(Lowering& l, const Op& op, const std::vector<Dim>& to) {
  const Shape& from = op.operands[0]->type.shape;
  bool zero = op.attr<ReshapeAttrs>().allowzero;
  Dim have = numel(from), rest(1);
  Shape out;
  for (size_t k = 0; k < to.size(); ++k) {
    Dim d = to[k];
    if (!zero && k < from.size()) d = named(l, d + is_zero(d) * from[k]);
    out.push_back(d);
    rest *= named(l, d + is_negative(d) * (Dim(1) - d));
  }
  Dim missing = named(l, floordiv(have, max(rest, 1))), product(1);
  for (Dim& d : out) {
    d = named(l, d + is_negative(d) * (missing - d));
    product *= d;
  }
  l.check_positive(is_zero(product - have), "a reshape changes the number of elements");
  return out;
}

// As slice_ranges, for bounds of any sign.
static Result<std::vector<SliceRange>> slice_bounds(Lowering& l, Op& op) {
  const Type& x = op.operands[0]->type;
  TRY_ASSIGN(std::vector<Dim> starts, l.contents(op.operands[1]));
  TRY_ASSIGN(std::vector<Dim> ends, l.contents(op.operands[2]));
  std::vector<int> axes;
  if (op.operand(3)) {
    auto given = const_ints(op.operands[3]);
    if (!given) return unsupported("a slice along axes that only the data know");
    TRY_ASSIGN(axes, axes_in_order(*given, x.rank()));
  } else {
    for (size_t k = 0; k < starts.size(); ++k) axes.push_back(static_cast<int>(k));
  }
  std::vector<int64_t> steps(axes.size(), 1);
  if (op.operand(4)) {
    auto given = const_ints(op.operands[4]);
    if (!given) return unsupported("a slice in steps that only the data know");
    steps = *given;
  }
  if (starts.size() != axes.size() || ends.size() != axes.size() || steps.size() != axes.size() || axes.size() > x.shape.size())
    return invalid("a slice's starts, ends, axes and steps differ in length");
  std::vector<SliceRange> out;
  for (const Dim& d : x.shape) out.push_back({0, d, 1});
  for (size_t k = 0; k < axes.size(); ++k) {
    const Dim& n = x.shape[axes[k]];
    if (steps[k] == 0) return invalid("a slice's step is 0");
    bool back = steps[k] < 0;
    // Far bounds must not overflow when n is added.
    Dim far(INT64_MAX / 4), s = clamp(starts[k], Dim(0) - far, far), e = clamp(ends[k], Dim(0) - far, far);
    Dim last = back ? n - Dim(1) : n, least = back ? Dim(-1) : Dim(0);
    SliceRange& r = out[axes[k]];
    r.step = steps[k];
    r.start = clamp(s + is_negative(s) * n, back ? Dim(-1) : Dim(0), last);
    Dim end = clamp(e + is_negative(e) * n, least, last);
    r.length = ceildiv(max(back ? r.start - end : end - r.start, 0), Dim(back ? -steps[k] : steps[k]));
  }
  return out;
}

Result<std::vector<SliceRange>> bounds_of_slice(Lowering& l, Op& op) {
  auto exact = slice_ranges(op, l.m.symbols);
  if (exact.ok() || exact.error().code != Code::kUnsupported) return exact;
  return slice_bounds(l, op);
}

// The larger of two dims that broadcast: the other one where one is 1.
static Result<Shape> expand_dims(const Op& op, const std::vector<Dim>& to) {
  const Shape& from = op.operands[0]->type.shape;
  Shape out = op.result()->type.shape;
  for (size_t k = 0; k < out.size(); ++k) {
    Dim a = k + from.size() < out.size() ? Dim(1) : from[k + from.size() - out.size()];
    Dim b = k + to.size() < out.size() ? Dim(1) : to[k + to.size() - out.size()];
    out[k] = a.is(1) ? b : b.is(1) || (a.is_const() && !a.is(1)) ? a : a + is_zero(a - Dim(1)) * (b - Dim(1));
  }
  return out;
}

// The dims of all results, once the operands that decide them are known.
static Result<std::vector<Shape>> result_dims(Lowering& l, Op& op) {
  std::vector<Shape> out;
  if (op.kind == OpKind::reshape || op.kind == OpKind::expand) {
    TRY_ASSIGN(std::vector<Dim> to, l.contents(op.operands[1]));
    TRY_ASSIGN(Shape s, op.kind == OpKind::reshape ? reshape_dims(l, op, to) : expand_dims(op, to));
    out.push_back(std::move(s));
    return out;
  }
  if (op.kind == OpKind::slice) {
    TRY_ASSIGN(std::vector<SliceRange> ranges, bounds_of_slice(l, op));
    out.emplace_back();
    for (const SliceRange& r : ranges) out[0].push_back(r.length);
    return out;
  }
  std::vector<Type> before;
  for (auto& r : op.results) before.push_back(r->type);
  TRY(infer_op(op, l.m));
  for (size_t k = 0; k < before.size(); ++k) {
    out.push_back(op.result(static_cast<int>(k))->type.shape);
    op.result(static_cast<int>(k))->type = before[k];
  }
  return out;
}

Status Lowering::know_shapes(Op& op) {
  bool open = false;
  for (auto& r : op.results)
    for (const Dim& d : r->type.shape) open = open || !is_bound(d);
  for (int i = 0; i < op.num_operands(); ++i) {
    Value* v = op.operands[i];
    // Real numbers (scales, the bounds of a range) are not read; one_hot's depth may be one.
    if (!v || !is_shape_operand(op, i) || known_of(v) || constant_of(v) || (is_float(v->type.dtype) && op.kind != OpKind::one_hot)) continue;
    TRY_ASSIGN(std::vector<Dim> known, contents(v));
    v->known = std::make_shared<const std::vector<Dim>>(std::move(known));
  }
  if (!open || has_trait(op, kDataDependent)) return {};
  TRY_ASSIGN(std::vector<Shape> dims, result_dims(*this, op));
  for (size_t r = 0; r < dims.size(); ++r) {
    const Shape& had = op.result(static_cast<int>(r))->type.shape;
    for (size_t k = 0; k < had.size() && k < dims[r].size(); ++k)
      if (had[k].is_symbol() && !is_bound(had[k]) && !(had[k] == dims[r][k]) && is_bound(dims[r][k])) set_symbol(had[k].symbol_name(), dims[r][k]);
  }
  return {};
}

}  // namespace weft
