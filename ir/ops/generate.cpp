// Tensors made from a few numbers: constant_of_shape, range, eye_like, one_hot.
#include <algorithm>
#include <cmath>

#include "ir/ops/move.h"
#include "kernels/host/generate.h"

namespace weft {

// --- constant_of_shape ----------------------------------------------------------------------------------------------

static Result<Tensor> fill_value(const ConstantOfShapeAttrs& a, const Module& m) {
  if (a.value.id < 0) return Tensor::make(DType::f32, {1});
  if (a.value.id >= m.constants.size()) return invalid("constant_of_shape refers to no pool entry");
  const Constant& c = m.constants[a.value.id];
  if (c.numel() != 1) return invalid("constant_of_shape's value must be one element, has " + std::to_string(c.numel()));
  return tensor_of(c);
}
static Status infer_constant_of_shape(Op& op, InferContext& cx) {
  TRY(need_int_vector(op, 0));
  TRY_ASSIGN(Tensor value, fill_value(op.attr<ConstantOfShapeAttrs>(), cx.module));
  const std::vector<Dim>* dims = known_of(op.operands[0]);
  if (!dims) {
    auto rank = vector_length(op.operands[0]);
    if (rank && *rank <= 64) set_unknown_dims(op, 0, value.dtype, static_cast<int>(*rank), cx);
    else set_type(op, 0, Type::unranked(value.dtype));
    return {};
  }
  for (const Dim& d : *dims)
    if (d.is_const() && d.value() < 0) return invalid("constant_of_shape with the negative dim " + d.to_string());
  set_type(op, 0, Type::tensor(value.dtype, *dims));
  Dim n = numel(*dims);
  bool small = is_static(*dims) && n.is_const() && n.value() <= 1024 && (is_int(value.dtype) || value.dtype == DType::b1);
  if (small) set_known(op, 0, std::vector<Dim>(static_cast<size_t>(n.value()), Dim(load_all<int64_t>(value)[0])));
  return {};
}
static Result<std::vector<HostValue>> eval_constant_of_shape(EvalCall& call) {
  TRY_ASSIGN(Tensor value, fill_value(call.attr<ConstantOfShapeAttrs>(), *call.op.graph->module));
  TRY_ASSIGN(Tensor out, Tensor::make(value.dtype, load_all<int64_t>(call.tensor(0))));
  fill_run(out, 0, out.numel(), value, 0);
  return one(std::move(out));
}
OpDef def_constant_of_shape() {
  return {.onnx = "ConstantOfShape", .family = Family::move, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<ConstantOfShapeAttrs>,
          .infer = infer_constant_of_shape, .eval = eval_constant_of_shape};
}

// --- range ----------------------------------------------------------------------------------------------------------

// Exact while the step's sign is known.
static std::optional<Dim> known_range_count(const Dim& start, const Dim& limit, const Dim& delta, const SymbolTable& symbols) {
  if (!delta.is_const() || delta.is(0)) return std::nullopt;
  Dim n = delta.value() > 0 ? ceildiv(limit - start, delta) : ceildiv(start - limit, Dim(0) - delta);
  return known_ge(n, 0, symbols) ? n : max(n, Dim(0));
}
static Status infer_range_ints(Op& op, InferContext& cx) {
  const std::vector<Dim>* v[3];
  for (int i = 0; i < 3; ++i) {
    v[i] = known_of(op.operands[i]);
    if (v[i] && v[i]->size() != 1) return invalid("range takes scalars");
  }
  DType t = type_of(op, 0).dtype;
  std::optional<Dim> n;
  if (v[2] && (*v[2])[0].is(0)) return invalid("range in steps of 0");
  if (v[0] && v[1] && v[2]) n = known_range_count((*v[0])[0], (*v[1])[0], (*v[2])[0], cx.module.symbols);
  set_type(op, 0, Type::tensor(t, {n ? *n : data_dim(op, 0, 0, cx)}));
  if (!n || !n->is_const() || n->value() > 1024) return {};
  std::vector<Dim> known;
  for (int64_t k = 0; k < n->value(); ++k) known.push_back((*v[0])[0] + (*v[2])[0] * Dim(k));
  set_known(op, 0, std::move(known));
  return {};
}
static Status infer_range(Op& op, InferContext& cx) {
  for (int i = 0; i < 3; ++i) {
    const Type& t = type_of(op, i);
    bool fits = t.is_tensor() && (is_float(t.dtype) || is_int(t.dtype)) && t.dtype == type_of(op, 0).dtype;
    if (!fits || (t.ranked && is_static(t.shape) && !numel(t.shape).is(1)))
      return invalid(
          "range takes three scalars of one numeric type, operand " + std::to_string(i) + " is " + t.to_string());
  }
  DType t = type_of(op, 0).dtype;
  if (is_int(t)) return infer_range_ints(op, cx);
  auto start = const_floats(op.operands[0], 1), limit = const_floats(op.operands[1], 1), delta = const_floats(op.operands[2], 1);
  if (!start || !limit || !delta) {
    set_unknown_dims(op, 0, t, 1, cx);
    return {};
  }
  TRY_ASSIGN(int64_t n, range_count((*start)[0], (*limit)[0], (*delta)[0]));
  set_type(op, 0, Type::tensor(t, {Dim(n)}));
  return {};
}
template <class T>
static Result<Tensor> eval_range_as(EvalCall& call) {
  T v[3];
  for (int i = 0; i < 3; ++i) {
    if (call.tensor(i).numel() != 1) return invalid("range takes scalars");
    load_row(call.tensor(i), 0, &v[i], 1);
  }
  TRY_ASSIGN(int64_t n, range_count(v[0], v[1], v[2]));
  TRY_ASSIGN(Tensor out, Tensor::make(call.tensor(0).dtype, {n}));
  for (int64_t k = 0; k < n; ++k) {
    T x;
    if constexpr (std::is_same_v<T, double>) x = v[0] + static_cast<double>(k) * v[2];
    else x = static_cast<T>(static_cast<uint64_t>(v[0]) + static_cast<uint64_t>(k) * static_cast<uint64_t>(v[2]));
    store_row(out, k, &x, 1);
  }
  return out;
}
OpDef def_range() {
  return {.onnx = "Range", .family = Family::move, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<RangeAttrs>, .infer = infer_range,
          .eval = [](EvalCall& call) { return one(is_float(call.tensor(0).dtype) ? eval_range_as<double>(call) : eval_range_as<int64_t>(call)); }};
}

// --- eye_like -------------------------------------------------------------------------------------------------------

static DType eye_type(const EyeLikeAttrs& a, DType operand) { return a.has_dtype ? a.dtype : operand; }
static Status infer_eye_like(Op& op, InferContext&) {
  TRY(need_tensor(op, 0));
  const Type& x = type_of(op, 0);
  if (x.rank() != 2) return invalid("eye_like takes a matrix, got " + x.to_string());
  DType t = eye_type(op.attr<EyeLikeAttrs>(), x.dtype);
  if (t == DType::str || is_complex(t)) return invalid(std::string("eye_like does not give ") + dtype_name(t));
  set_type(op, 0, Type::tensor(t, x.shape));
  return {};
}
static Result<std::vector<HostValue>> eval_eye_like(EvalCall& call) {
  const EyeLikeAttrs& a = call.attr<EyeLikeAttrs>();
  const std::vector<int64_t>& dims = call.tensor(0).dims;
  TRY_ASSIGN(Tensor out, Tensor::make(eye_type(a, call.tensor(0).dtype), dims));
  double one_f = 1;
  int64_t one_i = 1, rows = dims[0], columns = dims[1];
  if (a.k > columns || a.k < -rows) return one(std::move(out));
  for (int64_t r = std::max<int64_t>(0, -a.k); r < rows && r + a.k < columns; ++r) {
    int64_t at = r * columns + r + a.k;
    if (is_float(out.dtype)) store_row(out, at, &one_f, 1);
    else store_row(out, at, &one_i, 1);
  }
  return one(std::move(out));
}
OpDef def_eye_like() {
  return {.onnx = "EyeLike", .family = Family::move, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<EyeLikeAttrs>, .infer = infer_eye_like,
          .eval = eval_eye_like};
}

// --- one_hot --------------------------------------------------------------------------------------------------------


static Status infer_one_hot(Op& op, InferContext& cx) {
  const Type &indices = type_of(op, 0), &depth = type_of(op, 1), &values = type_of(op, 2);
  if (!indices.is_tensor() || !is_number(indices.dtype) || !depth.is_tensor() || !is_number(depth.dtype) || !values.is_tensor())
    return invalid("one_hot of " + indices.to_string() + " with depth " + depth.to_string() + " and values " + values.to_string());
  if (values.ranked && values.rank() != 1) return invalid("one_hot's values must be [off, on], are " + values.to_string());
  if (values.ranked) TRY(cx.equal(values.shape[0], 2, "one_hot's values, which are [off, on], and what they should be"));
  if (!indices.ranked) {
    set_type(op, 0, Type::unranked(values.dtype));
    return {};
  }
  TRY_ASSIGN(int axis, normalize_axis(op.attr<OneHotAttrs>().axis, indices.rank() + 1));
  const std::vector<Dim>* known = known_of(op.operands[1]);
  auto real = const_floats(op.operands[1], 1);
  Dim n;
  if (known && known->size() == 1) n = (*known)[0];
  else if (real && real->size() == 1 && std::fabs((*real)[0]) < 1e15) n = static_cast<int64_t>((*real)[0]);
  else n = data_dim(op, 0, axis, cx);
  if (n.is_const() && n.value() < 0) return invalid("one_hot of depth " + n.to_string());
  Shape shape = indices.shape;
  shape.insert(shape.begin() + axis, n);
  set_type(op, 0, Type::tensor(values.dtype, std::move(shape)));
  return {};
}
// Any number as an integer, towards zero; what does not fit lies outside every depth.
static std::vector<int64_t> truncated(const Tensor& t) {
  if (!is_float(t.dtype)) return load_all<int64_t>(t);
  std::vector<int64_t> out;
  for (double d : load_all<double>(t)) out.push_back(std::fabs(d) < 1e15 ? static_cast<int64_t>(d) : INT64_MAX);
  return out;
}
static Result<std::vector<HostValue>> eval_one_hot(EvalCall& call) {
  const Tensor &indices = call.tensor(0), &values = call.tensor(2);
  TRY_ASSIGN(int axis, normalize_axis(call.attr<OneHotAttrs>().axis, indices.rank() + 1));
  std::vector<int64_t> depth = truncated(call.tensor(1)), at = truncated(indices), dims = indices.dims;
  if (depth.size() != 1 || depth[0] < 0 || values.numel() != 2) return invalid("one_hot takes one depth and the values [off, on]");
  dims.insert(dims.begin() + axis, depth[0]);
  TRY_ASSIGN(Tensor out, Tensor::make(values.dtype, dims));
  fill_run(out, 0, out.numel(), values, 0);
  int64_t inner = 1;
  for (int d = axis; d < indices.rank(); ++d) inner *= indices.dims[d];
  std::vector<int64_t> hot;
  for (size_t k = 0; k < at.size(); ++k) {
    if (at[k] < -depth[0] || at[k] >= depth[0]) continue;
    int64_t i = static_cast<int64_t>(k), j = at[k] < 0 ? at[k] + depth[0] : at[k];
    hot.push_back((i / inner * depth[0] + j) * inner + i % inner);
  }
  if (!hot.empty()) copy_listed(out, hot, values, std::vector<int64_t>(hot.size(), 1));
  return one(std::move(out));
}
// The dims of the indices, and the depth.
static Result<ShardingRule> shard_one_hot(const Op& op) {
  TRY_ASSIGN(int axis, normalize_axis(op.attr<OneHotAttrs>().axis, op.result()->type.rank()));
  ShardingRule rule(op);
  for (int d = 0; d < type_of(op, 0).rank(); ++d) rule.share(op, {{0, d}, {ShardingRule::kResult, d < axis ? d : d + 1}});
  if (is_int(type_of(op, 0).dtype)) rule.share(op, {{ShardingRule::kResult, axis}});
  return rule;
}
static Result<std::vector<Value*>> localize_one_hot(LocalOp& op) {
  const size_t depth = op.operands[0]->type.shape.size();
  if (!op.cuts(depth)) return op.build();
  TRY_ASSIGN(int axis, normalize_axis(op.whole.attr<OneHotAttrs>().axis, op.whole.result()->type.rank()));
  const Dim& rows = op.results[0][axis];
  Value* index = op.cast(op.operands[0], DType::i64);
  op.operands[0] = local_indices(op, index, op.whole.result()->type.shape[axis], op.parts[depth].first, rows, rows).local;
  op.operands[1] = op.number(rows, DType::i64);
  return op.build();
}
OpDef def_one_hot() {
  return {.onnx = "OneHot", .family = Family::move, .min_operands = 3, .max_operands = 3, .attrs = make_attrs<OneHotAttrs>, .infer = infer_one_hot,
          .eval = eval_one_hot, .shard = shard_one_hot, .localize = localize_one_hot};
}

}  // namespace weft
