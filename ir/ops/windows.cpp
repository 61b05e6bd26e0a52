// Tensors computed from a few numbers for signal processing: windows and the mel filter bank; and image_decoder, which
// no build can run: it needs a decoder library.
#include <cmath>
#include <numbers>

#include "ir/ops/move.h"
#include "ir/ops/signal.h"

namespace weft {

static bool is_scalar_like(const Type& t) { return t.is_tensor() && (!t.ranked || !is_static(t.shape) || numel(t.shape).is(1)); }

static Status infer_window(Op& op, InferContext& cx) {
  const Type& size = type_of(op, 0);
  DType t = op.attr<SignalWindowAttrs>().output_datatype;
  if (!is_scalar_like(size) || !is_int(size.dtype)) return invalid("the size of a window is " + size.to_string());
  if (!is_float(t) && !is_int(t)) return invalid(std::string("a window of type ") + dtype_name(t));
  const std::vector<Dim>* known = known_of(op.operands[0]);
  Dim n = known && known->size() == 1 ? (*known)[0] : data_dim(op, 0, 0, cx);
  if (n.is_const() && n.value() < 0) return invalid("a window of size " + n.to_string());
  set_type(op, 0, Type::tensor(t, {n}));
  return {};
}

static Result<Tensor> store_numbers(DType t, std::vector<int64_t> dims, const std::vector<double>& v) {
  if (is_float(t)) return store_all(t, std::move(dims), v);
  std::vector<int64_t> whole;
  for (double d : v) whole.push_back(std::fabs(d) < 1e18 ? static_cast<int64_t>(d) : 0);
  return store_all(t, std::move(dims), whole);
}

// w(x) for x = 2 pi k / period.
static Result<std::vector<HostValue>> eval_window(EvalCall& call, double (*w)(double)) {
  const SignalWindowAttrs& a = call.attr<SignalWindowAttrs>();
  TRY_ASSIGN(int64_t n, int_scalar(call, 0));
  TRY(Tensor::make(DType::f64, {n}));  // the limit on sizes, before anything is computed
  double period = static_cast<double>(a.periodic ? n : n - 1);
  std::vector<double> v;
  for (int64_t k = 0; k < n; ++k) v.push_back(w(2 * std::numbers::pi * static_cast<double>(k) / period));
  return one(store_numbers(a.output_datatype, {n}, v));
}
static OpDef window(const char* onnx, Result<std::vector<HostValue>> (*eval)(EvalCall&)) {
  return {.onnx = onnx, .family = Family::signal, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<SignalWindowAttrs>, .infer = infer_window,
          .eval = eval};
}
OpDef def_hann_window() {
  return window("HannWindow", [](EvalCall& call) { return eval_window(call, [](double x) { return 0.5 - 0.5 * std::cos(x); }); });
}
OpDef def_hamming_window() {
  return window("HammingWindow", [](EvalCall& call) { return eval_window(call, [](double x) { return 25.0 / 46 - 21.0 / 46 * std::cos(x); }); });
}
OpDef def_blackman_window() {
  return window("BlackmanWindow", [](EvalCall& call) {
    return eval_window(call, [](double x) { return 0.42 - 0.5 * std::cos(x) + 0.08 * std::cos(2 * x); });
  });
}

// --- mel filters ----------------------------------------------------------------------------------------------------

static Status infer_mel(Op& op, InferContext& cx) {
  for (int i = 0; i < 5; ++i)
    if (!is_scalar_like(type_of(op, i)) || (i < 3 ? !is_int(type_of(op, i).dtype) : !is_float(type_of(op, i).dtype)))
      return invalid("operand " + std::to_string(i) + " of mel_weight_matrix is " + type_of(op, i).to_string());
  const std::vector<Dim>*bins = known_of(op.operands[0]), *length = known_of(op.operands[1]);
  Dim rows = length && length->size() == 1 ? floordiv((*length)[0], 2) + Dim(1) : data_dim(op, 0, 0, cx);
  Dim columns = bins && bins->size() == 1 ? (*bins)[0] : data_dim(op, 0, 1, cx);
  if ((rows.is_const() && rows.value() < 0) || (columns.is_const() && columns.value() < 0)) return invalid("mel_weight_matrix of a negative size");
  set_type(op, 0, Type::tensor(op.attr<MelAttrs>().output_datatype, {rows, columns}));
  return {};
}

// Triangles over the spectrum, their corners at equal distances on the mel scale, rounded down to bins.
static Result<std::vector<HostValue>> eval_mel(EvalCall& call) {
  TRY_ASSIGN(int64_t mels, int_scalar(call, 0));
  TRY_ASSIGN(int64_t length, int_scalar(call, 1));
  TRY_ASSIGN(int64_t rate, int_scalar(call, 2));
  std::vector<double> lower = load_all<double>(call.tensor(3)), upper = load_all<double>(call.tensor(4));
  bool fits = lower.size() == 1 && upper.size() == 1 && rate > 0 && length >= 0 && mels >= 0;
  if (!fits) return invalid("mel_weight_matrix: sizes and rates must be positive scalars");
  int64_t rows = length / 2 + 1;
  TRY_ASSIGN(Tensor checked, Tensor::make(DType::f64, {rows, mels}));
  auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  double low = mel(lower[0]), step = (mel(upper[0]) - low) / static_cast<double>(mels + 2);
  auto corner = [&](int64_t k) {
    double hertz = 700 * (std::pow(10, (low + static_cast<double>(k) * step) / 2595) - 1);
    double bin = std::floor(static_cast<double>(length + 1) * hertz / static_cast<double>(rate));
    return std::isnan(bin) ? int64_t{0} : static_cast<int64_t>(std::min(1e15, std::max(-1e15, bin)));
  };
  std::vector<double> v(checked.numel());
  for (int64_t m = 0; m < mels; ++m) {
    int64_t left = corner(m), center = corner(m + 1), right = corner(m + 2);
    for (int64_t r = std::max<int64_t>(0, std::min(left, center)); r < std::min(rows, std::max(center + 1, right)); ++r) {
      double& w = v[r * mels + m];
      if (r == center && left == center) w = 1;
      else if (r >= left && r <= center) w = static_cast<double>(r - left) / static_cast<double>(center - left);
      if (r >= center && r < right) w = static_cast<double>(right - r) / static_cast<double>(right - center);
    }
  }
  return one(store_numbers(call.attr<MelAttrs>().output_datatype, {rows, mels}, v));
}
OpDef def_mel_weight_matrix() {
  return {.onnx = "MelWeightMatrix", .family = Family::signal, .min_operands = 5, .max_operands = 5, .attrs = make_attrs<MelAttrs>,
          .infer = infer_mel, .eval = eval_mel};
}

// --- images ---------------------------------------------------------------------------------------------------------

static Status infer_image_decoder(Op& op, InferContext& cx) {
  const std::string& format = op.attr<ImageDecoderAttrs>().pixel_format;
  bool known = format == "RGB" || format == "BGR" || format == "Grayscale";
  if (!known) return invalid("pixel_format " + quote(format) + " is none of RGB, BGR, Grayscale");
  const Type& bytes = type_of(op, 0);
  if (!bytes.is_tensor() || bytes.dtype != DType::u8) return invalid("image_decoder takes bytes, not " + bytes.to_string());
  set_type(op, 0, Type::tensor(DType::u8, {data_dim(op, 0, 0, cx), data_dim(op, 0, 1, cx), Dim(format == "Grayscale" ? 1 : 3)}));
  return {};
}
OpDef def_image_decoder() {
  return {.onnx = "ImageDecoder", .family = Family::sequence, .traits = kHostOnly | kDataDependent, .min_operands = 1, .max_operands = 1,
          .attrs = make_attrs<ImageDecoderAttrs>, .infer = infer_image_decoder,
          .eval = [](EvalCall&) -> Result<std::vector<HostValue>> { return unsupported("image_decoder: this build has no decoder of image files"); }};
}

}  // namespace weft
