// Dims that only data decide. Where operands say them (a reshape's target, a slice's bounds), these are read into symbols
// and the result's dims follow from them, as if the operands had been known all along. All of it is Dim arithmetic, so
// the plan computes it, and nothing here is per element.
#include <algorithm>

#include "codegen/lower/data_dims.h"
#include "ir/core/builder.h"
#include "ir/ops/common.h"
#include "ir/ops/reduce.h"
#include "ir/ops/move.h"

namespace weft {

Graph* Lowering::scratch_graph() {
  if (!scratch) {
    scratch = std::make_unique<Graph>();
    scratch->module = &m;
  }
  return scratch.get();
}

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
  const std::string key = condition.to_string();
  auto* always = &plan().main.commands;
  if (checked[always].count(key) || !checked[commands].insert(key).second) return;
  Command& c = commands == always && !late(condition) ? at_start.emplace_back() : command(CommandKind::check);
  c.kind = CommandKind::check;
  c.nodes = nodes;
  c.dim = condition;
  c.text = text;
}
void Lowering::check_assumed(const Op& op) {
  std::vector<std::string> around = std::exchange(nodes, op.provenance);
  for (const Assumption& a : op.assumed)
    if (is_bound(a.condition)) check_positive(a.condition, a.text);
  nodes = std::move(around);
}

