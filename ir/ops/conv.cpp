// conv and conv_transpose. Both become matrix products over tiles of positions: conv gathers the windows of a tile into
// columns first (im2col), conv_transpose scatters the columns of the product afterwards (col2im).
#include "ir/ops/conv.h"

#include <algorithm>

#include "ir/ops/common.h"
#include "ir/ops/contract.h"
#include "ir/ops/gemm.h"
#include "ir/ops/sharding.h"

namespace weft {

// --- infer ----------------------------------------------------------------------------------------------------------

static Status need_channels(const Op& op, int i, const Dim& channels, const char* what, Facts& facts) {
  if (!has_operand(op, i)) return {};
  TRY(need_tensor(op, i));
  const Type& t = type_of(op, i);
  bool scalar = t.rank() == 0 || (t.rank() == 1 && t.shape[0].is(1));
  bool is_bias = i == 2, ranked = is_bias ? t.rank() == 1 : scalar || (t.rank() == 1 && i == 4);
  std::string name = std::string(op_name(op.kind)) + "'s " + what;
  if (!ranked || !(is_float(t.dtype) || (is_bias && is_int(t.dtype)))) return invalid(name + " is " + t.to_string());
  return scalar && !is_bias ? Status() : facts.equal(t.shape[0], channels, name + " and output channels");
}
static Status infer_result(Op& op, const Dim& channels, bool has_out_type, DType out_type, const std::vector<WindowAxis>& axes, Facts& facts) {
  TRY_ASSIGN(DType t, product_type(type_of(op, 0).dtype, type_of(op, 1).dtype, has_out_type, out_type));
  TRY(need_channels(op, 2, channels, "bias", facts));
  TRY(need_channels(op, 3, channels, "x_scale", facts));
  TRY(need_channels(op, 4, channels, "w_scale", facts));
  if (has_operand(op, 2) && is_int(t) && is_float(type_of(op, 2).dtype)) return invalid("an integer convolution with a float bias");
  Shape shape{type_of(op, 0).shape[0], channels};
  for (const WindowAxis& x : axes) shape.push_back(x.out);
  set_type(op, 0, Type::tensor(t, std::move(shape)));
  return {};
}
static Status infer_conv(Op& op, InferContext& cx) {
  const ConvAttrs& a = op.attr<ConvAttrs>();
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes_of(op));
  TRY(check_tf32(op, a.tf32));
  TRY(kernel_facts(a, type_of(op, 1).shape, cx));
  const Shape &x = type_of(op, 0).shape, &w = type_of(op, 1).shape;
  TRY(cx.divides(Dim(a.group), w[0], "conv's groups of output channels"));
  TRY(cx.equal(x[1], w[1] * Dim(a.group), "conv's input channels and those of its kernel"));
  return infer_result(op, w[0], a.has_out_type, a.out_type, axes, cx);
}
static Status infer_conv_transpose(Op& op, InferContext& cx) {
  const ConvTransposeAttrs& a = op.attr<ConvTransposeAttrs>();
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes_of(op));
  TRY(kernel_facts(a, type_of(op, 1).shape, cx));
  const Shape &x = type_of(op, 0).shape, &w = type_of(op, 1).shape;
  TRY(cx.divides(Dim(a.group), x[1], "conv_transpose's groups of input channels"));
  TRY(cx.equal(x[1], w[0], "conv_transpose's input channels and those of its kernel"));
  return infer_result(op, w[1] * Dim(a.group), a.has_out_type, a.out_type, axes, cx);
}

// --- eval: geometry -------------------------------------------------------------------------------------------------

