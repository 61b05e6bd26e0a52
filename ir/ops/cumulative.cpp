// cum_sum, cum_prod: running sums and products along an axis. Floats accumulate in f64, integers wrap.
#include <algorithm>

#include "ir/ops/common.h"
#include "ir/ops/sort.h"

namespace weft {

static Status infer_cumulative(Op& op, InferContext& cx) {
  TRY(need_tensor(op, 0));
  const Type &x = type_of(op, 0), &axis = type_of(op, 1);
  if (!is_float(x.dtype) && !is_int(x.dtype)) return invalid(std::string(op_name(op.kind)) + " does not take " + dtype_name(x.dtype));
  if (!axis.is_tensor() || !is_int(axis.dtype)) return invalid("the axis must be an integer, is " + axis.to_string());
  if (auto a = const_ints(op.operands[1])) {
    if (a->size() != 1) return invalid("the axis must be one integer");
    TRY(normalize_axis((*a)[0], x.rank()));
  }
  return infer_same(op, cx);
}

template <class T>
static T combine(T a, T b, bool product) {
  if constexpr (std::is_same_v<T, double>) return product ? a * b : a + b;
  uint64_t x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
  return static_cast<T>(product ? x * y : x + y);
}

// x is [outer, n, inner]; one accumulator per inner position.
template <class T>
static void run_cumulative(const Tensor& x, Tensor& y, int64_t n, int64_t inner, const CumulativeAttrs& a, bool product) {
  std::vector<T> acc(inner), row(inner);
  for (int64_t o = 0; o < x.numel() / (n * inner); ++o) {
    std::fill(acc.begin(), acc.end(), static_cast<T>(product));
    for (int64_t step = 0; step < n; ++step) {
      int64_t at = (o * n + (a.reverse ? n - 1 - step : step)) * inner;
      load_row(x, at, row.data(), inner);
      if (a.exclusive) store_row(y, at, acc.data(), inner);
      for (int64_t j = 0; j < inner; ++j) acc[j] = combine(acc[j], row[j], product);
      if (!a.exclusive) store_row(y, at, acc.data(), inner);
    }
  }
}

static Result<std::vector<HostValue>> eval_cumulative(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  std::vector<int64_t> axes = load_all<int64_t>(call.tensor(1));
  if (axes.size() != 1) return invalid("the axis must be one integer");
  TRY_ASSIGN(int axis, normalize_axis(axes[0], x.rank()));
  TRY_ASSIGN(Tensor y, Tensor::make(x.dtype, x.dims));
  if (x.numel() == 0) return one(std::move(y));
  int64_t inner = 1;
  for (int d = axis + 1; d < x.rank(); ++d) inner *= x.dims[d];
  with_carrier(x.dtype, [&](auto t) {
    using T = decltype(t);
    if constexpr (!std::is_same_v<T, std::complex<double>>)
      run_cumulative<T>(x, y, x.dims[axis], inner, call.attr<CumulativeAttrs>(), call.op.kind == OpKind::cum_prod);
  });
  return one(std::move(y));
}

static OpDef cumulative(const char* onnx) {
  return {.onnx = onnx, .family = Family::scan, .min_operands = 2, .max_operands = 2, .attrs = make_attrs<CumulativeAttrs>,
          .infer = infer_cumulative, .eval = eval_cumulative};
}
OpDef def_cum_sum() { return cumulative("CumSum"); }
OpDef def_cum_prod() { return cumulative("CumProd"); }

}  // namespace weft
