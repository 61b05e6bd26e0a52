// Same elements, other dims: reshape, squeeze, unsqueeze, flatten.
#include <algorithm>

#include "ir/ops/move.h"
#include "ir/ops/sharding.h"

namespace weft {

static Cost view_cost(const Op&) { return {}; }

// --- reshape --------------------------------------------------------------------------------------------------------

// Dims that occur on both sides say nothing about the missing one: without them the quotient is simpler, and exact where
// one of them is 0.
static void cancel_common(Shape& a, Shape& b) {
  for (size_t i = 0; i < a.size();) {
    auto it = std::find(b.begin(), b.end(), a[i]);
    if (it == b.end()) {
      ++i;
      continue;
    }
    b.erase(it);
    a.erase(a.begin() + i);
  }
}

Result<Shape> reshaped(const Shape& from, const std::vector<Dim>& to, bool allowzero, Facts& facts) {
  Shape out, rest;
  int hole = -1;
  bool zero = false;
  for (size_t i = 0; i < to.size(); ++i) {
    Dim d = to[i];
    if (d.is(-1)) {
      if (hole >= 0) return invalid("reshape to [" + shape_text(to) + "]: two dims of -1");
      hole = static_cast<int>(i);
    } else if (d.is(0) && !allowzero) {
      if (i >= from.size())
        return invalid("reshape to [" + shape_text(to) + "]: dim " + std::to_string(i) + " copies a dim that [" +
                       shape_text(from) + "] lacks");
      d = from[i];
    } else if (d.is_const() && d.value() < 0) {
      return invalid("reshape to the negative dim " + d.to_string());
    }
    zero = zero || d.is(0);
    out.push_back(d);
    if (hole != static_cast<int>(i)) rest.push_back(d);
  }
  if (hole >= 0 && zero && allowzero) return invalid("reshape to [" + shape_text(to) + "]: with a dim of 0 the one of -1 is any");
  Shape elements = from;
  cancel_common(elements, rest);
  Dim have = numel(elements), want = numel(rest);
  auto fits = [&](const Dim& elements) -> Status {
    if (elements == have) return {};
    return facts.equal(have, elements, "reshape from [" + shape_text(from) + "] to [" + shape_text(to) + "]: the element counts");
  };
  if (hole < 0) {
    TRY(fits(want));
    return out;
  }
  if (want.is(0)) {
    TRY(fits(0));
    return invalid("reshape to [" + shape_text(to) + "]: with a dim of 0 the one of -1 is any");
  }
  out[hole] = divide(have, want);
  TRY(fits(out[hole] * want));
  return out;
}

static Status infer_reshape(Op& op, InferContext& cx) {
  const Type& x = type_of(op, 0);
  if (!x.is_tensor()) return need_tensor(op, 0);
  TRY(need_int_vector(op, 1));
  const std::vector<Dim>* to = known_of(op.operands[1]);
  bool copies = to && !op.attr<ReshapeAttrs>().allowzero && std::any_of(to->begin(), to->end(), [](const Dim& d) { return d.is(0); });
  bool derives = to && std::any_of(to->begin(), to->end(), [](const Dim& d) { return d.is(-1); });
  if (to && (x.ranked || (!copies && !derives))) {
    Shape shape = *to;
    if (x.ranked) {
      TRY_ASSIGN(shape, reshaped(x.shape, *to, op.attr<ReshapeAttrs>().allowzero, cx));
    }
    set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  } else if (auto rank = vector_length(op.operands[1])) {
    if (*rank > 64) return invalid("reshape to rank " + std::to_string(*rank));
    set_unknown_dims(op, 0, x.dtype, static_cast<int>(*rank), cx);
    return {};
  } else {
    set_type(op, 0, Type::unranked(x.dtype));
    return {};
  }
  op.results[0]->known = op.operands[0]->known;
  return {};
}
static Result<std::vector<HostValue>> eval_reshape(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  std::vector<int64_t> to = load_all<int64_t>(call.tensor(1));
  Facts facts;
  TRY_ASSIGN(Shape shape, reshaped(to_shape(x.dims), Shape(to.begin(), to.end()), call.attr<ReshapeAttrs>().allowzero, facts));
  return one(with_dims(x, static_dims(shape)));
}
OpDef def_reshape() {
  return {.onnx = "Reshape", .family = Family::move, .traits = kViewLike, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<ReshapeAttrs>,
          .infer = infer_reshape, .eval = eval_reshape, .cost = view_cost, .shard = shard_view, .localize = localize_to_shape};
}

// --- squeeze, unsqueeze ---------------------------------------------------------------------------------------------

// Without axes every dim of 1 goes: nullopt while it is open whether some symbolic dim is 1.
static std::optional<Shape> squeeze_ones(const Shape& x, const SymbolTable& symbols) {
  Shape out;
  for (const Dim& d : x) {
    if (d.is(1)) continue;
    if (!d.is_const() && !known_ge(d, 2, symbols)) return std::nullopt;
    out.push_back(d);
  }
  return out;
}
static Result<Shape> squeeze_axes(const Shape& x, const std::vector<int64_t>& given, Facts& facts) {
  TRY_ASSIGN(std::vector<int> axes, axes_in_order(given, static_cast<int>(x.size())));
  Shape out;
  for (size_t d = 0; d < x.size(); ++d) {
    bool gone = std::find(axes.begin(), axes.end(), static_cast<int>(d)) != axes.end();
    if (gone) TRY(facts.equal(x[d], 1, "squeeze's dim " + std::to_string(d) + " and 1"));
    else out.push_back(x[d]);
  }
  return out;
}
static Status infer_squeeze(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  TRY(need_int_vector(op, 1));
  const Type& x = type_of(op, 0);
  op.results[0]->known = op.operands[0]->known;
  if (!has_operand(op, 1)) {
    std::optional<Shape> shape = squeeze_ones(x.shape, cx.module.symbols);
    set_type(op, 0, shape ? Type::tensor(x.dtype, std::move(*shape)) : Type::unranked(x.dtype));
    return {};
  }
  if (auto axes = const_ints(op.operands[1])) {
    TRY_ASSIGN(Shape shape, squeeze_axes(x.shape, *axes, cx));
    set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
    return {};
  }
  auto count = vector_length(op.operands[1]);
  if (count && *count <= x.rank()) set_unknown_dims(op, 0, x.dtype, x.rank() - static_cast<int>(*count), cx);
  else set_type(op, 0, Type::unranked(x.dtype));
  return {};
}
static Result<std::vector<HostValue>> eval_squeeze(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  if (!call.has(1)) return one(with_dims(x, static_dims(*squeeze_ones(to_shape(x.dims), {}))));
  Facts facts;
  TRY_ASSIGN(Shape shape, squeeze_axes(to_shape(x.dims), load_all<int64_t>(call.tensor(1)), facts));
  return one(with_dims(x, static_dims(shape)));
}
OpDef def_squeeze() {
  return {.onnx = "Squeeze", .family = Family::move, .traits = kViewLike, .min_operands = 1, .max_operands = 2, .infer = infer_squeeze,
          .eval = eval_squeeze, .cost = view_cost, .shard = shard_view};
}

static Result<Shape> unsqueeze_axes(const Shape& x, const std::vector<int64_t>& given) {
  int rank = static_cast<int>(x.size() + given.size());
  TRY_ASSIGN(std::vector<int> axes, axes_in_order(given, rank));
  Shape out;
  auto next = x.begin();
  for (int d = 0; d < rank; ++d) out.push_back(std::find(axes.begin(), axes.end(), d) != axes.end() ? Dim(1) : *next++);
  return out;
}
static Status infer_unsqueeze(Op& op, InferContext& cx) {
  if (unranked_operand(op, 0)) return {};
  TRY(need_tensor(op, 0));
  TRY(need_int_vector(op, 1));
  const Type& x = type_of(op, 0);
  op.results[0]->known = op.operands[0]->known;
  auto axes = const_ints(op.operands[1]);
  auto count = vector_length(op.operands[1]);
  if ((axes && axes->size() > 64) || (count && *count > 64)) return invalid("unsqueeze by more than 64 dims");
  if (axes) {
    TRY_ASSIGN(Shape shape, unsqueeze_axes(x.shape, *axes));
    set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  } else if (count) {
    set_unknown_dims(op, 0, x.dtype, x.rank() + static_cast<int>(*count), cx);
  } else {
    set_type(op, 0, Type::unranked(x.dtype));
  }
  return {};
}
static Result<std::vector<HostValue>> eval_unsqueeze(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(Shape shape, unsqueeze_axes(to_shape(x.dims), load_all<int64_t>(call.tensor(1))));
  return one(with_dims(x, static_dims(shape)));
}
OpDef def_unsqueeze() {
  return {.onnx = "Unsqueeze", .family = Family::move, .traits = kViewLike, .min_operands = 2, .max_operands = 2, .infer = infer_unsqueeze,
          .eval = eval_unsqueeze, .cost = view_cost, .shard = shard_view};
}

// --- flatten --------------------------------------------------------------------------------------------------------

static Result<Shape> flattened(const Shape& x, int64_t axis) {
  int64_t rank = static_cast<int64_t>(x.size()), a = axis < 0 ? axis + rank : axis;
  if (a < 0 || a > rank) return invalid("axis " + std::to_string(axis) + " is outside [-" + std::to_string(rank) + ", " + std::to_string(rank) + "]");
  return Shape{numel(Shape(x.begin(), x.begin() + a)), numel(Shape(x.begin() + a, x.end()))};
}
static Status infer_flatten(Op& op, InferContext& cx) {
  if (type_of(op, 0).is_tensor() && !type_of(op, 0).ranked) {
    set_unknown_dims(op, 0, type_of(op, 0).dtype, 2, cx);
    return {};
  }
  TRY(need_tensor(op, 0));
  TRY_ASSIGN(Shape shape, flattened(type_of(op, 0).shape, op.attr<FlattenAttrs>().axis));
  set_type(op, 0, Type::tensor(type_of(op, 0).dtype, std::move(shape)));
  op.results[0]->known = op.operands[0]->known;
  return {};
}
static Result<std::vector<HostValue>> eval_flatten(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(Shape shape, flattened(to_shape(x.dims), call.attr<FlattenAttrs>().axis));
  return one(with_dims(x, static_dims(shape)));
}
OpDef def_flatten() {
  return {.onnx = "Flatten", .family = Family::move, .traits = kViewLike, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<FlattenAttrs>,
          .infer = infer_flatten, .eval = eval_flatten, .cost = view_cost, .shard = shard_view};
}

}  // namespace weft
