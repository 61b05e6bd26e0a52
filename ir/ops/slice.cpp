// slice and split.
#include <algorithm>

#include "ir/ops/move.h"
#include "ir/ops/sharding.h"

namespace weft {

// --- slice ----------------------------------------------------------------------------------------------------------

// Sums of a bound and a dim must not overflow; no dim is this large. Exporters write "to the end" as the largest i32 or
// i64: for a symbolic dim both mean that.
static constexpr int64_t kFar = INT64_MAX / 2;
static Dim near(const Dim& bound, const Dim& n) {
  if (!bound.is_const()) return bound;
  int64_t v = std::clamp(bound.value(), -kFar, kFar);
  if (!n.is_const() && v >= INT32_MAX) v = kFar;
  if (!n.is_const() && v <= -INT32_MAX) v = -kFar;
  return v;
}

static Dim min_of(const Dim& a, const Dim& b, const SymbolTable& t) { return known_le(a, b, t) ? a : known_le(b, a, t) ? b : min(a, b); }
static Dim max_of(const Dim& a, const Dim& b, const SymbolTable& t) { return known_ge(a, b, t) ? a : known_ge(b, a, t) ? b : max(a, b); }

// Elements s, s + step, ... before e of a dim of n, with ONNX's counting from the end and clamping; nullopt when the sign
// of a bound is open.
static std::optional<SliceRange> range_forward(const Dim& s, const Dim& e, int64_t step, const Dim& n, const SymbolTable& t) {
  bool front = known_ge(s, 0, t), front_end = known_ge(e, 0, t);
  if ((!front && !known_ge(-1, s, t)) || (!front_end && !known_ge(-1, e, t))) return std::nullopt;
  SliceRange r;
  r.step = step;
  Dim end = front_end ? (e.is(kFar) ? n : min_of(e, n, t)) : max_of(e + n, 0, t);
  r.start = front ? s : s.is(-kFar) ? Dim(0) : max_of(s + n, 0, t);
  // A start behind n gives length 0 as well: what min(e, n) - s misses of min(s, n) is negative.
  r.length = !front && end == n && !s.is(-kFar) ? min_of(Dim(0) - s, n, t) : max_of(end - r.start, 0, t);
  r.length = s.is(kFar) ? Dim(0) : ceildiv(r.length, step);
  return r;
}
static std::optional<SliceRange> range_backward(const Dim& s, const Dim& e, int64_t step, const Dim& n, const SymbolTable& t) {
  bool front = known_ge(s, 0, t), front_end = known_ge(e, 0, t);
  if ((!front && !known_ge(-1, s, t)) || (!front_end && !known_ge(-1, e, t))) return std::nullopt;
  SliceRange r;
  r.step = step;
  Dim last = n - Dim(1);
  Dim end = front_end ? min_of(e, last, t) : e.is(-kFar) ? Dim(-1) : max_of(e + n, -1, t);
  r.start = front ? (s.is(kFar) ? last : min_of(s, last, t)) : max_of(s + n, -1, t);
  r.length = ceildiv(max_of(r.start - end, 0, t), -step);
  return r;
}
static Result<std::optional<SliceRange>> slice_range(const Dim& start, const Dim& end, const Dim& step, const Dim& n, const SymbolTable& t) {
  if (!step.is_const()) return std::optional<SliceRange>();
  int64_t k = std::clamp(step.value(), -kFar, kFar);
  if (k == 0) return invalid("a slice's step is 0");
  Dim s = near(start, n), e = near(end, n);
  auto r = k > 0 ? range_forward(s, e, k, n, t) : range_backward(s, e, k, n, t);
  // With no elements the start means nothing.
  if (r && r->length.is(0)) r->start = 0;
  return r;
}

// A range for every dim, nullopt where it is not exact; as a whole nullopt while the axes are not known.
using SliceRanges = std::vector<std::optional<SliceRange>>;
static Result<std::optional<SliceRanges>> find_slice_ranges(const Op& op, const SymbolTable& symbols) {
  TRY(need_tensor(op, 0));
  for (int i = 1; i < op.num_operands(); ++i) TRY(need_int_vector(op, i));
  const Type& x = type_of(op, 0);
  const std::vector<Dim>*starts = known_of(op.operands[1]), *ends = known_of(op.operands[2]), *steps = known_of(op.operand(4));
  auto count = starts ? std::optional<int64_t>(starts->size()) : ends ? std::optional<int64_t>(ends->size()) : vector_length(op.operands[1]);
  std::vector<int64_t> given;
  if (has_operand(op, 3)) {
    auto axes = const_ints(op.operands[3]);
    if (!axes) return std::optional<SliceRanges>();
    given = std::move(*axes);
  } else {
    if (!count) return std::optional<SliceRanges>();
    if (*count > x.rank()) return invalid("a slice of " + std::to_string(*count) + " dims of " + x.to_string());
    for (int64_t a = 0; a < *count; ++a) given.push_back(a);
  }
  TRY_ASSIGN(std::vector<int> axes, axes_in_order(given, x.rank()));
  for (const auto* list : {starts, ends, steps})
    if (list && list->size() != axes.size()) return invalid("a slice's starts, ends, axes and steps differ in length");
  SliceRanges out;
  for (const Dim& d : x.shape) out.push_back(SliceRange{0, d, 1});
  for (size_t i = 0; i < axes.size(); ++i) {
    std::optional<SliceRange>& r = out[axes[i]];
    bool step_known = !has_operand(op, 4) || steps;
    if (starts && ends && step_known) {
      TRY_ASSIGN(r, slice_range((*starts)[i], (*ends)[i], steps ? (*steps)[i] : Dim(1), x.shape[axes[i]], symbols));
    } else {
      r = std::nullopt;
    }
  }
  return std::optional<SliceRanges>(std::move(out));
}
Result<std::vector<SliceRange>> slice_ranges(const Op& op, const SymbolTable& symbols) {
  TRY_ASSIGN(auto found, find_slice_ranges(op, symbols));
  std::vector<SliceRange> out;
  for (int d = 0; found && d < type_of(op, 0).rank(); ++d) {
    if (!(*found)[d]) break;
    out.push_back(*(*found)[d]);
  }
  if (!found || static_cast<int>(out.size()) != type_of(op, 0).rank()) return unsupported("a slice whose bounds are known to the data alone");
  return out;
}

static Status infer_slice(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  TRY_ASSIGN(auto ranges, find_slice_ranges(op, cx.module.symbols));
  const Type& x = type_of(op, 0);
  if (!ranges) {
    set_unknown_dims(op, 0, x.dtype, x.rank(), cx);
    return {};
  }
  Shape shape;
  for (int d = 0; d < x.rank(); ++d) shape.push_back((*ranges)[d] ? (*ranges)[d]->length : data_dim(op, 0, d, cx));
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  know_moved(op, {0});
  return {};
}
static Result<std::vector<HostValue>> eval_slice(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  std::vector<int64_t> starts = load_all<int64_t>(call.tensor(1)), ends = load_all<int64_t>(call.tensor(2)), given, steps(starts.size(), 1);
  if (call.has(3)) given = load_all<int64_t>(call.tensor(3));
  else for (size_t a = 0; a < starts.size(); ++a) given.push_back(static_cast<int64_t>(a));
  if (call.has(4)) steps = load_all<int64_t>(call.tensor(4));
  TRY_ASSIGN(std::vector<int> axes, axes_in_order(given, x.rank()));
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    return invalid("a slice's starts, ends, axes and steps differ in length");
  Window from{0, dense_strides(x.dims)};
  std::vector<int64_t> dims = x.dims;
  for (size_t i = 0; i < axes.size(); ++i) {
    int d = axes[i];
    TRY_ASSIGN(std::optional<SliceRange> r, slice_range(starts[i], ends[i], steps[i], x.dims[d], {}));
    CHECK(r);
    dims[d] = r->length.value();
    from.offset += r->start.value() * from.strides[d];
    // A far step on a single element would overflow.
    from.strides[d] = dims[d] > 1 ? from.strides[d] * r->step : 0;
  }
  return one(read_window(x, from, std::move(dims)));
}
// Dims of which nothing is cut off.
static Result<ShardingRule> shard_slice(const Op& op) {
  TRY_ASSIGN(std::vector<SliceRange> ranges, slice_ranges(op, op.graph->module->symbols));
  ShardingRule rule(op);
  for (int d = 0; d < static_cast<int>(ranges.size()); ++d)
    if (ranges[d].start.is(0) && ranges[d].step == 1 && ranges[d].length == type_of(op, 0).shape[d])
      rule.share(op, {{0, d}, {ShardingRule::kResult, d}});
  return rule;
}
// A dim that stays whole is not named any more: its bounds count for all of it.
static Result<std::vector<Value*>> localize_slice(LocalOp& op) {
  TRY_ASSIGN(std::vector<SliceRange> ranges, slice_ranges(op.whole, op.b.module().symbols));
  std::vector<Dim> starts, ends, axes, steps;
  for (size_t d = 0; d < ranges.size(); ++d) {
    const SliceRange& r = ranges[d];
    if (r.start.is(0) && r.step == 1 && r.length == type_of(op.whole, 0).shape[d]) continue;
    starts.push_back(r.start);
    // Backwards to the first element there is no end that is not counted from the other side.
    Dim end = r.start + r.length * Dim(r.step);
    ends.push_back(r.step < 0 && range_of(end, op.b.module().symbols).lo < 0 ? Dim(INT64_MIN + 1) : end);
    axes.push_back(static_cast<int64_t>(d));
    steps.push_back(r.step);
  }
  if (axes.empty()) return std::vector<Value*>{op.operands[0]};
  op.operands = {op.operands[0], op.dims(starts), op.dims(ends), op.dims(axes), op.dims(steps)};
  return op.build();
}
OpDef def_slice() {
  return {.onnx = "Slice", .family = Family::move, .min_operands = 3, .max_operands = 5, .infer = infer_slice, .eval = eval_slice,
          .cost = [](const Op& op) { return moved_bytes(op, 1); }, .shard = shard_slice, .localize = localize_slice};
}

// --- split ----------------------------------------------------------------------------------------------------------

// Sizes of `count` equal parts of n, the last one smaller.
static Result<std::vector<Dim>> equal_parts(const Dim& n, int64_t count) {
  Dim part = ceildiv(n, count), last = n - part * Dim(count - 1);
  if (last.is_const() && last.value() < 0) return invalid("a dim of " + n.to_string() + " does not split into " + std::to_string(count) + " parts");
  std::vector<Dim> out(count, part);
  out.back() = last;
  return out;
}
static Status check_parts(const std::vector<Dim>& parts, size_t count, const Dim& n, Facts& facts) {
  if (parts.size() != count)
    return invalid(
        "split gives " + std::to_string(parts.size()) + " parts, the op has " + std::to_string(count) + " results");
  Dim sum = 0;
  for (const Dim& p : parts) {
    if (p.is_const() && p.value() < 0) return invalid("split gives a part of " + p.to_string());
    sum += p;
  }
  return facts.equal(sum, n, "split's parts and the dim that they make up");
}
static Status infer_split(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  TRY(need_int_vector(op, 1));
  const SplitAttrs& a = op.attr<SplitAttrs>();
  const Type& x = type_of(op, 0);
  size_t count = op.results.size();
  if (a.num_outputs != 0 && a.num_outputs != static_cast<int64_t>(count))
    return invalid("num_outputs is " + std::to_string(a.num_outputs) + ", the op has " + std::to_string(count) + " results");
  TRY_ASSIGN(int axis, normalize_axis(a.axis, x.rank()));
  std::vector<Dim> parts;
  const std::vector<Dim>* known = known_of(op.operand(1));
  if (known) {
    parts = *known;
  } else if (has_operand(op, 1)) {
    for (size_t r = 0; r < count; ++r) parts.push_back(data_dim(op, static_cast<int>(r), axis, cx));
  } else {
    TRY_ASSIGN(parts, equal_parts(x.shape[axis], static_cast<int64_t>(count)));
  }
  TRY(check_parts(parts, count, x.shape[axis], cx));
  for (size_t r = 0; r < count; ++r) {
    Shape shape = x.shape;
    shape[axis] = parts[r];
    set_type(op, static_cast<int>(r), Type::tensor(x.dtype, std::move(shape)));
  }
  know_moved(op, {0});
  return {};
}
static Result<std::vector<HostValue>> eval_split(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(int axis, normalize_axis(call.attr<SplitAttrs>().axis, x.rank()));
  size_t count = call.op.results.size();
  std::vector<Dim> parts;
  if (call.has(1)) {
    for (int64_t p : load_all<int64_t>(call.tensor(1))) parts.emplace_back(p);
  } else {
    TRY_ASSIGN(parts, equal_parts(x.dims[axis], static_cast<int64_t>(count)));
  }
  Facts facts;
  TRY(check_parts(parts, count, x.dims[axis], facts));
  Window from{0, dense_strides(x.dims)};
  std::vector<HostValue> out;
  for (const Dim& p : parts) {
    std::vector<int64_t> dims = x.dims;
    dims[axis] = p.value();
    TRY_ASSIGN(Tensor part, read_window(x, from, std::move(dims)));
    out.emplace_back(std::move(part));
    from.offset += p.value() * from.strides[axis];
  }
  return out;
}
static Result<ShardingRule> shard_split(const Op& op) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<SplitAttrs>().axis, type_of(op, 0).rank()));
  ShardingRule rule(op);
  for (int d = 0; d < type_of(op, 0).rank(); ++d) {
    if (d == axis) continue;
    std::vector<ShardingRule::Place> places{{0, d}};
    for (int r = 0; r < op.num_results(); ++r) places.push_back({ShardingRule::kResult + r, d});
    rule.share(op, places);
  }
  return rule;
}
OpDef def_split() {
  return {.onnx = "Split", .family = Family::move, .min_operands = 1, .max_operands = 2, .attrs = make_attrs<SplitAttrs>, .infer = infer_split,
          .eval = eval_split, .shard = shard_split};
}

}  // namespace weft
