// Pools over windows, and over all of a plane. Each plane is read once as its carrier; windows are clipped to the input
// before they are walked.
#include "ir/ops/pool.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/ops/common.h"
#include "ir/ops/sharding.h"

namespace weft {

static Status check_pooled_type(const Op& op, DType t) {
  if (is_float(t) || (op.kind == OpKind::max_pool && is_int(t))) return {};
  return invalid(std::string(op_name(op.kind)) + " does not take " + dtype_name(t));
}
static Status infer_pool(Op& op, InferContext&) {
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes_of(op));
  const Type& x = type_of(op, 0);
  TRY(check_pooled_type(op, x.dtype));
  Shape shape{x.shape[0], x.shape[1]};
  for (const WindowAxis& a : axes) shape.push_back(a.out);
  set_type(op, 1, Type::tensor(DType::i64, shape));
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  return {};
}

namespace {
// The elements of one window along one dim that lie in the input: first, first + step, ... (count of them); padded counts
// those in the padding, too.
struct WindowPart {
  int64_t first, count, padded;
};
struct PoolShape {
  std::vector<std::vector<WindowPart>> parts;  // per dim and result position
  std::vector<int64_t> in, out, steps;         // steps: between elements of a window, in elements of the plane
  int64_t in_size = 1, out_size = 1;
};
}  // namespace

static PoolShape pool_shape(const std::vector<WindowAxis>& axes) {
  PoolShape s;
  for (const WindowAxis& a : axes) {
    int64_t in = a.in.value(), out = a.out.value(), pad = a.pad_begin.value(), end = in + a.pad_end.value(), kernel = a.kernel.value();
    std::vector<WindowPart> parts;
    for (int64_t o = 0; o < out; ++o) {
      int64_t start = o * a.stride - pad;
      // Elements start + k * dilation below `limit`, of the kernel's.
      auto below = [&](int64_t limit) { return limit <= start ? 0 : std::min(kernel, (limit - start + a.dilation - 1) / a.dilation); };
      int64_t skipped = below(0);
      parts.push_back({start + skipped * a.dilation, std::max<int64_t>(below(in) - skipped, 0), below(end)});
    }
    s.parts.push_back(std::move(parts));
    s.in.push_back(in);
    s.out.push_back(out);
    s.steps.push_back(a.dilation);
    s.in_size *= in;
    s.out_size *= out;
  }
  std::vector<int64_t> strides = dense_strides(s.in);
  for (size_t d = 0; d < strides.size(); ++d) s.steps[d] *= strides[d];
  return s;
}

// f(result position, offsets' visitor, number of elements with padding): visit(g) calls g(offset in the plane).
template <class F>
static void for_each_window(const PoolShape& s, F f) {
  std::vector<int64_t> o(s.out.size(), 0), strides = dense_strides(s.in), counts(o.size()), k(o.size());
  if (s.out_size == 0) return;
  int64_t position = 0;
  do {
    int64_t base = 0, elements = 1, padded = 1;
    for (size_t d = 0; d < o.size(); ++d) {
      const WindowPart& p = s.parts[d][o[d]];
      base += p.first * strides[d];
      counts[d] = p.count;
      elements *= p.count;
      padded *= p.padded;
    }
    auto visit = [&](auto g) {
      if (elements == 0) return;
      std::fill(k.begin(), k.end(), 0);
      do {
        int64_t at = base;
        for (size_t d = 0; d < k.size(); ++d) at += k[d] * s.steps[d];
        g(at);
      } while (next_index(k, counts));
    };
    f(position++, visit, elements, padded);
  } while (next_index(o, s.out));
}

static Shape spatial_of(const Tensor& x) { return to_shape({x.dims.begin() + 2, x.dims.end()}); }
// The windows of a concrete input and the dims of the result.
template <class A>
static Result<PoolShape> pool_setup(EvalCall& call, std::vector<int64_t>& dims) {
  const A& a = call.attr<A>();
  const Tensor& x = call.tensor(0);
  if (x.rank() < 3) return invalid(std::string(op_name(call.op.kind)) + " of rank " + std::to_string(x.rank()));
  TRY_ASSIGN(std::vector<WindowAxis> axes, window_axes(a, spatial_of(x), to_shape(a.kernel_shape), a.ceil_mode));
  dims = {x.dims[0], x.dims[1]};
  for (const WindowAxis& axis : axes) dims.push_back(axis.out.value());
  TRY(Tensor::make(x.dtype, dims));  // refuses what is too large
  return pool_shape(axes);
}

// --- max --------------------------------------------------------------------------------------------------------------

