// propagate-quantize: elements stay quantised through ops that only move or choose them. dequantize_linear goes behind such an op,
// and quantize_linear before it, so that these meet other ones:
//
//   quantize(dequantize(q)) of one scale is q, and max(q, zero point) with a relu between, quantize(relu(x)) is quantize(x) where
//   the zero point is the least number, and of two roundings in a row the finer one goes where it also reaches as far.
//
// Results are exactly what they were, but for that last rule, which may change one by a step. Scales are taken to be positive, as
// ONNX demands; max pools are crossed only where they are known to be. Weights stay as they are: products read them through
// dequantize_linear, and lift-prepare moves their work away; but of a table the rows that are wanted are dequantised.
#include <algorithm>
#include <cmath>

#include "ir/ops/move.h"
#include "ir/ops/quantize.h"
#include "ir/ops/resample.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

// The numbers that quantize_linear gives or dequantize_linear takes, of one scale for all: (q - zero) * scale for q in [low, high].
struct Grid {
  double scale, zero, low, high;
  double rounded(double x) const { return std::clamp(std::nearbyint(x / scale) + zero, low, high); }
  double from() const { return (low - zero) * scale; }
  double to() const { return (high - zero) * scale; }
};
DType quantised_type_of(const Op& op) { return op.kind == OpKind::quantize_linear ? op.result()->type.dtype : op.operands[0]->type.dtype; }
std::optional<Grid> grid_of(const Op& op) {
  auto scale = uniform_value(op.operands[1]), zero = op.operand(2) ? uniform_value(op.operands[2]) : 0;
  const DType t = quantised_type_of(op);
  if (!scale || !zero || !(*scale > 0) || !std::isfinite(*scale) || !is_int(t)) return std::nullopt;
  return Grid{*scale, *zero, static_cast<double>(int_min(t)), static_cast<double>(int_max(t))};
}

bool has_one_scale(const Op& op) {
  const Type& s = op.operands[1]->type;
  return s.is_ranked() && is_static(s.shape) && numel(s.shape).is(1);
}
int64_t axis_of(const Op& op) { return op.kind == OpKind::quantize_linear ? op.attr<QuantizeAttrs>().axis : op.attr<DequantizeAttrs>().axis; }
int64_t block_of(const Op& op) { return op.kind == OpKind::quantize_linear ? op.attr<QuantizeAttrs>().block_size : op.attr<DequantizeAttrs>().block_size; }

// Both of a scale and zero point that are the same, for elements of one integer type.
bool same_grid(const Op& a, const Op& b) {
  const DType t = quantised_type_of(a);
  if (t != quantised_type_of(b) || !is_int(t)) return false;
  auto same = [](const Value* x, const Value* y) {
    if (x == y) return true;
    auto p = x ? uniform_value(x) : 0, q = y ? uniform_value(y) : 0;
    return p && q && *p == *q;
  };
  if (!same(a.operands[1], b.operands[1]) || !same(a.operand(2), b.operand(2))) return false;
  if (has_one_scale(a) && has_one_scale(b)) return true;
  const int64_t rank = a.operands[0]->type.rank();
  return a.operands[1] == b.operands[1] && (axis_of(a) + rank) % rank == (axis_of(b) + rank) % rank && block_of(a) == block_of(b);
}

// An op like this one of other elements.
template <class A>
Value* scaled(Builder& b, const Op& like, Value* elements, int64_t axis) {
  std::vector<Value*> operands = like.operands;
  operands[0] = elements;
  A attrs = like.attr<A>();
  attrs.axis = axis;
  return b.op(like.kind, operands, attrs);
}
Value* quantised(Builder& b, const Op& like, Value* x, int64_t axis) { return scaled<QuantizeAttrs>(b, like, x, axis); }

// --- what meets ---------------------------------------------------------------------------------------------------------------

// A float holds (q - zero) * scale finely enough for its quotient by the scale to be rounded to q - zero.
bool survives(const Op& dequantize, const Op& quantize) {
  const DType t = dequantize.operands[1]->type.dtype;
  if (dequantize.result()->type.dtype != t || quantize.operands[1]->type.dtype != t || division_type(quantize) != t) return false;
  return bit_width(quantised_type_of(quantize)) <= (t == DType::f32 ? 16 : t == DType::f16 ? 8 : 0);
}