namespace {
// One spatial dim with its numbers, and what a convolution needs besides.
struct EvalAxis {
  int64_t in, out, kernel, pad, stride, dilation;
};
struct ConvShape {
  std::vector<EvalAxis> axes;
  int64_t batch, group, in_channels, out_channels;  // channels of one group
  int64_t in_size = 1, out_size = 1, kernel_size = 1;
  // Positions of a tile, so that its columns stay within about 8 MB.
  int64_t tile(int64_t depth, int64_t positions) const {
    return std::clamp<int64_t>((int64_t{1} << 20) / std::max<int64_t>(depth, 1), 1, std::max<int64_t>(positions, 1));
  }
};
}  // namespace

static ConvShape conv_shape(const std::vector<WindowAxis>& axes, int64_t batch, int64_t group, int64_t in_channels, int64_t out_channels) {
  ConvShape s{.axes = {}, .batch = batch, .group = group, .in_channels = in_channels, .out_channels = out_channels};
  for (const WindowAxis& x : axes) {
    s.axes.push_back({x.in.value(), x.out.value(), x.kernel.value(), x.pad_begin.value(), x.stride, x.dilation});
    s.in_size *= s.axes.back().in;
    s.out_size *= s.axes.back().out;
    s.kernel_size *= s.axes.back().kernel;
  }
  return s;
}

// Runs of a tile of positions [first, last) in a tensor whose spatial dims are `dims`: f(column, index of the run's first
// position, length); a run stays within one innermost row.
template <class F>
static void for_each_run(const std::vector<int64_t>& dims, int64_t first, int64_t last, F f) {
  std::vector<int64_t> index(dims.size());
  for (int64_t p = first; p < last;) {
    int64_t rest = p;
    for (size_t d = dims.size(); d-- > 0; rest /= dims[d]) index[d] = rest % dims[d];
    int64_t n = std::min(last - p, dims.back() - index.back());
    f(p - first, index, n);
    p += n;
  }
}
// Where window element k of output position o lies: along each dim but the last, o * stride - pad + k * dilation. -1 when
// outside.
static int64_t outer_offset(const std::vector<EvalAxis>& axes, const std::vector<int64_t>& o, const std::vector<int64_t>& k, bool into_input) {
  int64_t offset = 0;
  for (size_t d = 0; d + 1 < axes.size(); ++d) {
    const EvalAxis& x = axes[d];
    int64_t at = o[d] * x.stride - x.pad + k[d] * x.dilation, size = into_input ? x.in : x.out;
    if (at < 0 || at >= size) return -1;
    offset = offset * size + at;
  }
  return offset;
}
// The i of [0, n) with 0 <= i * stride + from < size.
static std::pair<int64_t, int64_t> valid_range(int64_t n, int64_t from, int64_t stride, int64_t size) {
  auto up = [&](int64_t v) { return v <= 0 ? 0 : std::min(n, (v + stride - 1) / stride); };
  int64_t lo = up(-from);
  return {lo, std::max(lo, up(size - from))};
}
static std::vector<int64_t> dims_of(const std::vector<EvalAxis>& axes, int64_t EvalAxis::* which) {
  std::vector<int64_t> out;
  for (const EvalAxis& x : axes) out.push_back(x.*which);
  return out;
}

