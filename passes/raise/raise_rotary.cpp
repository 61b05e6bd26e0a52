// raise-rotary: rotary position embedding among simpler ops becomes rotary_embedding. Exporters spell it in two ways,
//   x * cos + rotated(x) * sin              where the halves of cos and of sin are equal, and rotated(x) is (-second, first)
//   joined(first * cos - second * sin,      where cos and sin are half as wide
//          second * cos + first * sin)
// each with the halves of x side by side or by turns (see halves.h), with heads before or behind the sequence, and on all
// channels or on the first ones.
#include "ir/ops/attention.h"
#include "ir/ops/move.h"
#include "passes/raise/halves.h"

namespace weft {

namespace {

// Where the heads of x[B, ?, ?, D] stand, by the dims of cos[.., h]: there it is 1, and as long as x in the other place.
// 0: neither.
int heads_axis(const Type& x, const Type& cos) {
  if (cos.rank() > 4) return 0;
  Shape dims(4 - cos.rank(), 1);
  dims.insert(dims.end(), cos.shape.begin(), cos.shape.end());
  if (!dims[0].is(1) && !(dims[0] == x.dim(0))) return 0;
  for (int axis : {1, 2})
    if (dims[axis].is(1) && dims[3 - axis] == x.dim(3 - axis)) return axis;
  return 0;
}
// cos as [B or 1, S, h]
Value* without_heads(Builder& b, Value* cos, int axis) {
  std::vector<int64_t> front;
  for (int i = cos->type.rank(); i < 4; ++i) front.push_back(static_cast<int64_t>(front.size()));
  if (!front.empty()) cos = b.op(OpKind::unsqueeze, {cos, b.ints(front)});
  return b.op(OpKind::squeeze, {cos, b.ints({axis})});
}

Value* swap_middle(Builder& b, Value* v) {
  TransposeAttrs t;
  t.perm = {0, 2, 1, 3};
  return b.op(OpKind::transpose, {v}, t);
}

bool swaps_middle(const Op& transpose) {
  auto perm = transpose_perm(transpose);
  return perm.ok() && *perm == std::vector<int>{0, 2, 1, 3};
}

// x turned by the angles of cos and sin, which are half as wide as what is turned of it; null where they do not fit.
Value* turned(Builder& b, Value* x, Value* cos, Value* sin, const RotaryAttrs& a) {
  if (!x->type.is_ranked() || x->type.rank() != 4 || !cos->type.is_ranked() || !sin->type.is_ranked()) return nullptr;
  int axis = heads_axis(x->type, cos->type);
  if (!axis || heads_axis(x->type, sin->type) != axis) return nullptr;
  cos = without_heads(b, cos, axis);
  sin = without_heads(b, sin, axis);
  Value* y = try_build(b, OpKind::rotary_embedding, {axis == 2 ? swap_middle(b, x) : x, cos, sin}, attrs_of(a));
  return y && axis == 2 ? swap_middle(b, y) : y;
}

// The product v of x, or of something that `is_x` accepts, and another value: that one.
template <class F>
Value* factor_beside(Value* v, F&& is_x) {
  Op* mul = def_of(v, OpKind::mul);
  if (!mul || !has_one_use(v)) return nullptr;
  for (int i = 0; i < 2; ++i)
    if (is_x(mul->operands[i])) return mul->operands[1 - i];
  return nullptr;
}

// x * cos + rotated(x) * sin
bool raise_sum(Op& op) {
  for (int i = 0; i < 2; ++i) {
    std::optional<Joined> j;
    std::optional<Channels> whole;
    Value* sin = factor_beside(op.operands[i], [&](Value* v) {
      j = joined(v);
      Op* neg = j && !j->rest ? def_of(j->first, OpKind::neg) : nullptr;
      whole = neg ? whole_of(j->second, neg->operands[0]) : std::nullopt;
      return whole && whole->turns == j->turns;
    });
    Value* x = nullptr;
    Value* cos = sin ? factor_beside(op.operands[1 - i], [&](Value* v) { return is_whole(x = v, *whole); }) : nullptr;
    if (!cos) continue;
    std::vector<Op*> from = whole->ops;
    from.push_back(j->first->def);
    from.insert(from.end(), j->ops.rbegin(), j->ops.rend());
    from.insert(from.end(), {op.operands[1 - i]->def, op.operands[i]->def});
    Builder b = build_before(op, from);
      cos = one_half(b, cos, whole->turns);
    sin = cos ? one_half(b, sin, whole->turns) : nullptr;
    RotaryAttrs a;
    a.interleaved = whole->turns;
    Value* y = sin ? turned(b, x, cos, sin, a) : nullptr;
    if (y && replace_op(op, y)) return true;
  }
  return false;
}

// first * cos - second * sin and second * cos + first * sin, joined, with the channels that are not turned behind them.
bool raise_joined(Op& op) {
  auto j = joined(op.result());
  Op *real = j ? def_of(j->first, OpKind::sub) : nullptr, *imaginary = j ? def_of(j->second, OpKind::add) : nullptr;
  if (!real || !imaginary || !has_one_use(j->first) || !has_one_use(j->second)) return false;
  std::optional<Channels> whole;
  Value *first = nullptr, *second = nullptr, *sin = nullptr;
  Value* cos = factor_beside(real->operands[0], [&](Value* v1) {
    first = v1;
    sin = factor_beside(real->operands[1], [&](Value* v2) { return (whole = whole_of(v1, second = v2)).has_value(); });
    return sin != nullptr;
  });
  if (!cos || whole->turns != j->turns) return false;
  auto is_sum = [&](Value* a, Value* b) {
    return factor_beside(a, [&](Value* v) { return v == second; }) == cos && factor_beside(b, [&](Value* v) { return v == first; }) == sin;
  };
  if (!is_sum(imaginary->operands[0], imaginary->operands[1]) && !is_sum(imaginary->operands[1], imaginary->operands[0])) return false;
  std::vector<Op*> from = whole->ops;
  for (Op* half : {real, imaginary}) from.insert(from.end(), {half->operands[0]->def, half->operands[1]->def, half});
  from.insert(from.end(), j->ops.rbegin(), j->ops.rend());
  Builder b = build_before(op, from);
  RotaryAttrs a;
  a.interleaved = whole->turns;
  Channels all = *whole;
  all.turns = false;
  if (j->rest) {
    auto rest = channels_of(j->rest);
    if (!rest || rest->of != whole->of || rest->turns || rest->start != whole->start + whole->width) return false;
    a.rotary_embedding_dim = whole->width;
    all.width += rest->width;
  }
  Value* x = build_channels(b, all);
  Value* y = x ? turned(b, x, cos, sin, a) : nullptr;
  return y && replace_op(op, y);
}

// concat(rotary_embedding of the first channels, the others): all at once.
bool take_rest(Op& op) {
  auto rest = op.num_operands() == 2 && concat_axis(op) == last_axis(op.result()) ? channels_of(op.operands[1]) : std::nullopt;
  Op* back = def_of(op.operands[0], OpKind::transpose);
  Op* rotary = def_of(back ? back->operands[0] : op.operands[0], OpKind::rotary_embedding);
  if (!rest || !rotary || rotary->attr<RotaryAttrs>().rotary_embedding_dim != 0 || rotary->operands[0]->type.rank() != 4) return false;
  Value* part = rotary->operands[0];
  if (back) {
    Op* there = def_of(part, OpKind::transpose);
    if (!there || !swaps_middle(*there) || !swaps_middle(*back)) return false;
    part = there->operands[0];
  }
  auto all = channels_of(part);
  if (!all || all->turns || rest->turns || all->of != rest->of || rest->start != all->start + all->width) return false;
  RotaryAttrs a = rotary->attr<RotaryAttrs>();
  a.rotary_embedding_dim = all->width;
  all->width += rest->width;
  Builder b = build_before(op, {rotary});
  Value* x = build_channels(b, *all);
  if (!x) return false;
  if (back) x = swap_middle(b, x);
  Value* y = try_build(b, OpKind::rotary_embedding, {x, rotary->operands[1], rotary->operands[2]}, attrs_of(a));
  return y && replace_op(op, back ? swap_middle(b, y) : y);
}

}  // namespace

Result<bool> pass_raise_rotary(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) {
    if (op.num_results() != 1 || !op.result()->type.is_ranked() || !is_float(op.result()->type.dtype)) return false;
    switch (op.kind) {
      case OpKind::add: return raise_sum(op);
      case OpKind::concat: return raise_joined(op) || take_rest(op);
      case OpKind::reshape: case OpKind::flatten: return raise_joined(op);
      default: return false;
    }
  });
}

}  // namespace weft