bool cancel(Op& op) {
  Op* back = def_of(op.operands[0], OpKind::dequantize_linear);
  return back && same_grid(*back, op) && survives(*back, op) && replace_op(op, back->operands[0]);
}

// quantize(relu(x)) and quantize(clip(x)), whose bounds are those of the numbers that it can give.
bool skip_bounds(Op& op) {
  Op* inner = op.operands[0]->def;
  auto grid = grid_of(op);
  if (!inner || !grid || (inner->kind != OpKind::relu && inner->kind != OpKind::clip)) return false;
  std::optional<double> low = 0, high = INFINITY;
  if (inner->kind == OpKind::clip) {
    low = inner->operand(1) ? uniform_value(inner->operands[1]) : -INFINITY;
    high = inner->operand(2) ? uniform_value(inner->operands[2]) : INFINITY;
  }
  if (!low || !high || grid->rounded(*low) != grid->low || grid->rounded(*high) != grid->high) return false;
  Builder b = build_before(op, {inner});
  return replace_op(op, quantised(b, op, inner->operands[0], axis_of(op)));
}

// relu(dequantize(q)) whose zero point is the least q.
bool drop_relu(Op& op) {
  Op* inner = def_of(op.operands[0], OpKind::dequantize_linear);
  if (!inner || !is_int(quantised_type_of(*inner))) return false;
  auto zero = inner->operand(2) ? uniform_value(inner->operands[2]) : 0;
  return zero && *zero == static_cast<double>(int_min(quantised_type_of(*inner))) && replace_op(op, op.operands[0]);
}

// quantize(relu(dequantize(q))) of one scale: whichever is larger, q or the zero point.
bool keep_relu(Op& op) {
  Op* relu = def_of(op.operands[0], OpKind::relu);
  Op* back = relu ? def_of(relu->operands[0], OpKind::dequantize_linear) : nullptr;
  auto grid = back ? grid_of(*back) : std::nullopt;
  if (!grid || !same_grid(*back, op) || !survives(*back, op)) return false;
  Builder b = build_before(op, {relu, back});
  return replace_op(op, b.op(OpKind::max, {back->operands[0], b.scalar(quantised_type_of(op), grid->zero)}));
}

// quantize(dequantize(quantize(x))): the first step is no larger, and reaches at least as far.
bool merge_roundings(Op& op) {
  Op* back = def_of(op.operands[0], OpKind::dequantize_linear);
  Op* first = back ? def_of(back->operands[0], OpKind::quantize_linear) : nullptr;
  if (!first || !has_one_use(back->result()) || !has_one_use(first->result()) || !same_grid(*first, *back)) return false;
  auto fine = grid_of(*first), coarse = grid_of(op);
  if (!fine || !coarse || fine->scale > coarse->scale || first->operands[0]->type.dtype != op.operands[0]->type.dtype) return false;
  const double half = coarse->scale / 2;
  if (fine->from() > coarse->from() + half || fine->to() < coarse->to() - half) return false;
  Builder b = build_before(op, {first, back});
  return replace_op(op, quantised(b, op, first->operands[0], axis_of(op)));
}

// --- moves --------------------------------------------------------------------------------------------------------------------

// Every element of a result is one of operand 0 (of a concat: of any operand), or what pads it.
bool moves(const Op& op) {
  switch (op.kind) {
    case OpKind::reshape: case OpKind::transpose: case OpKind::squeeze: case OpKind::unsqueeze: case OpKind::flatten: case OpKind::expand:
    case OpKind::tile: case OpKind::slice: case OpKind::split: case OpKind::concat: case OpKind::gather: case OpKind::depth_to_space:
    case OpKind::space_to_depth: return true;
    case OpKind::pad: return op.attr<PadAttrs>().mode == "constant" && (!op.operand(2) || is_uniform(op.operands[2], 0));
    case OpKind::max_pool: return op.num_results() == 1;
    case OpKind::resize: {
      const ResizeAttrs& a = op.attr<ResizeAttrs>();
      return a.mode == "nearest" && a.coordinate_transformation_mode != "tf_crop_and_resize";  // which writes a number of its own
    }
    default: return false;
  }
}