// Columns [kernel elements, positions] of channel planes x for output positions [first, last).
template <class T>
static void gather_columns(const ConvShape& s, const T* x, int64_t first, int64_t last, T* columns) {
  int64_t width = last - first;
  const EvalAxis& inner = s.axes.back();
  std::vector<int64_t> kernel = dims_of(s.axes, &EvalAxis::kernel), out = dims_of(s.axes, &EvalAxis::out), k(kernel.size(), 0);
  int64_t row = 0;
  do {
    for_each_run(out, first, last, [&](int64_t column, const std::vector<int64_t>& o, int64_t n) {
      int64_t outer = outer_offset(s.axes, o, k, true), from = o.back() * inner.stride - inner.pad + k.back() * inner.dilation;
      auto [lo, hi] = valid_range(n, from, inner.stride, inner.in);
      if (outer < 0) lo = hi = 0;
      for (int64_t c = 0; c < s.in_channels; ++c) {
        T* to = columns + (c * s.kernel_size + row) * width + column;
        const T* src = x + c * s.in_size + outer * inner.in + from;
        std::fill(to, to + lo, T{0});
        for (int64_t i = lo; i < hi; ++i) to[i] = src[i * inner.stride];
        std::fill(to + hi, to + n, T{0});
      }
    });
    ++row;
  } while (next_index(k, kernel));
}
// Adds columns [out channels * kernel elements, positions] of input positions [first, last) to the planes y.
template <class T>
static void scatter_columns(const ConvShape& s, const T* columns, int64_t first, int64_t last, T* y) {
  int64_t width = last - first;
  const EvalAxis& inner = s.axes.back();
  std::vector<int64_t> kernel = dims_of(s.axes, &EvalAxis::kernel), in = dims_of(s.axes, &EvalAxis::in), k(kernel.size(), 0);
  int64_t row = 0;
  do {
    for_each_run(in, first, last, [&](int64_t column, const std::vector<int64_t>& i0, int64_t n) {
      int64_t outer = outer_offset(s.axes, i0, k, false), to = i0.back() * inner.stride - inner.pad + k.back() * inner.dilation;
      auto [lo, hi] = valid_range(n, to, inner.stride, inner.out);
      for (int64_t c = 0; c < s.out_channels && outer >= 0; ++c) {
        const T* src = columns + (c * s.kernel_size + row) * width + column;
        T* dst = y + c * s.out_size + outer * inner.out + to;
        for (int64_t i = lo; i < hi; ++i) dst[i * inner.stride] += src[i];
      }
    });
    ++row;
  } while (next_index(k, kernel));
}

// --- eval: products ---------------------------------------------------------------------------------------------------

// Planes of one sample and group.
template <class T>
static std::vector<T> conv_group(const ConvShape& s, const T* x, const T* w) {
  int64_t depth = s.in_channels * s.kernel_size, tile = s.tile(depth, s.out_size);
  std::vector<T> y(static_cast<size_t>(s.out_channels * s.out_size), T{0}), columns(static_cast<size_t>(depth * tile));
  for (int64_t p = 0; p < s.out_size; p += tile) {
    int64_t width = std::min(tile, s.out_size - p);
    gather_columns(s, x, p, p + width, columns.data());
    gemm<T>(s.out_channels, width, depth, {w, depth}, {columns.data(), width}, {y.data() + p, s.out_size});
  }
  return y;
}
template <class T>
static std::vector<T> conv_transpose_group(const ConvShape& s, const T* x, const T* w) {
  int64_t rows = s.out_channels * s.kernel_size, tile = s.tile(rows, s.in_size);
  std::vector<T> y(static_cast<size_t>(s.out_channels * s.out_size), T{0}), columns, turned(static_cast<size_t>(rows * s.in_channels));
  for (int64_t c = 0; c < s.in_channels; ++c)
    for (int64_t r = 0; r < rows; ++r) turned[r * s.in_channels + c] = w[c * rows + r];
  for (int64_t p = 0; p < s.in_size; p += tile) {
    int64_t width = std::min(tile, s.in_size - p);
    columns.assign(static_cast<size_t>(rows * width), T{0});
    gemm<T>(rows, width, s.in_channels, {turned.data(), s.in_channels}, {x + p, s.in_size}, {columns.data(), width});
    scatter_columns(s, columns.data(), p, p + width, y.data());
  }
  return y;
}

