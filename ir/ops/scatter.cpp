// scatter_elements, scatter_nd, tensor_scatter. Updates apply in row-major order, so that of several to one place the last
// stays; sums and products round after each step. NaN wins over numbers in min and max.
#include <algorithm>
#include <cmath>

#include "ir/ops/indices.h"

namespace weft {

// --- reductions -----------------------------------------------------------------------------------------------------

enum class ScatterMode : uint8_t { none, add, mul, min, max };
static Result<ScatterMode> scatter_mode(const std::string& s, DType t) {
  ScatterMode m;
  if (s == "none") m = ScatterMode::none;
  else if (s == "add") m = ScatterMode::add;
  else if (s == "mul") m = ScatterMode::mul;
  else if (s == "min") m = ScatterMode::min;
  else if (s == "max") m = ScatterMode::max;
  else return invalid("a scatter's reduction must be \"none\", \"add\", \"mul\", \"min\" or \"max\", is " + quote(s));
  bool ordered = m == ScatterMode::min || m == ScatterMode::max;
  if (m != ScatterMode::none && (t == DType::str || (ordered && is_complex(t)))) return invalid("scatter of " + std::string(dtype_name(t)) + " with reduction " + s);
  return m;
}

// Integers wrap.
template <class T>
static T combine_scattered(ScatterMode m, T a, T b) {
  constexpr bool kInteger = std::is_integral_v<T>;
  switch (m) {
    case ScatterMode::none: return b;
    case ScatterMode::add:
      if constexpr (kInteger) return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
      else return a + b;
    case ScatterMode::mul:
      if constexpr (kInteger) return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
      else return a * b;
    case ScatterMode::min:
    case ScatterMode::max:
      if constexpr (std::is_same_v<T, std::complex<double>>) UNREACHABLE();
      else if constexpr (!kInteger)
        if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
      if constexpr (!std::is_same_v<T, std::complex<double>>) return m == ScatterMode::min ? std::min(a, b) : std::max(a, b);
  }
  UNREACHABLE();
}
template <class T>
static Result<Tensor> scatter_reduced(ScatterMode m, const Tensor& x, const std::vector<int64_t>& to, const Tensor& updates) {
  std::vector<T> acc = load_all<T>(x), u = load_all<T>(updates);
  for (size_t k = 0; k < to.size(); ++k) {
    T& a = acc[to[k]];
    a = combine_scattered(m, a, u[k]);
    if constexpr (std::is_same_v<T, double>) a = round_to(x.dtype, a);
  }
  return store_all(x.dtype, x.dims, acc);
}
static Result<Tensor> scattered(ScatterMode m, const Tensor& x, const std::vector<int64_t>& to, const Tensor& updates) {
  if (m != ScatterMode::none)
    return with_carrier(x.dtype, [&](auto c) { return scatter_reduced<decltype(c)>(m, x, to, updates); });
  TRY_ASSIGN(Tensor out, deep_copy(x));
  copy_listed(out, to, updates, {});
  return out;
}

static Status check_updates(const Op& op) {
  const Type &x = type_of(op, 0), &indices = type_of(op, 1), &updates = type_of(op, 2);
  if (!x.is_tensor()) return need_tensor(op, 0);
  if (!indices.is_tensor() || !is_int(indices.dtype)) return invalid("indices must be integers, are " + indices.to_string());
  if (!updates.is_tensor() || updates.dtype != x.dtype) return invalid("updates " + updates.to_string() + " of " + x.to_string());
  return {};
}
static Cost scatter_cost(const Op& op) { return moved_bytes(op, 1); }

// --- scatter_elements -----------------------------------------------------------------------------------------------

static Status infer_scatter_elements(Op& op, InferContext&) {
  TRY(check_updates(op));
  const Type &x = type_of(op, 0), &indices = type_of(op, 1);
  TRY_ASSIGN(ScatterMode mode, scatter_mode(op.attr<ScatterAttrs>().reduction, x.dtype));
  set_type(op, 0, x);
  if (!x.ranked || !indices.ranked || !type_of(op, 2).ranked) return {};
  if (indices.rank() != x.rank() || type_of(op, 2).rank() != x.rank())
    return invalid("scatter_elements of " + type_of(op, 2).to_string() + " to " + indices.to_string() + " of " + x.to_string());
  TRY(normalize_axis(op.attr<ScatterAttrs>().axis, x.rank()));
  if (mode == ScatterMode::none) know_moved(op, {0, 2});
  return {};
}
static Result<std::vector<HostValue>> eval_scatter_elements(EvalCall& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1), &updates = call.tensor(2);
  const ScatterAttrs& a = call.attr<ScatterAttrs>();
  TRY_ASSIGN(ScatterMode mode, scatter_mode(a.reduction, x.dtype));
  if (updates.dims != indices.dims) return invalid("scatter_elements needs one update for each index");
  TRY_ASSIGN(std::vector<int64_t> to, element_offsets(x, indices, a.axis));
  return one(scattered(mode, x, to, updates));
}
OpDef def_scatter_elements() {
  return {.onnx = "ScatterElements", .family = Family::move, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<ScatterAttrs>,
          .infer = infer_scatter_elements, .eval = eval_scatter_elements, .cost = scatter_cost};
}

// --- scatter_nd -----------------------------------------------------------------------------------------------------

