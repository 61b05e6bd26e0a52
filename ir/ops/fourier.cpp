// dft and stft: the discrete Fourier transform by its sum, with a table of the roots of unity (signal.h).
#include <cmath>
#include <numbers>

#include "ir/ops/move.h"
#include "ir/ops/norm.h"
#include "ir/ops/signal.h"

namespace weft {

// The known scalar of operand i; `otherwise` when absent.
static std::optional<Dim> known_scalar(const Op& op, int i, const std::optional<Dim>& otherwise) {
  if (!has_operand(op, i)) return otherwise;
  const std::vector<Dim>* k = known_of(op.operands[i]);
  return k && k->size() == 1 ? std::optional<Dim>((*k)[0]) : std::nullopt;
}
static Status need_parts(const Type& x) {
  const Dim& last = x.dim(-1);
  if (is_float(x.dtype) && x.rank() >= 2 && (!last.is_const() || last.is(1) || last.is(2))) return {};
  return invalid("a signal needs 1 or 2 parts as its last dim, is " + x.to_string());
}

static Result<int> signal_axis(int64_t axis, int rank) {
  TRY_ASSIGN(int a, normalize_axis(axis, rank));
  if (a == rank - 1) return invalid("dft along the parts of its complex numbers");
  return a;
}
Result<std::optional<int>> dft_axis(const Op& op) {
  int64_t axis = -2;
  if (has_operand(op, 2)) {
    auto v = const_ints(op.operands[2]);
    if (!v || v->size() != 1) return std::optional<int>();
    axis = (*v)[0];
  }
  TRY_ASSIGN(int a, signal_axis(axis, type_of(op, 0).rank()));
  return std::optional<int>(a);
}
std::optional<Dim> dft_length(const Op& op, int axis) {
  const DftAttrs& a = op.attr<DftAttrs>();
  const Dim& d = type_of(op, 0).shape[axis];
  return known_scalar(op, 1, a.inverse && a.onesided ? Dim(2) * (d - Dim(1)) : d);
}

static Status infer_dft(Op& op, InferContext& cx) {
  const DftAttrs& a = op.attr<DftAttrs>();
  TRY(need_float_input(op, 2));
  const Type& x = type_of(op, 0);
  TRY(need_parts(x));
  TRY_ASSIGN(std::optional<int> axis, dft_axis(op));
  Shape shape = x.shape;
  if (axis) {
    std::optional<Dim> n = dft_length(op, *axis);
    if (n && n->is_const() && n->value() < 1) return invalid("dft of length " + n->to_string());
    shape[*axis] = !n ? data_dim(op, 0, *axis, cx) : a.onesided && !a.inverse ? floordiv(*n, 2) + Dim(1) : *n;
  } else if (a.onesided || has_operand(op, 1)) {
    for (int d = 0; d < x.rank() - 1; ++d) shape[d] = data_dim(op, 0, d, cx);
  }
  shape.back() = a.onesided && a.inverse ? 1 : 2;
  set_type(op, 0, Type::tensor(x.dtype, shape));
  return {};
}

// Transforms of n complex numbers.
class Fourier {
 public:
  Fourier(int64_t n, bool inverse) : n_(n), inverse_(inverse) {
    double turn = (inverse ? 2 : -2) * std::numbers::pi / static_cast<double>(n);
    for (int64_t k = 0; k < n; ++k) roots_.push_back(std::polar(1.0, turn * static_cast<double>(k)));
  }
  // in: any number of elements; what lacks is 0, what is beyond n is left out.
  std::vector<std::complex<double>> run(const std::vector<std::complex<double>>& in, int64_t bins) const {
    std::vector<std::complex<double>> out(bins);
    int64_t count = std::min<int64_t>(n_, static_cast<int64_t>(in.size()));
    for (int64_t j = 0; j < bins; ++j) {
      int64_t at = 0;
      for (int64_t k = 0; k < count; ++k, at = (at + j) % n_) out[j] += in[k] * roots_[at];
      if (inverse_) out[j] /= static_cast<double>(n_);
    }
    return out;
  }

