// Fourier transforms as contractions with constant tables, short-time ones as convolutions; windows and mel filters as
// formulas over counted elements; dynamic quantisation as its formula.
#include <cmath>
#include <numbers>

#include "ir/expand/expansions.h"
#include "ir/ops/conv.h"
#include "ir/ops/move.h"
#include "ir/ops/quantize.h"
#include "ir/ops/reduce.h"
#include "ir/ops/signal.h"

namespace weft {

namespace {

constexpr int64_t kMaxTable = int64_t{1} << 24;

// What part p of input k adds to part c of result j in a transform of length n.
struct Twiddle {
  int64_t n = 1;
  bool inverse = false, halved = false;  // halved: k counts the first half of a spectrum, results are real
  double at(int64_t k, int64_t p, int64_t j, int64_t c) const {
    double angle = (inverse ? 2 : -2) * std::numbers::pi * static_cast<double>(k * j % n) / static_cast<double>(n);
    double cos = std::cos(angle), sin = std::sin(angle), v = p == c ? cos : c == 1 ? sin : -sin;
    if (halved) {
      bool single = k == 0 || 2 * k == n;  // these have no mirror image, and their imaginary parts must be 0
      v *= single ? (p == 0 ? 1 : 0) : 2;
    }
    return inverse ? v / static_cast<double>(n) : v;
  }
};

std::string letters(int count) { return std::string("abcdefghijklmnopqrstuvwxyz").substr(0, count); }

// The same table for lengths that only the run knows, [used, parts, bins, 2 or 1]: n, used and bins are scalars.
Value* twiddle_table(Emit& e, DType t, const Twiddle& w, int64_t parts, Value* n, Value* used, Value* bins) {
  Value *k = e.unsqueeze(e.iota(used), {1}), *j = e.iota(bins);
  Value* turn = e.div(e.cast(e.op(OpKind::mod, {e.mul(k, j), n}), t), e.cast(n, t));
  Value* angle = e.mul(turn, e.scalar(t, (w.inverse ? 2 : -2) * std::numbers::pi));
  Value *cos = e.op(OpKind::cos, {angle}), *sin = e.op(OpKind::sin, {angle});
  auto pair = [&](Value* re, Value* im) {
    re = e.unsqueeze(re, {2});
    return e.unsqueeze(w.halved ? re : e.concat({re, e.unsqueeze(im, {2})}, 2), {1});
  };
  std::vector<Value*> rows{pair(cos, sin)};
  if (parts == 2) rows.push_back(pair(e.sub(e.scalar(t, 0), sin), cos));
  if (w.halved) {
    Value* single = e.op(OpKind::or_, {e.op(OpKind::equal, {k, e.like(k, 0)}), e.op(OpKind::equal, {e.add(k, k), n})});
    single = e.unsqueeze(single, {2, 3});
    for (size_t p = 0; p < rows.size(); ++p) rows[p] = e.mul(rows[p], e.where(single, e.scalar(t, p == 0 ? 1 : 0), e.scalar(t, 2)));
  }
  Value* table = e.concat(std::move(rows), 1);
  return w.inverse ? e.div(table, e.cast(n, t)) : table;
}

DType transform_type(const Value* x) { return x->type.dtype == DType::f64 ? DType::f64 : DType::f32; }
Value* half_of(Emit& e, Value* n) { return e.add(e.div(n, e.like(n, 2)), e.like(n, 1)); }  // n / 2 + 1

// dft of constant length along one axis.
Result<Value*> fixed_dft(Emit& e, const Op& op, int axis, const Twiddle& w) {
  const DftAttrs& a = op.attr<DftAttrs>();
  Value* x = op.operands[0];
  int64_t have = x->type.shape[axis].value(), parts = x->type.dim(-1).value(), out = w.halved ? 1 : 2;
  int64_t used = std::min(have, w.halved ? w.n / 2 + 1 : w.n), bins = a.onesided && !a.inverse ? w.n / 2 + 1 : w.n;
  if (used * bins > kMaxTable) return unsupported("dft of length " + std::to_string(w.n));
  std::vector<double> table;
  for (int64_t k = 0; k < used; ++k)
    for (int64_t p = 0; p < parts; ++p)
      for (int64_t j = 0; j < bins; ++j)
        for (int64_t c = 0; c < out; ++c) table.push_back(w.at(k, p, j, c));
  if (used < have) x = e.slice(x, axis, 0, used);
  // x's letters; y and z stand for the results along the axis and their parts.
  int rank = x->type.rank();
  DType t = transform_type(x);
  std::string from = letters(rank), to = from;
  to[axis] = 'y';
  to[rank - 1] = 'z';
  std::string spec = from + "," + from[axis] + from[rank - 1] + "yz->" + to;
  return e.contract(spec, e.cast(x, t), e.constant(t, {used, parts, bins, out}, table), t);
}

// dft whose axis or length only the run knows: over x as [before, length, behind, parts].
Value* open_dft(Emit& e, const Op& op, Twiddle w, int64_t parts) {
  const DftAttrs& a = op.attr<DftAttrs>();
  Value* x = op.operands[0];
  int64_t rank = x->type.rank();
  DType t = transform_type(x);
  auto num = [&](int64_t v) { return e.scalar(DType::i64, static_cast<double>(v)); };
  auto test = [&](OpKind k, Value* p, Value* q) { return e.op(k, {p, q}); };
  Value *shape = e.op(OpKind::shape, {x}), *at = e.iota(num(rank));
  Value* axis = op.operand(2) ? e.reshape(e.cast(op.operands[2], DType::i64), {}) : num(-2);
  axis = e.where(test(OpKind::less, axis, num(0)), e.add(axis, num(rank)), axis);
  ReduceAttrs all;
  all.keepdims = false;
  auto product = [&](Value* where) { return e.op(OpKind::reduce_prod, {e.where(where, shape, num(1))}, all); };
  Value *have = product(test(OpKind::equal, at, axis)), *before = product(test(OpKind::less, at, axis));
  Value* behind = product(e.op(OpKind::and_, {test(OpKind::greater, at, axis), test(OpKind::less, at, num(rank - 1))}));
  Value* n = op.operand(1) ? e.reshape(e.cast(op.operands[1], DType::i64), {}) : w.halved ? e.mul(e.sub(have, num(1)), num(2)) : have;
  Value *used = e.op(OpKind::min, {have, w.halved ? half_of(e, n) : n}), *bins = a.onesided && !a.inverse ? half_of(e, n) : n;
  auto vector = [&](Value* scalar) { return e.unsqueeze(scalar, {0}); };
  Value* flat = e.op(OpKind::reshape, {e.cast(x, t), e.concat({vector(before), vector(have), vector(behind), e.ints({parts})}, 0)});
  flat = e.op(OpKind::slice, {flat, e.ints({0}), vector(used), e.ints({1})});
  Value* y = e.contract("bkip,kpjc->bjic", flat, twiddle_table(e, t, w, parts, n, used, bins), t);
  Value* dims = e.where(test(OpKind::equal, at, axis), bins, e.where(test(OpKind::equal, at, num(rank - 1)), num(w.halved ? 1 : 2), shape));
  return e.op(OpKind::reshape, {y, dims});
}

// stft over frames gathered from the signal, for steps or lengths that only the run knows, or short windows.
Value* open_stft(Emit& e, const Op& op, int64_t parts) {
  Value *x = op.operands[0], *window = op.operand(2);
  DType t = transform_type(x);
  auto scalar = [&](Value* v) { return e.reshape(e.cast(v, DType::i64), {}); };
  Value* n = op.operand(3) ? scalar(op.operands[3]) : e.dim(window ? window : x, window ? 0 : 1);
  Value *step = scalar(op.operands[1]), *cut = window ? e.dim(window, 0) : n, *length = e.dim(x, 1);
  Value* frames = e.add(e.div(e.sub(length, n), step), e.like(step, 1));
  Value* at = e.add(e.unsqueeze(e.mul(e.iota(frames), step), {1}), e.iota(cut));
  GatherAttrs along;
  along.axis = 1;
  Value* rows = e.op(OpKind::gather, {x->type.rank() == 2 ? e.unsqueeze(x, {2}) : x, at}, along);
  rows = e.cast(rows, t);
  if (window) rows = e.mul(rows, e.unsqueeze(e.cast(window, t), {1}));
  Value* bins = op.attr<StftAttrs>().onesided ? half_of(e, n) : n;
  return e.contract("bfkp,kpjc->bfjc", rows, twiddle_table(e, t, Twiddle{}, parts, n, cut, bins), t);
}

}  // namespace

Result<std::vector<Value*>> expand_dft(Emit& e, Op& op) {
  const DftAttrs& a = op.attr<DftAttrs>();
  const Type& x = type_of(op, 0);
  if (!x.dim(-1).is_const() || x.rank() > 20) return unsupported("dft of numbers of unknown parts");
  TRY_ASSIGN(std::optional<int> axis, dft_axis(op));
  std::optional<Dim> n = axis ? dft_length(op, *axis) : std::nullopt;
  Twiddle w{1, a.inverse, a.inverse && a.onesided};
  Value* y;
  if (n && n->is_const() && x.shape[*axis].is_const()) {
    w.n = n->value();
    TRY_ASSIGN(y, fixed_dft(e, op, *axis, w));
  } else {
    y = open_dft(e, op, w, x.dim(-1).value());
  }
  return std::vector<Value*>{e.cast(y, x.dtype)};
}

Result<std::vector<Value*>> expand_stft(Emit& e, Op& op) {
  Value *x = op.operands[0], *window = op.operand(2);
  std::optional<Dim> length = stft_length(op), step = stft_step(op);
  if (x->type.rank() == 3 && !x->type.dim(-1).is_const()) return unsupported("stft of numbers of unknown parts");
  int64_t parts = x->type.rank() == 2 ? 1 : x->type.dim(-1).value();
  bool known = length && length->is_const() && step && step->is_const() && (!window || window->type.shape[0] == *length);
  if (!known) return std::vector<Value*>{e.cast(open_stft(e, op, parts), x->type.dtype)};
  Twiddle w{length->value()};
  int64_t bins = op.attr<StftAttrs>().onesided ? w.n / 2 + 1 : w.n;
  if (w.n * bins > kMaxTable) return unsupported("stft of frames of length " + std::to_string(w.n));
  std::vector<double> table;
  for (int64_t j = 0; j < bins; ++j)
    for (int64_t c = 0; c < 2; ++c)
      for (int64_t p = 0; p < parts; ++p)
        for (int64_t k = 0; k < w.n; ++k) table.push_back(w.at(k, p, j, c));
  DType t = transform_type(x);
  Value* kernel = e.constant(t, {bins * 2, parts, w.n}, table);
  if (window) kernel = e.mul(kernel, e.cast(window, t));
  Value* channels = e.cast(x, t);
  if (parts == 2) channels = e.transpose(channels, {0, 2, 1});
  else channels = e.reshape(channels, {DimPart(x, 0), 1, DimPart(x, 1)});
  ConvAttrs conv;
  conv.strides = {step->value()};
  Value* y = e.op(OpKind::conv, {channels, kernel}, conv);
  y = e.reshape(y, {DimPart(y, 0), bins, 2, DimPart(y, 2)});
  return std::vector<Value*>{e.cast(e.transpose(y, {0, 3, 1, 2}), op.result()->type.dtype)};
}

Result<std::vector<Value*>> expand_window(Emit& e, Op& op) {
  const SignalWindowAttrs& a = op.attr<SignalWindowAttrs>();
  if (op.operands[0]->type.rank() != 0) return unsupported("a window whose size is no scalar");
  DType t = a.output_datatype == DType::f64 ? DType::f64 : DType::f32;
  Value *n = e.cast(op.operands[0], DType::i64), *period = e.cast(a.periodic ? n : e.sub(n, e.like(n, 1)), t);
  Value* x = e.mul(e.div(e.cast(e.iota(n), t), period), e.scalar(t, 2 * std::numbers::pi));
  auto cosine = [&](double factor, double turns) { return e.mul(e.op(OpKind::cos, {e.mul(x, e.scalar(t, turns))}), e.scalar(t, factor)); };
  Value* y;
  if (op.kind == OpKind::hann_window) y = e.add(cosine(-0.5, 1), e.scalar(t, 0.5));
  else if (op.kind == OpKind::hamming_window) y = e.add(cosine(-21.0 / 46, 1), e.scalar(t, 25.0 / 46));
  else y = e.add(e.add(cosine(-0.5, 1), cosine(0.08, 2)), e.scalar(t, 0.42));
  return std::vector<Value*>{e.cast(y, a.output_datatype)};
}

Result<std::vector<Value*>> expand_mel(Emit& e, Op& op) {
  constexpr DType t = DType::f64;  // bins are rounded down: a rounding error would move a corner
  for (const Value* v : op.operands)
    if (v->type.rank() != 0) return unsupported("mel_weight_matrix of sizes that are no scalars");
  auto num = [&](double v) { return e.scalar(t, v); };
  Value *mels = e.cast(op.operands[0], DType::i64), *length = e.cast(op.operands[1], DType::i64), *rate = e.cast(op.operands[2], t);
  auto mel = [&](int i) { return e.mul(e.op(OpKind::log, {e.add(e.div(e.cast(op.operands[i], t), num(700)), num(1))}), num(2595 / std::log(10.0))); };
  Value *low = mel(3), *step = e.div(e.sub(mel(4), low), e.add(e.cast(mels, t), num(2)));
  // Corner k of the triangles, for a vector of k.
  auto corner = [&](double shift) {
    Value* k = e.add(e.cast(e.iota(mels), t), num(shift));
    Value* hertz = e.mul(e.sub(e.op(OpKind::exp, {e.mul(e.add(low, e.mul(k, step)), num(std::log(10.0) / 2595))}), num(1)), num(700));
    return e.op(OpKind::floor, {e.div(e.mul(e.add(e.cast(length, t), num(1)), hertz), rate)});
  };
  Value *left = corner(0), *center = corner(1), *right = corner(2);
  Value* rows = e.add(e.div(length, e.scalar(DType::i64, 2)), e.scalar(DType::i64, 1));
  Value* r = e.unsqueeze(e.cast(e.iota(rows), t), {1});
  auto both = [&](Value* p, Value* q) { return e.op(OpKind::and_, {p, q}); };
  Value* rising = both(e.op(OpKind::greater_or_equal, {r, left}), e.op(OpKind::less_or_equal, {r, center}));
  Value* falling = both(e.op(OpKind::greater_or_equal, {r, center}), e.op(OpKind::less, {r, right}));
  Value* flat = e.op(OpKind::equal, {left, center});
  Value* up = e.where(flat, num(1), e.div(e.sub(r, left), e.sub(center, left)));
  Value* down = e.div(e.sub(right, r), e.sub(right, center));
  Value* y = e.where(falling, down, e.where(rising, up, num(0)));
  return std::vector<Value*>{e.cast(y, op.attr<MelAttrs>().output_datatype)};
}

Result<std::vector<Value*>> expand_dynamic_quantize(Emit& e, Op& op) {
  Value* x = op.operands[0];
  auto num = [&](double v) { return e.scalar(DType::f32, v); };
  ReduceAttrs all;
  all.keepdims = false;
  Value *hi = e.op(OpKind::max, {e.op(OpKind::reduce_max, {x}, all), num(0)}), *lo = e.op(OpKind::min, {e.op(OpKind::reduce_min, {x}, all), num(0)});
  Value* range = e.where(e.op(OpKind::equal, {hi, lo}), num(1), e.sub(hi, lo));
  Value* scale = e.div(range, num(255));
  Value* zero = e.op(OpKind::clip, {e.sub(num(0), e.div(lo, scale)), num(0), num(255)});
  zero = e.cast(e.op(OpKind::round, {zero}), DType::u8);
  return std::vector<Value*>{e.op(OpKind::quantize_linear, {x, scale, zero}), scale, zero};
}

}  // namespace weft