template <class T>
static Status convolve(EvalCall& call, const ConvShape& s, bool transposed, bool tf32, Tensor& y) {
  std::vector<T> x = load_all<T>(call.tensor(0)), w = load_all<T>(call.tensor(1)), bias;
  if constexpr (std::is_same_v<T, double>)
    for (std::vector<T>* factor : {&x, &w})
      if (tf32) std::transform(factor->begin(), factor->end(), factor->begin(), round_to_tf32);
  if (call.has(2)) bias = load_all<T>(call.tensor(2));
  std::vector<T> scale(static_cast<size_t>(s.group * s.out_channels), T{1});
  for (int i : {3, 4}) {
    if (!call.has(i)) continue;
    std::vector<double> v = load_all<double>(call.tensor(i));
    if (v.size() != 1 && v.size() != scale.size())
        return invalid("a convolution of " + std::to_string(scale.size()) + " channels has " + std::to_string(v.size()) + " scales");
    for (size_t c = 0; c < scale.size(); ++c) scale[c] *= static_cast<T>(v[v.size() == 1 ? 0 : c]);
  }
  if (!bias.empty() && bias.size() != scale.size())
      return invalid("a convolution of " + std::to_string(scale.size()) + " channels has " + std::to_string(bias.size()) + " biases");
  int64_t x_step = s.in_channels * s.in_size, w_step = s.in_channels * s.out_channels * s.kernel_size;
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t g = 0; g < s.group; ++g) {
      const T *px = x.data() + (n * s.group + g) * x_step, *pw = w.data() + g * w_step;
      std::vector<T> planes = transposed ? conv_transpose_group(s, px, pw) : conv_group(s, px, pw);
      for (int64_t m = 0; m < s.out_channels; ++m) {
        int64_t channel = g * s.out_channels + m;
        T* row = planes.data() + m * s.out_size;
        for (int64_t k = 0; k < s.out_size; ++k) row[k] = row[k] * scale[channel] + (bias.empty() ? T{0} : bias[channel]);
        store_sums(y, (n * s.group * s.out_channels + channel) * s.out_size, row, s.out_size);
      }
    }
  return {};
}

template <class A>
static Result<std::vector<HostValue>> run_conv(EvalCall& call, const std::vector<WindowAxis>& axes, int64_t out_channels, bool transposed,
                                               bool tf32 = false) {
  const A& a = call.attr<A>();
  const Tensor &x = call.tensor(0), &w = call.tensor(1);
  TRY_ASSIGN(DType t, product_type(x.dtype, w.dtype, a.has_out_type, a.out_type));
  std::vector<int64_t> dims{x.dims[0], out_channels};
  for (const WindowAxis& axis : axes) dims.push_back(axis.out.value());
  TRY_ASSIGN(Tensor y, Tensor::make(t, dims));
  ConvShape s = conv_shape(axes, x.dims[0], a.group, x.dims[1] / a.group, out_channels / a.group);
  if (y.numel() == 0) return one(std::move(y));
  bool wrapping = !is_float(t) && !sums_in_double(x.dtype, w.dtype) && !call.has(3) && !call.has(4);
  if (wrapping) TRY(convolve<uint64_t>(call, s, transposed, false, y));
  else TRY(convolve<double>(call, s, transposed, tf32, y));
  return one(std::move(y));
}

static Shape spatial_dims(const Tensor& t) { return to_shape({t.dims.begin() + 2, t.dims.end()}); }
static Status check_conv_operands(EvalCall& call, int64_t group, bool transposed) {
  const Tensor &x = call.tensor(0), &w = call.tensor(1);
  if (x.rank() < 3 || w.rank() != x.rank()) return invalid("a convolution of ranks " + std::to_string(x.rank()) + " and " + std::to_string(w.rank()));
  bool fits = group >= 1 &&
      (transposed ? x.dims[1] == w.dims[0] && w.dims[0] % group == 0 : x.dims[1] == w.dims[1] * group && w.dims[0] % group == 0);
  if (fits) return {};
  return invalid("a convolution of " + std::to_string(group) + " groups over [" + shape_text(to_shape(x.dims)) + "] with a kernel [" +
      shape_text(to_shape(w.dims)) + "]");
}
static Result<std::vector<HostValue>> eval_conv(EvalCall& call) {
  const ConvAttrs& a = call.attr<ConvAttrs>();
  TRY(check_conv_operands(call, a.group, false));
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes(a, spatial_dims(call.tensor(0)), spatial_dims(call.tensor(1))));
  return run_conv<ConvAttrs>(call, axes, call.tensor(1).dims[0], false, a.tf32);
}
static Result<std::vector<HostValue>> eval_conv_transpose(EvalCall& call) {
  const ConvTransposeAttrs& a = call.attr<ConvTransposeAttrs>();
  TRY(check_conv_operands(call, a.group, true));
  TRY_ASSIGN(std::vector<WindowAxis> axes, transpose_window_axes(a, spatial_dims(call.tensor(0)), spatial_dims(call.tensor(1))));
  return run_conv<ConvTransposeAttrs>(call, axes, call.tensor(1).dims[1] * a.group, true);
}