template <class T>
static T lowest_of(DType t) {
  if constexpr (std::is_same_v<T, double>) return -INFINITY;
  else return std::is_same_v<T, uint64_t> ? T{0} : static_cast<T>(int_min(t));
}
// The offset in column-major order of spatial dims.
static int64_t column_major(int64_t offset, const std::vector<int64_t>& dims) {
  std::vector<int64_t> index(dims.size());
  for (size_t d = dims.size(); d-- > 0; offset /= dims[d]) index[d] = offset % dims[d];
  int64_t out = 0;
  for (size_t d = dims.size(); d-- > 0;) out = out * dims[d] + index[d];
  return out;
}
template <class T>
static Result<std::vector<HostValue>> max_pool(EvalCall& call, const PoolShape& s, const std::vector<int64_t>& dims) {
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, dims));
  TRY_ASSIGN(Tensor where, Tensor::make(DType::i64, dims));
  bool by_column = call.attr<MaxPoolAttrs>().storage_order == 1;
  std::vector<T> plane(static_cast<size_t>(s.in_size)), best(static_cast<size_t>(s.out_size));
  std::vector<int64_t> index(best.size());
  for (int64_t p = 0; p < dims[0] * dims[1]; ++p) {
    load_row(x, p * s.in_size, plane.data(), s.in_size);
    for_each_window(s, [&](int64_t o, auto visit, int64_t, int64_t) {
      T top = lowest_of<T>(x.dtype);
      int64_t at = -1;
      visit([&](int64_t e) {
        bool takes = at < 0 || plane[e] > top;
        if constexpr (std::is_same_v<T, double>) takes = takes || (std::isnan(plane[e]) && !std::isnan(top));
        if (!takes) return;
        top = plane[e];
        at = e;
      });
      best[o] = top;
      index[o] = p * s.in_size + (by_column ? column_major(std::max<int64_t>(at, 0), s.in) : std::max<int64_t>(at, 0));
    });
    store_row(y, p * s.out_size, best.data(), s.out_size);
    store_row(where, p * s.out_size, index.data(), s.out_size);
  }
  return std::vector<HostValue>{std::move(y), std::move(where)};
}
static Result<std::vector<HostValue>> eval_max_pool(EvalCall& call) {
  std::vector<int64_t> dims;
  TRY_ASSIGN(PoolShape s, pool_setup<MaxPoolAttrs>(call, dims));
  return with_carrier(call.tensor(0).dtype, [&](auto c) -> Result<std::vector<HostValue>> {
    using T = decltype(c);
    if constexpr (std::is_same_v<T, std::complex<double>>) return invalid("max_pool of complex numbers");
    else return max_pool<T>(call, s, dims);
  });
}

// --- average and lp -----------------------------------------------------------------------------------------------------

// f(plane, window's visitor, elements, with padding) -> result; everything in double.
template <class F>
static Result<std::vector<HostValue>> pool_floats(EvalCall& call, const PoolShape& s, const std::vector<int64_t>& dims, F f) {
  const Tensor& x = call.tensor(0);
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, dims));
  std::vector<double> plane(static_cast<size_t>(s.in_size)), row(static_cast<size_t>(s.out_size));
  for (int64_t p = 0; p < dims[0] * dims[1]; ++p) {
    load_row(x, p * s.in_size, plane.data(), s.in_size);
    for_each_window(s, [&](int64_t o, auto visit, int64_t elements, int64_t padded) { row[o] = f(plane, visit, elements, padded); });
    store_row(y, p * s.out_size, row.data(), s.out_size);
  }
  return one(std::move(y));
}
static Result<std::vector<HostValue>> eval_average_pool(EvalCall& call) {
  std::vector<int64_t> dims;
  TRY_ASSIGN(PoolShape s, pool_setup<AveragePoolAttrs>(call, dims));
  bool with_padding = call.attr<AveragePoolAttrs>().count_include_pad;
  return pool_floats(call, s, dims, [&](const std::vector<double>& plane, auto visit, int64_t elements, int64_t padded) {
    double sum = 0;
    visit([&](int64_t e) { sum += plane[e]; });
    return sum / static_cast<double>(with_padding ? padded : elements);
  });
}
static double power_sum_root(double sum, int64_t p) { return p == 1 ? sum : p == 2 ? std::sqrt(sum) : std::pow(sum, 1.0 / static_cast<double>(p)); }
static double power_of(double v, int64_t p) { return p == 1 ? std::fabs(v) : p == 2 ? v * v : std::pow(std::fabs(v), static_cast<double>(p)); }
static Result<std::vector<HostValue>> eval_lp_pool(EvalCall& call) {
  std::vector<int64_t> dims;
  TRY_ASSIGN(PoolShape s, pool_setup<LpPoolAttrs>(call, dims));
  int64_t p = call.attr<LpPoolAttrs>().p;
  return pool_floats(call, s, dims, [&](const std::vector<double>& plane, auto visit, int64_t, int64_t) {
    double sum = 0;
    visit([&](int64_t e) { sum += power_of(plane[e], p); });
    return power_sum_root(sum, p);
  });
}
static Status verify_lp(int64_t p) { return p >= 1 ? Status() : Status(invalid("an lp pool with p = " + std::to_string(p))); }