Result<std::vector<Dim>> Lowering::contents(const Value* v) {
  constexpr int64_t kMost = 256;
  const std::vector<Dim>* known = known_of(v);
  if (known && std::all_of(known->begin(), known->end(), [&](const Dim& d) { return is_bound(d); })) return *known;
  if (auto it = contents_read.find(v); it != contents_read.end()) return it->second;
  Dim n = v->type.is_ranked() ? numel(v->type.shape) : Dim::overflow();
  DType t = v->type.dtype;
  if (!v->type.is_ranked() || !n.is_const() || n.value() > kMost || (!is_int(t) && !is_float(t) && t != DType::b1))
    return unsupported("a shape that depends on " + v->type.describe()).at_tensor(v->name);
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

Dim Lowering::named(const Dim& value) {
  if (value.is_const() || value.is_symbol()) return value;
  Dim s = m.fresh_symbol("d", {-INT64_MAX, INT64_MAX, 0});
  set_symbol(s.symbol_name(), value);
  return s;
}

// --- arithmetic over integers of unknown sign ------------------------------------------------------------------------

Dim is_negative(const Dim& d) { return min(max(Dim(0) - d, 0), 1); }
Dim is_zero(const Dim& d) { return Dim(1) - min(max(d, Dim(0) - d), 1); }
static Dim clamp(const Dim& d, const Dim& lo, const Dim& hi) { return min(max(d, lo), hi); }

Result<AxisSet> axis_set(Lowering& l, const std::vector<Dim>& axes, int rank) {
  AxisSet out;
  std::vector<Dim> from_front;
  for (const Dim& a : axes) from_front.push_back(l.named(a + is_negative(a) * Dim(rank)));
  Dim before(0);
  for (int j = 0; j < rank; ++j) {
    Dim hits(0);
    for (const Dim& a : from_front) hits += is_zero(a - Dim(j));
    out.hit.push_back(l.named(min(hits, 1)));
    out.before.push_back(before);
    before = l.named(before + out.hit.back());
  }
  l.check_positive(is_zero(before - Dim(static_cast<int64_t>(axes.size()))), "an axis is out of range or given twice");
  return out;
}
Dim AxisSet::place(int from, int to) const { return (Dim(1) - hit[from]) * is_zero(Dim(from - to) - before[from]); }

// 0 copies, one -1 takes the rest.
static Result<Shape> reshape_dims(Lowering& l, const Op& op, const std::vector<Dim>& to) {
  const Shape& from = op.operands[0]->type.shape;
  bool zero = op.attr<ReshapeAttrs>().allowzero;
  Dim have = numel(from), rest(1);
  Shape out;
  for (size_t k = 0; k < to.size(); ++k) {
    Dim d = to[k];
    if (!zero && k < from.size()) d = l.named(d + is_zero(d) * from[k]);
    out.push_back(d);
    rest *= l.named(d + is_negative(d) * (Dim(1) - d));
  }
  Dim missing = l.named(floordiv(have, max(rest, 1))), product(1);
  for (Dim& d : out) {
    d = l.named(d + is_negative(d) * (missing - d));
    product *= d;
  }
  l.check_positive(is_zero(product - have), "a reshape changes the number of elements");
  return out;
}

// Start, end and step per dim, where the op gives any.
struct GivenBounds {
  Dim start = 0, end = INT64_MAX, step = 1;
  Dim given = 0;
};
static Result<std::vector<GivenBounds>> given_bounds(Lowering& l, Op& op) {
  const int rank = op.operands[0]->type.rank();
  TRY_ASSIGN(std::vector<Dim> starts, l.contents(op.operands[1]));
  TRY_ASSIGN(std::vector<Dim> ends, l.contents(op.operands[2]));
  std::vector<Dim> steps(starts.size(), Dim(1)), axes;
  for (size_t k = 0; k < starts.size(); ++k) axes.emplace_back(static_cast<int64_t>(k));
  if (op.operand(3)) {
    TRY_ASSIGN(axes, l.contents(op.operands[3]));
  }
  if (op.operand(4)) {
    TRY_ASSIGN(steps, l.contents(op.operands[4]));
  }
  if (starts.size() != axes.size() || ends.size() != axes.size() || steps.size() != axes.size() || axes.size() > static_cast<size_t>(rank))
    return invalid("a slice's starts, ends, axes and steps differ in length");
  std::vector<GivenBounds> out(static_cast<size_t>(rank));
  Dim far(INT64_MAX / 4);  // sums with a dim must not overflow
  for (size_t k = 0; k < axes.size(); ++k) {
    if (steps[k].is(0)) return invalid("a slice's step is 0");
    if (!steps[k].is_const()) l.check_positive(Dim(1) - is_zero(steps[k]), "a slice's step is 0");
    if (axes[k].is_const()) {
      TRY_ASSIGN(int j, normalize_axis(axes[k].value(), rank));
      out[j] = {starts[k], ends[k], steps[k], 1};
      continue;
    }
    Dim axis = l.named(axes[k] + is_negative(axes[k]) * Dim(rank));
    for (int j = 0; j < rank; ++j) {
      Dim hit = l.named(is_zero(axis - Dim(j)));
      GivenBounds& b = out[j];
      if (b.end.is(INT64_MAX)) b.end = far;
      b.start = l.named(b.start + hit * (clamp(starts[k], Dim(0) - far, far) - b.start));
      b.end = l.named(b.end + hit * (clamp(ends[k], Dim(0) - far, far) - b.end));
      b.step = l.named(b.step + hit * (steps[k] - b.step));
      b.given = 1;
    }
  }
  return out;
}

// As slice_ranges, for bounds and steps of any sign.
Result<std::vector<SliceBounds>> bounds_of_slice(Lowering& l, Op& op) {
  std::vector<SliceBounds> out;
  auto exact = slice_ranges(op, l.m.symbols);
  if (!exact.ok() && exact.error().code != Code::kUnsupported) return std::move(exact.error());
  if (exact.ok()) {
    for (const SliceRange& r : *exact) out.push_back({r.start, r.length, Dim(r.step)});
    return out;
  }
  TRY_ASSIGN(std::vector<GivenBounds> given, given_bounds(l, op));
  Dim far(INT64_MAX / 4);
  for (size_t j = 0; j < given.size(); ++j) {
    const Dim& n = op.operands[0]->type.shape[j];
    SliceBounds r{0, n, given[j].step};
    if (!given[j].given.is(0)) {
      Dim back = l.named(is_negative(r.step)), last = l.named(n - back),
          s = l.named(clamp(given[j].start, Dim(0) - far, far)), e = l.named(clamp(given[j].end, Dim(0) - far, far));
      r.start = l.named(clamp(s + is_negative(s) * n, Dim(0) - back, last));
      Dim end = l.named(clamp(e + is_negative(e) * n, Dim(0) - back, last));
      Dim sign = Dim(1) - Dim(2) * back;
      r.length = l.named(ceildiv(max(l.named((end - r.start) * sign), 0), l.named(r.step * sign)));
    }
    out.push_back(r);
  }
  return out;
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

// squeeze, unsqueeze and reductions along axes that the data know: every dim as a sum over where it may come from.
static Result<Shape> dims_by_axes(Lowering& l, Op& op) {
  const Shape& from = op.operands[0]->type.shape;
  int rank = static_cast<int>(from.size()), to = op.result()->type.rank();
  TRY_ASSIGN(std::vector<Dim> axes, l.contents(op.operands[1]));
  Shape out;
  if (op.kind == OpKind::unsqueeze) {
    TRY_ASSIGN(AxisSet set, axis_set(l, axes, to));
    for (int p = 0; p < to; ++p) {
      Dim d = set.hit[p];
      for (int j = 0; j < rank; ++j) d += set.place(p, j) * from[j];
      out.push_back(l.named(d));
    }
    return out;
  }
  bool keeps = op.kind != OpKind::squeeze && op.attr<ReduceAttrs>().keepdims;
  if (op.kind != OpKind::squeeze && axes.empty()) return op.attr<ReduceAttrs>().noop_with_empty_axes ? from : Shape(static_cast<size_t>(to), Dim(1));
  TRY_ASSIGN(AxisSet set, axis_set(l, axes, rank));
  for (int q = 0; q < to; ++q) {
    Dim d = keeps ? set.hit[q] + (Dim(1) - set.hit[q]) * from[q] : Dim(0);
    for (int j = 0; j < rank && !keeps; ++j) d += set.place(j, q) * from[j];
    out.push_back(l.named(d));
  }
  if (op.kind == OpKind::squeeze) l.check_positive(is_zero(numel(out) - l.named(numel(from))), "squeeze removes a dim that is not 1");
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
    TRY_ASSIGN(std::vector<SliceBounds> ranges, bounds_of_slice(l, op));
    out.emplace_back();
    for (const SliceBounds& r : ranges) out[0].push_back(r.length);
    return out;
  }
  if (op.operand(1) && (op.kind == OpKind::squeeze || op.kind == OpKind::unsqueeze || op_def(op).family == Family::reduce)) {
    TRY_ASSIGN(Shape s, dims_by_axes(l, op));
    out.push_back(std::move(s));
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

// A pad along axes that the data know becomes one of all dims.
static Status spread_pads(Lowering& l, Op& op) {
  if (op.kind != OpKind::pad || !op.operand(3) || const_ints(op.operands[3])) return {};
  const int rank = op.operands[0]->type.rank();
  TRY_ASSIGN(std::vector<Dim> pads, l.contents(op.operands[1]));
  TRY_ASSIGN(std::vector<Dim> axes, l.contents(op.operands[3]));
  if (pads.size() != 2 * axes.size())
    return invalid("pad of " + std::to_string(axes.size()) + " dims by " + std::to_string(pads.size()) + " amounts");
  std::vector<Dim> all(static_cast<size_t>(2 * rank), Dim(0));
  for (size_t k = 0; k < axes.size(); ++k) {
    Dim axis = l.named(axes[k] + is_negative(axes[k]) * Dim(rank));
    for (int j = 0; j < rank; ++j)
      for (int end : {0, 1}) {
        Dim& d = all[static_cast<size_t>(end * rank + j)];
        d = l.named(d + is_zero(axis - Dim(j)) * pads[k + static_cast<size_t>(end) * axes.size()]);
      }
  }
  Value* known = l.scratch_graph()->add_input(Type::tensor(DType::i64, {Dim(2 * rank)}), "pads");
  known->known = std::make_shared<const std::vector<Dim>>(std::move(all));
  op.set_operand(1, known);
  op.set_operand(3, nullptr);
  return {};
}

Status Lowering::know_shapes(Op& op) {
  TRY(spread_pads(*this, op));
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
