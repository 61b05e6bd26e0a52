// Fourier transforms as contractions with constant tables, short-time ones as convolutions; windows and mel filters as
// formulas over counted elements; dynamic quantisation as its formula.
#include <cmath>
#include <numbers>

#include "ir/expand/expansions.h"
#include "ir/ops/conv.h"
#include "ir/ops/quantize.h"
#include "ir/ops/reduce.h"
#include "ir/ops/signal.h"

namespace weft {

namespace {

constexpr int64_t kMaxTable = int64_t{1} << 24;

// What part p of input k adds to part c of result j in a transform of length n.
struct Twiddle {
  int64_t n;
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

}  // namespace

// dft along one axis, given by number.
static Result<Value*> dft_along(Emit& e, const Op& op, int axis) {
  const DftAttrs& a = op.attr<DftAttrs>();
  Value* x = op.operands[0];
  std::optional<Dim> length = dft_length(op, axis);
  const Dim &have = x->type.shape[axis], &parts = x->type.dim(-1);
  int rank = x->type.rank();
  if (!length || !length->is_const() || !have.is_const() || !parts.is_const() || rank > 20) return unsupported("dft of unknown length");
  Twiddle w{length->value(), a.inverse, a.inverse && a.onesided};
  int64_t used = std::min(have.value(), w.halved ? w.n / 2 + 1 : w.n), bins = a.onesided && !a.inverse ? w.n / 2 + 1 : w.n, out = w.halved ? 1 : 2;
  if (used * bins > kMaxTable) return unsupported("dft of length " + std::to_string(w.n));
  std::vector<double> table;
  for (int64_t k = 0; k < used; ++k)
    for (int64_t p = 0; p < parts.value(); ++p)
      for (int64_t j = 0; j < bins; ++j)
        for (int64_t c = 0; c < out; ++c) table.push_back(w.at(k, p, j, c));
  DType t = x->type.dtype == DType::f64 ? DType::f64 : DType::f32;
  if (used < have.value()) x = e.slice(x, axis, 0, used);
  // x's letters; y and z stand for the results along the axis and their parts.
  std::string from = letters(rank), to = from;
  to[axis] = 'y';
  to[rank - 1] = 'z';
  std::string spec = from + "," + from[axis] + from[rank - 1] + "yz->" + to;
  Value* y = e.contract(spec, e.cast(x, t), e.constant(t, {used, parts.value(), bins, out}, table), t);
  return e.cast(y, op.result()->type.dtype);
}

// An axis that only the run knows: the transforms along all of them, where they have one shape.
Result<std::vector<Value*>> expand_dft(Emit& e, Op& op) {
  TRY_ASSIGN(std::optional<int> axis, dft_axis(op));
  if (axis) {
    TRY_ASSIGN(Value * y, dft_along(e, op, *axis));
    return std::vector<Value*>{y};
  }
  if (op.attr<DftAttrs>().onesided || op.operand(1)) return unsupported("dft of unknown length along an unknown axis");
  int rank = type_of(op, 0).rank();
  Value *y = nullptr, *given = op.operands[2];
  for (int d = 0; d < rank - 1; ++d) {
    TRY_ASSIGN(Value * along, dft_along(e, op, d));
    Value* chosen = e.op(OpKind::or_, {e.op(OpKind::equal, {given, e.like(given, d)}), e.op(OpKind::equal, {given, e.like(given, d - rank)})});
    y = y ? e.where(chosen, along, y) : along;
  }
  return std::vector<Value*>{y};
}

Result<std::vector<Value*>> expand_stft(Emit& e, Op& op) {
  Value *x = op.operands[0], *window = op.operand(2);
  std::optional<Dim> length = stft_length(op), step = stft_step(op);
  int64_t parts = x->type.rank() == 2 || x->type.dim(-1).is(1) ? 1 : 2;
  bool known = length && length->is_const() && step && step->is_const() && (x->type.rank() == 2 || x->type.dim(-1).is_const());
  if (!known) return unsupported("stft of unknown frames");
  Twiddle w{length->value()};
  int64_t cut = w.n, bins = op.attr<StftAttrs>().onesided ? w.n / 2 + 1 : w.n;
  if (w.n * bins > kMaxTable) return unsupported("stft of frames of length " + std::to_string(w.n));
  if (window && !window->type.shape[0].is(cut)) return unsupported("stft with a window shorter than its frames");
  std::vector<double> table;
  for (int64_t j = 0; j < bins; ++j)
    for (int64_t c = 0; c < 2; ++c)
      for (int64_t p = 0; p < parts; ++p)
        for (int64_t k = 0; k < cut; ++k) table.push_back(w.at(k, p, j, c));
  DType t = x->type.dtype == DType::f64 ? DType::f64 : DType::f32;
  Value* kernel = e.constant(t, {bins * 2, parts, cut}, table);
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