// One operation per element of each window, ten where each goes through pow.
static Cost cost_pool(const Op& op) {
  Cost c;
  const Type &x = type_of(op, 0), &y = op.result()->type;
  auto axes = window_axes_of(op);
  if (!axes.ok() || !y.is_ranked()) return c;
  c.flops = numel(y.shape);
  for (const WindowAxis& a : axes.value()) c.flops *= a.kernel;
  c.bytes = numel(x.shape) * Dim(byte_size(x.dtype));
  for (auto& r : op.results) c.bytes += numel(r->type.shape) * Dim(byte_size(r->type.dtype));
  return c;
}
// The batch and the channels; but an index of max_pool counts them.
static Result<ShardingRule> shard_pool(const Op& op) {
  ShardingRule rule(op);
  for (int d = 0; d < 2 && op.num_results() == 1; ++d) rule.share(op, {{0, d}, {ShardingRule::kResult, d}});
  return rule;
}
OpDef def_max_pool() {
  return {.onnx = "MaxPool", .family = Family::pool, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<MaxPoolAttrs>, .infer = infer_pool,
          .eval = eval_max_pool, .cost = cost_pool, .shard = shard_pool};
}
OpDef def_average_pool() {
  return {.onnx = "AveragePool", .family = Family::pool, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<AveragePoolAttrs>,
          .infer = infer_pool, .eval = eval_average_pool, .cost = cost_pool, .shard = shard_pool};
}
OpDef def_lp_pool() {
  return {.onnx = "LpPool", .family = Family::pool, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<LpPoolAttrs>, .infer = infer_pool,
          .verify = [](const Op& op) { return verify_lp(op.attr<LpPoolAttrs>().p); }, .eval = eval_lp_pool, .cost = cost_pool, .shard = shard_pool};
}

// --- global -------------------------------------------------------------------------------------------------------------

static Status infer_global_pool(Op& op, InferContext&) {
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  if (x.rank() < 2 || !is_float(x.dtype)) return invalid(std::string(op_name(op.kind)) + " takes floats [n, c, ...], got " + x.to_string());
  Shape shape(x.shape.size(), Dim(1));
  std::copy_n(x.shape.begin(), 2, shape.begin());
  set_type(op, 0, Type::tensor(x.dtype, std::move(shape)));
  return {};
}
// f(plane) -> result
template <class F>
static Result<std::vector<HostValue>> pool_planes(EvalCall& call, F f) {
  const Tensor& x = call.tensor(0);
  std::vector<int64_t> dims(x.dims.size(), 1);
  std::copy_n(x.dims.begin(), 2, dims.begin());
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, dims));
  int64_t planes = dims[0] * dims[1];
  std::vector<double> plane(static_cast<size_t>(x.numel() / std::max<int64_t>(planes, 1))), out;
  for (int64_t p = 0; p < planes; ++p) {
    load_row(x, p * static_cast<int64_t>(plane.size()), plane.data(), static_cast<int64_t>(plane.size()));
    out.push_back(f(plane));
  }
  store_row(y, 0, out.data(), planes);
  return one(std::move(y));
}
static Result<std::vector<HostValue>> eval_global_average_pool(EvalCall& call) {
  return pool_planes(call, [](const std::vector<double>& plane) {
    double sum = 0;
    for (double v : plane) sum += v;
    return sum / static_cast<double>(plane.size());
  });
}
static Result<std::vector<HostValue>> eval_global_max_pool(EvalCall& call) {
  return pool_planes(call, [](const std::vector<double>& plane) {
    double top = -INFINITY;
    for (double v : plane) top = std::isnan(v) || std::isnan(top) ? NAN : std::max(top, v);
    return top;
  });
}
static Result<std::vector<HostValue>> eval_global_lp_pool(EvalCall& call) {
  int64_t p = call.attr<GlobalLpPoolAttrs>().p;
  return pool_planes(call, [p](const std::vector<double>& plane) {
    double sum = 0;
    for (double v : plane) sum += power_of(v, p);
    return power_sum_root(sum, p);
  });
}
OpDef def_global_average_pool() {
  return {.onnx = "GlobalAveragePool", .family = Family::pool, .min_operands = 1, .max_operands = 1, .infer = infer_global_pool,
      .eval = eval_global_average_pool, .shard = shard_pool};
}
OpDef def_global_max_pool() {
  return {.onnx = "GlobalMaxPool", .family = Family::pool, .min_operands = 1, .max_operands = 1, .infer = infer_global_pool,
      .eval = eval_global_max_pool, .shard = shard_pool};
}
OpDef def_global_lp_pool() {
  return {.onnx = "GlobalLpPool", .family = Family::pool, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<GlobalLpPoolAttrs>,
          .infer = infer_global_pool, .verify = [](const Op& op) { return verify_lp(op.attr<GlobalLpPoolAttrs>().p); },
          .eval = eval_global_lp_pool, .shard = shard_pool};
}

}  // namespace weft