// Two operations per product: each result of conv, each input of conv_transpose, meets the kernel of its group.
static Cost cost_conv(const Op& op) {
  Cost c;
  const Type &x = type_of(op, 0), &w = type_of(op, 1), &y = op.result()->type;
  if (!x.is_ranked() || !w.is_ranked() || !y.is_ranked()) return c;
  bool transposed = op.kind == OpKind::conv_transpose;
  c.flops = numel(transposed ? x.shape : y.shape) * numel(Shape(w.shape.begin() + 1, w.shape.end())) * 2;
  for (const Type* t : {&x, &w, &y}) c.bytes += numel(t->shape) * Dim(byte_size(t->dtype));
  return c;
}
// The batch; groups; within one group the channels of the result, and those that are summed up.
template <class A, bool transposed>
static Result<ShardingRule> shard_conv(const Op& op) {
  const int64_t group = op.attr<A>().group;
  const int y = ShardingRule::kResult;
  ShardingRule rule = shard_places(op, {{{0, 0}, {y, 0}}});
  if (has_operand(op, 3) || has_operand(op, 4)) return rule;
  if (group == 1) {
    rule.share(op, {{1, transposed}, {2, 0}, {y, 1}});
    rule.share(op, {{0, 1}, {1, !transposed}}, ShardingRule::Role::sum);
    return rule;
  }
  const int g = rule.add(group, ShardingRule::Role::parallel, true), in = rule.add(floordiv(type_of(op, 0).shape[1], group), ShardingRule::Role::whole);
  const int out = rule.add(floordiv(op.result()->type.shape[1], group));
  rule.operands[0][1] = {g, in};
  rule.results[0][1] = {g, out};
  rule.operands[1][0] = {g, transposed ? in : out};
  if (transposed) rule.operands[1][1] = {out};
  if (has_operand(op, 2)) rule.operands[2][0] = {g, out};
  return rule;
}
// Of ranks that sum up their products the first one adds the bias.
template <class A>
static Result<std::vector<Value*>> localize_conv(LocalOp& op) {
  std::unique_ptr<Attrs> attrs = op.whole.attrs->clone();
  if (auto& a = static_cast<A&>(*attrs); a.group != 1) a.group /= op.parts[1].count;
  if (op.operands.size() > 2) op.operands[2] = op.on_first_rank(op.operands[2]);
  return op.build(std::move(attrs));
}
OpDef def_conv() {
  return {.onnx = "Conv", .family = Family::contraction, .min_operands = 2, .max_operands = 5, .attrs = make_attrs<ConvAttrs>, .infer = infer_conv,
          .eval = eval_conv, .cost = cost_conv, .shard = shard_conv<ConvAttrs, false>, .localize = localize_conv<ConvAttrs>};
}
OpDef def_conv_transpose() {
  return {.onnx = "ConvTranspose", .family = Family::contraction, .min_operands = 2, .max_operands = 5, .attrs = make_attrs<ConvTransposeAttrs>,
          .infer = infer_conv_transpose, .eval = eval_conv_transpose, .cost = cost_conv, .shard = shard_conv<ConvTransposeAttrs, true>,
          .localize = localize_conv<ConvTransposeAttrs>};
}

}  // namespace weft