static Status infer_scatter_nd(Op& op, InferContext&) {
  TRY(check_updates(op));
  const Type &x = type_of(op, 0), &indices = type_of(op, 1), &updates = type_of(op, 2);
  TRY_ASSIGN(ScatterMode mode, scatter_mode(op.attr<ScatterNdAttrs>().reduction, x.dtype));
  set_type(op, 0, x);
  if (!x.ranked || !indices.ranked || !updates.ranked) return {};
  bool fits = indices.rank() >= 1;
  if (fits && indices.dim(-1).is_const()) {
    int64_t tuple = indices.dim(-1).value();
    fits = tuple <= x.rank() && updates.rank() == indices.rank() - 1 + x.rank() - tuple;
  }
  if (!fits) return invalid("scatter_nd of " + updates.to_string() + " to " + indices.to_string() + " of " + x.to_string());
  if (mode == ScatterMode::none) know_moved(op, {0, 2});
  return {};
}
static Result<std::vector<HostValue>> eval_scatter_nd(EvalCall& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1), &updates = call.tensor(2);
  TRY_ASSIGN(ScatterMode mode, scatter_mode(call.attr<ScatterNdAttrs>().reduction, x.dtype));
  TRY_ASSIGN(NdSlices s, nd_slices(x, indices, 0));
  std::vector<int64_t> want(indices.dims.begin(), indices.dims.end() - 1);
  want.insert(want.end(), x.dims.end() - s.slice_rank, x.dims.end());
  if (updates.dims != want) return invalid("scatter_nd needs updates [" + shape_text(to_shape(want)) + "], got [" + shape_text(to_shape(updates.dims)) + "]");
  std::vector<int64_t> to;
  to.reserve(static_cast<size_t>(updates.numel()));
  for (int64_t offset : s.offsets)
    for (int64_t k = 0; k < s.size; ++k) to.push_back(offset + k);
  return one(scattered(mode, x, to, updates));
}
OpDef def_scatter_nd() {
  return {.onnx = "ScatterND", .family = Family::move, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<ScatterNdAttrs>,
          .infer = infer_scatter_nd, .eval = eval_scatter_nd, .cost = scatter_cost};
}

// --- tensor_scatter ---------------------------------------------------------------------------------------------------

static Result<int> cache_axis(const TensorScatterAttrs& a, int rank) {
  TRY_ASSIGN(int axis, normalize_axis(a.axis, rank));
  if (axis == 0) return invalid("tensor_scatter along dim 0, which counts the batch");
  return axis;
}
static Status infer_tensor_scatter(Op& op, InferContext&) {
  const TensorScatterAttrs& a = op.attr<TensorScatterAttrs>();
  if (a.mode != "linear" && a.mode != "circular") return invalid("tensor_scatter's mode must be \"linear\" or \"circular\", is " + quote(a.mode));
  if (!type_of(op, 0).is_tensor()) return need_tensor(op, 0);
  const Type &cache = type_of(op, 0), &update = type_of(op, 1);
  if (!update.is_tensor() || update.dtype != cache.dtype) return invalid("update " + update.to_string() + " of " + cache.to_string());
  TRY(need_int_vector(op, 2));
  set_type(op, 0, cache);
  if (!cache.ranked || !update.ranked) return {};
  TRY_ASSIGN(int axis, cache_axis(a, cache.rank()));
  bool fits = update.rank() == cache.rank();
  for (int d = 0; fits && d < cache.rank(); ++d) {
    const Dim &c = cache.shape[d], &u = update.shape[d];
    if (c.is_const() && u.is_const()) fits = d == axis ? u.value() <= c.value() : u == c;
  }
  if (!fits) return invalid("update " + update.to_string() + " of " + cache.to_string());
  return {};
}
static Result<std::vector<HostValue>> eval_tensor_scatter(EvalCall& call) {
  const TensorScatterAttrs& a = call.attr<TensorScatterAttrs>();
  const Tensor &cache = call.tensor(0), &update = call.tensor(1);
  TRY_ASSIGN(int axis, cache_axis(a, cache.rank()));
  std::vector<int64_t> want = cache.dims;
  if (update.rank() == cache.rank()) want[axis] = update.dims[axis];
  if (update.dims != want || want[axis] > cache.dims[axis]) return invalid("an update of other dims than its cache");
  int64_t batch = cache.dims[0], length = cache.dims[axis], written = update.dims[axis], middle = 1, inner = 1;
  for (int d = 1; d < cache.rank(); ++d)
    if (d != axis) (d < axis ? middle : inner) *= cache.dims[d];
  std::vector<int64_t> start(static_cast<size_t>(batch), 0);
  if (call.has(2)) start = load_all<int64_t>(call.tensor(2));
  if (static_cast<int64_t>(start.size()) != batch) return invalid("tensor_scatter needs one write index for each of " + std::to_string(batch) + " samples");
  TRY_ASSIGN(Tensor out, deep_copy(cache));
  bool circular = a.mode == "circular";
  for (int64_t b = 0; b < batch; ++b) {
    if (start[b] < 0 || (!circular && start[b] > length - written))
      return invalid("tensor_scatter writes " + std::to_string(written) + " elements at " + std::to_string(start[b]) + " of " + std::to_string(length));
    for (int64_t s = 0; s < written; ++s) {
      int64_t to = (b * middle * length + (start[b] % length + s) % length) * inner, from = (b * middle * written + s) * inner;
      copy_window(out, {to, {length * inner, 1}}, update, {from, {written * inner, 1}}, {middle, inner});
    }
  }
  return one(std::move(out));
}
OpDef def_tensor_scatter() {
  return {.onnx = "TensorScatter", .family = Family::move, .min_operands = 2, .max_operands = 3, .attrs = make_attrs<TensorScatterAttrs>,
          .infer = infer_tensor_scatter, .eval = eval_tensor_scatter, .cost = scatter_cost};
}

}  // namespace weft