 private:
  int64_t n_;
  bool inverse_;
  std::vector<std::complex<double>> roots_;
};
// The whole spectrum of a real signal of n numbers out of its first half; imaginary parts that must be 0 are ignored.
static std::vector<std::complex<double>> both_sides(std::vector<std::complex<double>> half, int64_t n) {
  half.resize(n / 2 + 1);
  half[0] = half[0].real();
  if (n % 2 == 0) half[n / 2] = half[n / 2].real();
  half.resize(n);
  for (int64_t k = n / 2 + 1; k < n; ++k) half[k] = std::conj(half[n - k]);
  return half;
}

constexpr int64_t kMaxTransform = int64_t{1} << 24;
static Status check_transform(int64_t n) {
  if (n < 1) return invalid("a Fourier transform of length " + std::to_string(n));
  if (n > kMaxTransform) return resources("a Fourier transform of length " + std::to_string(n));
  return {};
}

static Result<std::vector<HostValue>> eval_dft(EvalCall& call) {
  const DftAttrs& a = call.attr<DftAttrs>();
  const Tensor& x = call.tensor(0);
  int64_t along = -2;
  if (call.has(2)) {
    TRY_ASSIGN(along, int_scalar(call, 2));
  }
  TRY_ASSIGN(int axis, signal_axis(along, x.rank()));
  bool halved = a.onesided && a.inverse;
  int64_t have = x.dims[axis], parts = x.dims.back(), n = halved ? 2 * (have - 1) : have, inner = 1;
  if (parts != 1 && parts != 2) return invalid("dft needs 1 or 2 parts as its last dim");
  if (call.has(1)) {
    TRY_ASSIGN(n, int_scalar(call, 1));
  }
  TRY(check_transform(n));
  int64_t bins = a.onesided && !a.inverse ? n / 2 + 1 : n;
  std::vector<int64_t> dims = x.dims;
  dims[axis] = bins;
  dims.back() = halved ? 1 : 2;
  TRY_ASSIGN(Tensor out, Tensor::make(x.dtype, dims));
  std::vector<double> in = load_all<double>(x), y(out.numel());
  for (int d = axis + 1; d < x.rank() - 1; ++d) inner *= x.dims[d];
  Fourier transform(n, a.inverse);
  for (int64_t line = 0; have > 0 && line < x.numel() / parts / have; ++line) {
    int64_t o = line / inner, i = line % inner;
    std::vector<std::complex<double>> row(have);
    for (int64_t k = 0; k < have; ++k) {
      const double* e = in.data() + ((o * have + k) * inner + i) * parts;
      row[k] = {e[0], parts == 2 ? e[1] : 0};
    }
    row = transform.run(halved ? both_sides(std::move(row), n) : row, bins);
    for (int64_t k = 0; k < bins; ++k) {
      double* e = y.data() + ((o * bins + k) * inner + i) * dims.back();
      e[0] = row[k].real();
      if (!halved) e[1] = row[k].imag();
    }
  }
  store_row(out, 0, y.data(), out.numel());
  return one(std::move(out));
}
// Other dims than the axis and the parts.
static Result<ShardingRule> shard_dft(const Op& op) {
  TRY_ASSIGN(std::optional<int> axis, dft_axis(op));
  return axis ? shard_alike(op, {*axis, type_of(op, 0).rank() - 1}, 1) : ShardingRule(op);
}
OpDef def_dft() {
  return {.onnx = "DFT", .family = Family::signal, .min_operands = 1, .max_operands = 3, .attrs = make_attrs<DftAttrs>, .infer = infer_dft,
          .eval = eval_dft, .shard = shard_dft};
}

// --- stft -----------------------------------------------------------------------------------------------------------

std::optional<Dim> stft_length(const Op& op) {
  std::optional<Dim> whole = has_operand(op, 2) ? type_of(op, 2).shape[0] : type_of(op, 0).shape[1];
  return known_scalar(op, 3, whole);
}
std::optional<Dim> stft_step(const Op& op) { return known_scalar(op, 1, std::nullopt); }

static Status infer_stft(Op& op, InferContext& cx) {
  TRY(need_float_input(op, 2));
  const Type& x = type_of(op, 0);
  if (x.rank() != 2) TRY(need_parts(x));
  if (x.rank() > 3) return invalid("stft takes a signal of rank 2 or 3, not " + x.to_string());
  if (has_operand(op, 2)) TRY(need_tensor(op, 2));
  if (has_operand(op, 2) && type_of(op, 2).rank() != 1) return invalid("stft's window is " + type_of(op, 2).to_string());
  std::optional<Dim> n = stft_length(op), step = stft_step(op);
  if (step && step->is_const() && step->value() < 1) return invalid("stft in steps of " + step->to_string());
  if (n && n->is_const() && n->value() < 1) return invalid("stft of frames of " + n->to_string());
  Dim frames = n && step ? floordiv(x.shape[1] - *n, *step) + Dim(1) : data_dim(op, 0, 1, cx);
  if (frames.is_const() && frames.value() < 0) frames = 0;
  Dim bins = !n ? data_dim(op, 0, 2, cx) : op.attr<StftAttrs>().onesided ? floordiv(*n, 2) + Dim(1) : *n;
  set_type(op, 0, Type::tensor(x.dtype, {x.shape[0], frames, bins, Dim(2)}));
  return {};
}

static Result<std::vector<HostValue>> eval_stft(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  int64_t batch = x.dims[0], length = x.dims[1], parts = x.rank() == 3 ? x.dims[2] : 1;
  TRY_ASSIGN(int64_t step, int_scalar(call, 1));
  int64_t n = call.has(2) ? call.tensor(2).dims[0] : length;
  if (call.has(3)) {
    TRY_ASSIGN(n, int_scalar(call, 3));
  }
  TRY(check_transform(n));
  std::vector<double> window = call.has(2) ? load_all<double>(call.tensor(2)) : std::vector<double>(n, 1.0), in = load_all<double>(x);
  bool fits = step >= 1 && (parts == 1 || parts == 2) && static_cast<int64_t>(window.size()) <= n;
  if (!fits) return invalid("stft: the frame step, the signal or the window does not fit");
  int64_t frames = length < n ? 0 : (length - n) / step + 1, bins = call.attr<StftAttrs>().onesided ? n / 2 + 1 : n;
  TRY_ASSIGN(Tensor out, Tensor::make(x.dtype, {batch, frames, bins, 2}));
  std::vector<double> y;
  Fourier transform(n, false);
  for (int64_t r = 0; r < batch * frames; ++r) {
    std::vector<std::complex<double>> row(window.size());
    const double* from = in.data() + (r / frames * length + r % frames * step) * parts;
    for (size_t k = 0; k < row.size(); ++k) row[k] = std::complex<double>(from[k * parts], parts == 2 ? from[k * parts + 1] : 0) * window[k];
    for (const std::complex<double>& c : transform.run(row, bins)) y.insert(y.end(), {c.real(), c.imag()});
  }
  store_row(out, 0, y.data(), out.numel());
  return one(std::move(out));
}
OpDef def_stft() {
  return {.onnx = "STFT", .family = Family::signal, .min_operands = 2, .max_operands = 4, .attrs = make_attrs<StftAttrs>, .infer = infer_stft,
          .eval = eval_stft, .shard = [](const Op& op) -> Result<ShardingRule> { return shard_places(op, {{{0, 0}, {ShardingRule::kResult, 0}}}); }};
}

}  // namespace weft