// Of a quantize or dequantize_linear beside the move: its `axis` on the other side. Nullopt where its scales would not lie along one
// any more.
std::optional<int64_t> axis_across(const Op& scaled, const Op& move, bool behind) {
  if (has_one_scale(scaled)) return axis_of(scaled);
  const int rank = move.operands[0]->type.rank();
  const int64_t axis = (axis_of(scaled) + rank) % rank;
  if (move.kind == OpKind::transpose && block_of(scaled) == 0) {
    auto perm = transpose_perm(move);
    if (!perm.ok()) return std::nullopt;
    return behind ? std::find(perm->begin(), perm->end(), axis) - perm->begin() : (*perm)[static_cast<size_t>(axis)];
  }
  if (move.kind != OpKind::gather || !behind || block_of(scaled) != 0) return std::nullopt;
  const int64_t at = (move.attr<GatherAttrs>().axis + rank) % rank;
  return axis == at ? std::nullopt : std::optional(axis > at ? axis + move.operands[1]->type.rank() - 1 : axis);
}

// The move of quantised elements: `operands` stand in place of those that it moves. Null where the type is none for it.
Op* moved(Builder& b, const Op& move, const Op& scaled, const std::vector<Value*>& data) {
  std::vector<Value*> operands = move.operands;
  std::copy(data.begin(), data.end(), operands.begin());
  auto grid = grid_of(scaled);
  if (!grid && (move.kind == OpKind::pad || move.kind == OpKind::max_pool)) return nullptr;
  if (move.kind == OpKind::pad && grid->zero != 0) {
    operands.resize(std::max<size_t>(operands.size(), 3));
    operands[2] = b.scalar(quantised_type_of(scaled), grid->zero);
  } else if (move.kind == OpKind::pad && operands.size() > 2) {
    operands[2] = nullptr;
  }
  auto made = b.create(move.kind, operands, move.attrs->clone(), move.num_results());
  return made.ok() ? *made : nullptr;
}

bool dequantize_later(Op& op) {
  Op* first = op.num_operands() > 0 && moves(op) ? def_of(op.operands[0], OpKind::dequantize_linear) : nullptr;
  if (!first || !op.operands[0]->type.is_ranked() || bit_width(quantised_type_of(*first)) < 8) return false;
  if (depends_on_constants(first->operands[0]) && (op.kind != OpKind::gather || depends_on_constants(op.operands[1]))) return false;
  auto axis = axis_across(*first, op, true);
  std::vector<Value*> data{first->operands[0]};
  std::vector<Op*> from{first};
  for (size_t i = 1; op.kind == OpKind::concat && i < op.operands.size(); ++i) {
    Op* other = def_of(op.operands[i], OpKind::dequantize_linear);
    if (!other || !same_grid(*first, *other) || op.operands[i]->type.dtype != op.operands[0]->type.dtype) return false;
    data.push_back(other->operands[0]);
    from.push_back(other);
  }
  if (!axis) return false;
  Builder b = build_before(op, from);
  Op* before = moved(b, op, *first, data);
  if (!before) return false;
  std::vector<Value*> results;
  for (auto& r : before->results) results.push_back(scaled<DequantizeAttrs>(b, *first, r.get(), *axis));
  return replace_op(op, results);
}

// Not before what leaves elements out: they would be quantised for nothing.
bool quantize_earlier(Op& op) {
  Op* move = op.operands[0]->def;
  if (!move || !moves(*move) || !has_one_use(op.operands[0]) || !move->operands[0]->type.is_ranked()) return false;
  if (move->kind == OpKind::slice || move->kind == OpKind::split || move->kind == OpKind::gather) return false;
  auto axis = axis_across(op, *move, false);
  if (!axis || bit_width(quantised_type_of(op)) < 8) return false;
  Builder b = build_before(op, {move});
  std::vector<Value*> data;
  for (size_t i = 0; i < (move->kind == OpKind::concat ? move->operands.size() : 1); ++i)
    data.push_back(quantised(b, op, move->operands[i], *axis));
  Op* behind = moved(b, *move, op, data);
  return behind && replace_op(op, behind->result());
}

}  // namespace

Result<bool> pass_propagate_quantize(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) {
    if (op.kind == OpKind::relu) return drop_relu(op);
    if (op.kind != OpKind::quantize_linear) return dequantize_later(op);
    return cancel(op) || skip_bounds(op) || keep_relu(op) || merge_roundings(op) || quantize_earlier(op);
  });
}

}  // namespace weft
