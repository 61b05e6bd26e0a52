// quantize_linear, dequantize_linear, dynamic_quantize_linear (quantize.h).
#include "ir/ops/quantize.h"

#include <algorithm>
#include <cmath>

#include "ir/ops/common.h"

namespace weft {

static bool is_quantized(DType t) { return (is_int(t) && bit_width(t) <= 16) || (is_float(t) && bit_width(t) <= 8); }

Result<ScaleMap> scale_map(const Shape& x, const Shape& scale, int64_t axis, int64_t block_size, Facts& facts) {
  ScaleMap m;
  if (scale.empty() || (is_static(scale) && numel(scale).is(1))) return m;
  TRY_ASSIGN(m.axis, normalize_axis(axis, static_cast<int>(x.size())));
  if (block_size < 0 || scale.size() != (block_size ? x.size() : 1))
    return invalid("a scale of shape [" + shape_text(scale) + "] does not fit an input of shape [" + shape_text(x) + "]");
  if (block_size > 0) {
    Shape want = x;
    want[m.axis] = ceildiv(x[m.axis], block_size);
    for (size_t d = 0; d < x.size(); ++d) TRY(facts.equal(scale[d], want[d], "a scale's dims and blocks of " + std::to_string(block_size)));
    m.kind = ScaleMap::Kind::blocks;
    return m;
  }
  TRY(facts.equal(scale[0], x[m.axis], "a scale's elements and the dim that it scales"));
  m.kind = ScaleMap::Kind::axis;
  return m;
}

// Common checks of operands 0 (x), 1 (scale) and 2 (zero point).
static Status check_scales(const Op& op, int64_t axis, int64_t block_size, Facts& facts) {
  for (int i = 0; i < op.num_operands(); ++i)
    if (op.operands[i]) TRY(need_tensor(op, i));
  const Type& scale = type_of(op, 1);
  if (!is_float(scale.dtype)) return unsupported(std::string(op_name(op.kind)) + " with a scale of type " + scale.to_string());
  TRY(scale_map(type_of(op, 0).shape, scale.shape, axis, block_size, facts));
  if (!has_operand(op, 2)) return {};
  const Type& zero = type_of(op, 2);
  bool single = is_static(zero.shape) && is_static(scale.shape) && numel(zero.shape).is(1) && numel(scale.shape).is(1);
  if (single) return {};
  if (zero.rank() != scale.rank()) return invalid("the zero point is " + zero.to_string() + ", the scale " + scale.to_string());
  for (int d = 0; d < zero.rank(); ++d) TRY(facts.equal(zero.shape[d], scale.shape[d], "dims of the zero point and the scale"));
  return {};
}

DType quantized_type(const Op& op) {
  const QuantizeAttrs& a = op.attr<QuantizeAttrs>();
  return has_operand(op, 2) ? type_of(op, 2).dtype : a.has_output_dtype ? a.output_dtype : DType::u8;
}
DType division_type(const Op& op) {
  const QuantizeAttrs& a = op.attr<QuantizeAttrs>();
  DType t = a.has_precision ? a.precision : type_of(op, 1).dtype;
  return bit_width(t) < 16 ? DType::f32 : t;
}

static Status infer_quantize(Op& op, InferContext& cx) {
  const QuantizeAttrs& a = op.attr<QuantizeAttrs>();
  TRY(check_scales(op, a.axis, a.block_size, cx));
  const Type& x = type_of(op, 0);
  DType t = quantized_type(op);
  if (!is_float(x.dtype) && !is_int(x.dtype)) return invalid("quantize_linear does not take " + x.to_string());
  if (!is_quantized(t) || t == DType::f8e8m0) return invalid(std::string("quantize_linear does not give ") + dtype_name(t));
  std::string types = std::string("output_dtype is ") + dtype_name(a.output_dtype) + ", the zero point's type " + dtype_name(t);
  if (a.has_output_dtype && a.output_dtype != t) return invalid(types);
  if (a.has_precision && !is_float(a.precision)) return invalid("precision must be a float type");
  set_type(op, 0, Type::tensor(t, x.shape));
  return {};
}
static Status infer_dequantize(Op& op, InferContext& cx) {
  const DequantizeAttrs& a = op.attr<DequantizeAttrs>();
  TRY(check_scales(op, a.axis, a.block_size, cx));
  const Type& x = type_of(op, 0);
  if (!is_quantized(x.dtype) && x.dtype != DType::i32) return invalid("dequantize_linear does not take " + x.to_string());
  DType t = a.has_output_dtype ? a.output_dtype : type_of(op, 1).dtype;
  if (!is_float(t)) return invalid(std::string("dequantize_linear does not give ") + dtype_name(t));
  set_type(op, 0, Type::tensor(t, x.shape));
  return {};
}

// f(element of x, scale, zero point) for every element, in order.
template <class F>
static Result<std::vector<double>> with_scales(EvalCall& call, int64_t axis, int64_t block_size, F f) {
  const Tensor &x = call.tensor(0), &scale = call.tensor(1);
  Facts facts;
  TRY_ASSIGN(ScaleMap m, scale_map(to_shape(x.dims), to_shape(scale.dims), axis, block_size, facts));
  std::vector<double> v = load_all<double>(x), s = load_all<double>(scale), z(s.size());
  if (call.has(2)) z = load_all<double>(call.tensor(2));
  if (z.size() != s.size()) return invalid("scale and zero point differ in their dims");
  int64_t inner = 1, dim = m.kind == ScaleMap::Kind::one ? 1 : x.dims[m.axis], blocks = (dim + block_size - 1) / std::max<int64_t>(block_size, 1);
  for (int d = m.axis + 1; d < x.rank(); ++d) inner *= x.dims[d];
  for (int64_t k = 0; k < static_cast<int64_t>(v.size()); ++k) {
    int64_t at = 0, along = k / inner % dim;
    if (m.kind == ScaleMap::Kind::axis) at = along;
    if (m.kind == ScaleMap::Kind::blocks) at = (k / inner / dim * blocks + along / block_size) * inner + k % inner;
    v[k] = f(v[k], s[at], z[at]);
  }
  return v;
}

// Rounded to an integer type with its limits; NaN gives the zero point.
static Result<Tensor> store_quantized(DType t, const std::vector<int64_t>& dims, const std::vector<double>& v) {
  std::vector<int64_t> out;
  double lo = static_cast<double>(int_min(t)), hi = static_cast<double>(int_max(t));
  for (double x : v) out.push_back(static_cast<int64_t>(std::min(hi, std::max(lo, x))));
  return store_all(t, dims, out);
}

static Result<std::vector<HostValue>> eval_quantize(EvalCall& call) {
  const QuantizeAttrs& a = call.attr<QuantizeAttrs>();
  DType t = call.op.result()->type.dtype, division = division_type(call.op);
  TRY_ASSIGN(std::vector<double> v, with_scales(call, a.axis, a.block_size, [&](double x, double scale, double zero) {
               double q = round_to(division, round_to(division, x) / round_to(division, scale));
               if (!is_int(t)) return q + zero;
               return std::isnan(q) ? zero : std::nearbyint(q) + zero;
             }));
  if (is_int(t)) return one(store_quantized(t, call.tensor(0).dims, v));
  TRY_ASSIGN(Tensor y, Tensor::make(t, call.tensor(0).dims));
  store_row(y, 0, v.data(), y.numel(), a.saturate);
  return one(std::move(y));
}
static Result<std::vector<HostValue>> eval_dequantize(EvalCall& call) {
  const DequantizeAttrs& a = call.attr<DequantizeAttrs>();
  TRY_ASSIGN(std::vector<double> v, with_scales(call, a.axis, a.block_size, [](double x, double scale, double zero) { return (x - zero) * scale; }));
  return one(store_all(call.op.result()->type.dtype, call.tensor(0).dims, v));
}

// All dims; scales and zero points are cut where they lie along one, between blocks where these fill it.
template <class A>
static Result<ShardingRule> shard_scaled(const Op& op) {
  const A& a = op.attr<A>();
  const Shape& x = type_of(op, 0).shape;
  Facts facts;
  TRY_ASSIGN(ScaleMap m, scale_map(x, type_of(op, 1).shape, a.axis, a.block_size, facts));
  const bool blocks = m.kind == ScaleMap::Kind::blocks;
  ShardingRule rule(op);
  for (int d = 0; d < static_cast<int>(x.size()); ++d) {
    std::vector<ShardingRule::Place> places{{0, d}, {ShardingRule::kResult, d}};
    if (blocks && d == m.axis) {
      if (!(floordiv(x[d], a.block_size) * Dim(a.block_size) == x[d])) continue;
      int n = rule.add(floordiv(x[d], a.block_size)), inside = rule.add(a.block_size, ShardingRule::Role::whole);
      rule.operands[0][d] = rule.results[0][d] = {n, inside};
      for (int i : {1, 2})
        if (has_operand(op, i)) rule.operands[i][d] = {n};
      continue;
    }
    if (blocks || (m.kind == ScaleMap::Kind::axis && d == m.axis)) places.insert(places.end(), {{1, blocks ? d : 0}, {2, blocks ? d : 0}});
    rule.share(op, places);
  }
  return rule;
}
OpDef def_quantize_linear() {
  return {.onnx = "QuantizeLinear", .family = Family::quantize, .min_operands = 2, .max_operands = 3, .attrs = make_attrs<QuantizeAttrs>,
          .infer = infer_quantize, .eval = eval_quantize, .shard = shard_scaled<QuantizeAttrs>};
}
OpDef def_dequantize_linear() {
  return {.onnx = "DequantizeLinear", .family = Family::quantize, .min_operands = 2, .max_operands = 3, .attrs = make_attrs<DequantizeAttrs>,
          .infer = infer_dequantize, .eval = eval_dequantize, .shard = shard_scaled<DequantizeAttrs>};
}

// --- dynamic --------------------------------------------------------------------------------------------------------

static Status infer_dynamic_quantize(Op& op, InferContext&) {
  TRY(need_tensor(op, 0));
  if (type_of(op, 0).dtype != DType::f32) return invalid("dynamic_quantize_linear takes f32, not " + type_of(op, 0).to_string());
  set_type(op, 0, Type::tensor(DType::u8, type_of(op, 0).shape));
  set_type(op, 1, Type::tensor(DType::f32, {}));
  set_type(op, 2, Type::tensor(DType::u8, {}));
  return {};
}
// In f32 step by step, since a rounding more or less moves whole quanta. A range of nothing but 0 has the scale 1 / 255.
static Result<std::vector<HostValue>> eval_dynamic_quantize(EvalCall& call) {
  const Tensor& x = call.tensor(0);
  std::vector<double> v = load_all<double>(x);
  float lo = 0, hi = 0;
  for (double e : v) {
    lo = std::min(lo, static_cast<float>(e));
    hi = std::max(hi, static_cast<float>(e));
  }
  float scale = (hi == lo ? 1.0f : hi - lo) / 255.0f;
  double zero = std::nearbyint(std::min(255.0f, std::max(0.0f, -lo / scale)));
  for (double& e : v) {
    float q = std::nearbyint(static_cast<float>(e) / scale);
    e = std::isnan(q) ? zero : q + zero;
  }
  TRY_ASSIGN(Tensor y, store_quantized(DType::u8, x.dims, v));
  TRY_ASSIGN(Tensor s, store_all(DType::f32, {}, std::vector<double>{scale}));
  TRY_ASSIGN(Tensor z, store_all(DType::u8, {}, std::vector<int64_t>{static_cast<int64_t>(zero)}));
  return std::vector<HostValue>{std::move(y), std::move(s), std::move(z)};
}
// All dims; the range is that of all ranks.
static Result<ShardingRule> shard_dynamic_quantize(const Op& op) {
  ShardingRule rule(op);
  for (int d = 0; d < type_of(op, 0).rank(); ++d) rule.share(op, {{0, d}, {ShardingRule::kResult, d}}, ShardingRule::Role::parallel, 2);
  return rule;
}
static Result<std::vector<Value*>> localize_dynamic_quantize(LocalOp& op) {
  Builder& b = op.b;
  Value *x = op.operands[0], *zero = b.scalar(DType::f32, 0), *most = b.scalar(DType::f32, 255);
  std::vector<int64_t> dims;
  std::vector<std::string> ranks;
  for (const FactorPart& p : op.parts) {
    dims.push_back(static_cast<int64_t>(dims.size()));
    ranks.insert(ranks.end(), p.axes.begin(), p.axes.end());
  }
  auto scalar = [&](Value* v) { return b.op(OpKind::reshape, {v, b.ints({})}); };
  Value* lo = b.op(OpKind::min, {zero, scalar(op.reduce(OpKind::reduce_min, x, dims, ranks, "min"))});
  Value* hi = b.op(OpKind::max, {zero, scalar(op.reduce(OpKind::reduce_max, x, dims, ranks, "max"))});
  Value* range = b.op(OpKind::where, {b.op(OpKind::equal, {hi, lo}), b.scalar(DType::f32, 1), b.op(OpKind::sub, {hi, lo})});
  Value* scale = b.op(OpKind::div, {range, most});
  Value* point = b.op(OpKind::div, {b.op(OpKind::neg, {lo}), scale});
  point = op.cast(b.op(OpKind::round, {b.op(OpKind::min, {most, b.op(OpKind::max, {zero, point})})}), DType::u8);
  return std::vector<Value*>{b.op(OpKind::quantize_linear, {x, scale, point}), scale, point};
}
OpDef def_dynamic_quantize_linear() {
  return {.onnx = "DynamicQuantizeLinear", .family = Family::quantize, .min_operands = 1, .max_operands = 1, .infer = infer_dynamic_quantize,
          .eval = eval_dynamic_quantize, .shard = shard_dynamic_quantize, .localize = localize_dynamic_quantize};
}

}  // namespace weft
