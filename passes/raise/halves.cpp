#include "passes/raise/halves.h"

#include <algorithm>
#include <cstring>

#include "ir/ops/move.h"

namespace weft {

int last_axis(const Value* v) { return v->type.rank() - 1; }

namespace {

constexpr int64_t kCacheBytes = 16 << 20;

bool is_view(const Op* op) {
  return op && (op->kind == OpKind::reshape || op->kind == OpKind::squeeze || op->kind == OpKind::unsqueeze || op->kind == OpKind::flatten);
}
// v is a view of a value with exactly these dims: that one. v itself where it has them.
Value* viewed(Value* v, const Shape& dims, std::vector<Op*>& ops) {
  if (v->type.shape == dims) return v;
  if (!is_view(v->def) || !v->def->operands[0]->type.is_ranked() || v->def->operands[0]->type.shape != dims) return nullptr;
  ops.push_back(v->def);
  return v->def->operands[0];
}
Shape with_last(Shape dims, std::initializer_list<Dim> last) {
  dims.pop_back();
  dims.insert(dims.end(), last);
  return dims;
}

}  // namespace

std::optional<Joined> joined(Value* v) {
  if (!v->type.is_ranked() || v->type.rank() < 1) return std::nullopt;
  Joined j;
  Op* c = def_of(v, OpKind::concat);
  if (c) {
    if (concat_axis(*c) != last_axis(v) || c->num_operands() < 2 || c->num_operands() > 3) return std::nullopt;
    j = {c->operands[0], c->operands[1], c->operand(2), false, {c}};
    return same_type(j.first->type, j.second->type) ? std::optional<Joined>(j) : std::nullopt;
  }
  const Dim& width = v->type.dim(-1);
  if (!width.is_const() || width.value() % 2 != 0) return std::nullopt;
  Shape half = with_last(v->type.shape, {width.value() / 2});
  Value* stack = viewed(v, with_last(v->type.shape, {width.value() / 2, 2}), j.ops);
  c = stack ? def_of(stack, OpKind::concat) : nullptr;
  if (!c || c->num_operands() != 2 || concat_axis(*c) != last_axis(stack)) return std::nullopt;
  j.ops.push_back(c);
  j.first = viewed(c->operands[0], half, j.ops);
  j.second = viewed(c->operands[1], half, j.ops);
  j.turns = true;
  return j.first && j.second ? std::optional<Joined>(j) : std::nullopt;
}

// An element of a last dim of 2, dropped or kept as 1: `x` viewed as [.., h, 2].
static std::optional<Channels> channels_of_pairs(Value* v) {
  Channels c;
  Value* pairs = nullptr;
  if (Op* g = def_of(v, OpKind::gather)) {
    auto which = const_ints(g->operands[1]);
    pairs = g->operands[0];
    auto axis = pairs->type.is_ranked() ? normalize_axis(g->attr<GatherAttrs>().axis, pairs->type.rank()) : Result<int>(-1);
    if (!axis.ok() || *axis != last_axis(pairs) || !which || which->size() != 1 || g->operands[1]->type.rank() != 0) return std::nullopt;
    c.start = (*which)[0] < 0 ? (*which)[0] + 2 : (*which)[0];
    c.ops.push_back(g);
  } else {
    Shape one = v->type.shape;
    one.push_back(1);
    Value* kept = viewed(v, one, c.ops);
    auto p = kept ? piece_of(kept, last_axis(kept)) : std::nullopt;
    if (!p || !p->start.is_const()) return std::nullopt;
    pairs = p->source;
    c.start = p->start.value();
    c.ops.push_back(kept->def);
  }
  if (!pairs->type.is_ranked() || !pairs->type.dim(-1).is(2) || !v->type.dim(-1).is_const()) return std::nullopt;
  c.width = v->type.dim(-1).value();
  c.turns = true;
  c.of = viewed(pairs, with_last(v->type.shape, {2 * c.width}), c.ops);
  return c.of && c.of != pairs ? std::optional<Channels>(c) : std::nullopt;
}
// One step of the way to the value that is taken apart.
static std::optional<Channels> taken_from(Value* v) {
  if (auto p = piece_of(v, last_axis(v)); p && p->start.is_const() && p->length.is_const() && (p->step == 1 || p->step == 2))
    return Channels{p->source, p->start.value(), p->length.value(), p->step == 2, {v->def}};
  return channels_of_pairs(v);
}
std::optional<Channels> channels_of(Value* v) {
  if (!v->type.is_ranked() || v->type.rank() < 1 || !v->type.dim(-1).is_const()) return std::nullopt;
  Channels c{v, 0, v->type.dim(-1).value(), false, {}};
  while (auto next = taken_from(c.of)) {
    if (next->turns && c.of != v) break;  // every other channel of a part, not a part of every other channel
    next->ops.insert(next->ops.end(), c.ops.begin(), c.ops.end());
    c = {next->of, c.start + next->start, c.width, c.turns || next->turns, std::move(next->ops)};
  }
  return c;
}
Value* build_channels(Builder& b, const Channels& c) {
  if (c.turns) return nullptr;
  if (c.start == 0 && c.of->type.dim(-1).is(c.width)) return c.of;
  return slice_along(b, {c.of, c.start, c.width, 1}, last_axis(c.of));
}

std::optional<Channels> whole_of(Value* v1, Value* v2) {
  auto a = channels_of(v1), b = channels_of(v2);
  if (!a || !b || a->of != b->of || a->turns != b->turns || a->width != b->width ||
      b->start != a->start + (a->turns ? 1 : a->width))
    return std::nullopt;
  std::vector<Op*> ops = a->ops;
  ops.insert(ops.end(), b->ops.begin(), b->ops.end());
  return Channels{a->of, a->start, 2 * a->width, a->turns, std::move(ops)};
}
bool is_whole(Value* v, const Channels& whole) {
  auto c = channels_of(v);
  return c && !c->turns && c->of == whole.of && c->start == whole.start && c->width == whole.width;
}

namespace {

// A cache of which the halves of every row are equal.
bool repeats_itself(const Constant& c, bool turns) {
  int64_t size = byte_size(c.dtype), width = c.dims.empty() ? 0 : c.dims.back();
  const std::byte* at = c.source == Constant::Source::splat || c.source == Constant::Source::strings ? nullptr : c.data();
  if (!at || !is_float(c.dtype) || is_subbyte(c.dtype) || width < 2 || width % 2 || c.numel() * size > kCacheBytes) return false;
  for (const std::byte* end = at + c.numel() * size; at < end; at += turns ? 2 * size : width * size)
    if (std::memcmp(at, at + (turns ? size : width / 2 * size), turns ? size : width / 2 * size) != 0) return false;
  return true;
}

class OneHalf {
 public:
  OneHalf(Builder& b, bool turns) : b_(b), turns_(turns) {}

  Value* of(Value* v, int depth = 0) {
    if (depth > 12 || !v->type.is_ranked() || v->type.rank() < 1 || !v->type.dim(-1).is_const() || !v->def) return nullptr;
    if (auto j = joined(v)) return j->first == j->second && j->turns == turns_ && !j->rest ? j->first : nullptr;
    if (Value* x = repeated(v)) return x;
    if (const Constant* c = constant_of(v)) return repeats_itself(*c, turns_) ? cut(v) : nullptr;
    Op& op = *v->def;
    int64_t half = v->type.dim(-1).value() / 2;
    if (auto p = op.kind == OpKind::concat || !last_is_kept(op) ? nullptr : of(op.operands[0], depth + 1)) {
      std::vector<Value*> operands = op.operands;
      operands[0] = p;
      if (op.kind == OpKind::reshape) operands[1] = shape_with_last(op, half);
      return built(op, operands, v->type, half);
    }
    return elementwise(op, v->type, half, depth);
  }

 private:
  // Each element twice: [.., h] as [.., h, 1], expanded to [.., h, 2] and flattened.
  Value* repeated(Value* v) const {
    int64_t width = v->type.dim(-1).value();
    std::vector<Op*> ops;
    Value* pairs = turns_ && width % 2 == 0 ? viewed(v, with_last(v->type.shape, {width / 2, 2}), ops) : nullptr;
    Op* expand = pairs ? def_of(pairs, OpKind::expand) : nullptr;
    Value* x = expand ? viewed(expand->operands[0], with_last(v->type.shape, {width / 2}), ops) : nullptr;
    return x && x != expand->operands[0] ? x : nullptr;
  }
  // The op moves whole rows of its first operand.
  static bool last_is_kept(const Op& op) {
    const Value* x = op.operand(0);
    if (!x || !x->type.is_ranked() || x->type.rank() < 1 || !(x->type.dim(-1) == op.result()->type.dim(-1))) return false;
    int last = x->type.rank() - 1;
    switch (op.kind) {
      case OpKind::reshape: return const_ints(op.operands[1]).has_value();
      case OpKind::squeeze: return op.operand(1) != nullptr;
      case OpKind::unsqueeze: return true;
      case OpKind::gather: {
        auto axis = normalize_axis(op.attr<GatherAttrs>().axis, x->type.rank());
        return axis.ok() && *axis < last;
      }
      case OpKind::slice: {
        auto axes = op.operand(3) ? const_ints(op.operands[3]) : std::nullopt;
        return axes && std::none_of(axes->begin(), axes->end(), [&](int64_t a) { return a == last || a == -1; });
      }
      case OpKind::transpose: {
        auto perm = transpose_perm(op);
        return perm.ok() && perm->back() == last;
      }
      default: return false;
    }
  }
  Value* shape_with_last(const Op& reshape, int64_t half) {
    std::vector<int64_t> dims = *const_ints(reshape.operands[1]);
    dims.back() = half;
    return b_.ints(dims);
  }
  // One operand that varies along the channels; numbers beside it.
  Value* elementwise(Op& op, const Type& type, int64_t half, int depth) {
    if (!op_def(op).scalar || op.num_results() != 1) return nullptr;
    std::vector<Value*> operands = op.operands;
    int varies = -1;
    for (int i = 0; i < op.num_operands(); ++i) {
      if (!operands[i] || uniform_value(operands[i])) continue;
      if (varies >= 0) return nullptr;
      varies = i;
    }
    if (varies < 0 || operands[varies]->type.shape != type.shape) return nullptr;
    operands[varies] = of(operands[varies], depth + 1);
    return operands[varies] ? built(op, operands, type, half) : nullptr;
  }
  Value* built(Op& op, const std::vector<Value*>& operands, const Type& type, int64_t half) {
    std::vector<std::string> outer = std::exchange(b_.provenance, op.provenance);
    Value* y = try_build(b_, op.kind, operands, op.attrs->clone());
    b_.provenance = std::move(outer);
    return y && y->type.is_ranked() && y->type.shape == with_last(type.shape, {half}) ? y : nullptr;
  }
  Value* cut(Value* v) {
    int64_t width = v->type.dim(-1).value();
    int axis = last_axis(v);
    std::vector<Value*> operands{v, b_.ints({0}), b_.ints({turns_ ? width : width / 2}), b_.ints({axis})};
    if (turns_) operands.push_back(b_.ints({2}));
    return try_build(b_, OpKind::slice, operands);
  }

  Builder& b_;
  bool turns_;
};

}  // namespace

Value* one_half(Builder& b, Value* v, bool turns) { return OneHalf(b, turns).of(v); }

}  // namespace weft
