// quantize_linear and dequantize_linear: each element with its own scale and zero point.
#include "codegen/lower/rules.h"
#include "ir/ops/quantize.h"

namespace weft {

// Where the scale of x's element at idx lies.
static Result<Index> scale_index(const Op& op, const Value* scale, int64_t axis, int64_t block_size, const Index& idx) {
  Facts facts;
  TRY_ASSIGN(ScaleMap m, scale_map(op.operands[0]->type.shape, scale->type.shape, axis, block_size, facts));
  if (m.kind == ScaleMap::Kind::one) return Index(scale->type.shape.size(), Dim(0));
  if (m.kind == ScaleMap::Kind::axis) return Index{idx[m.axis]};
  Index out = idx;
  out[m.axis] = floordiv(idx[m.axis], block_size);
  return out;
}

static bool is_uniform_zero(const Value* v) {
  const Constant* c = constant_of(v);
  bool ok = false;
  const bool one = c && c->numel() == 1;
  return one && constant_ints(*c, 1, &ok) == std::vector<int64_t>{0} && ok;
}

Result<int> rule_quantize_linear(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const QuantizeAttrs& a = op.attr<QuantizeAttrs>();
  DType t = op.result()->type.dtype, division = division_type(op), wide = wide_float(division);
  TRY_ASSIGN(Index at, scale_index(op, op.operands[1], a.axis, a.block_size, idx));
  TRY_ASSIGN(int x, r.emit(op.operands[0], idx));
  TRY_ASSIGN(int scale, r.emit(op.operands[1], at));
  // A quotient of two narrow floats, rounded twice, is the one rounded once.
  S q = (r.at(x).cast(division).cast(wide) / r.at(scale).cast(division).cast(wide)).cast(division).cast(wide);
  std::optional<S> zero;
  if (op.operand(2) && !(is_int(t) && is_uniform_zero(op.operands[2]))) {
    TRY_ASSIGN(at, scale_index(op, op.operands[2], a.axis, a.block_size, idx));
    TRY_ASSIGN(int z, r.emit(op.operands[2], at));
    zero = r.at(z).cast(wide);
  }
  if (!is_int(t)) return r.program().cast((zero ? q + *zero : q).id, t, a.saturate);
  // Into the type's range before rounding, which only integers' bounds allow; the cast makes 0 of NaN.
  S least = q.lit(static_cast<double>(int_min(t))), most = q.lit(static_cast<double>(int_max(t)));
  if (zero) {
    q = select(q.un(Prim::is_nan), q.lit(0), q);
    least = least - *zero;
    most = most - *zero;
  }
  q = max(least, min(most, q)).un(Prim::round);
  return r.program().cast((zero ? q + *zero : q).id, t, a.saturate);
}

Result<int> rule_dequantize_linear(SpecBuilder& r, const Op& op, int, const Index& idx) {
  const DequantizeAttrs& a = op.attr<DequantizeAttrs>();
  DType t = op.result()->type.dtype, wide = wide_float(t);
  bool integers = is_int(op.operands[0]->type.dtype);
  TRY_ASSIGN(int x, r.emit(op.operands[0], idx));
  S v = r.at(x).cast(integers ? DType::i32 : wide);
  if (const Value* zero = op.operand(2)) {
    TRY_ASSIGN(Index at, scale_index(op, zero, a.axis, a.block_size, idx));
    TRY_ASSIGN(int z, r.emit(zero, at));
    v = v - r.at(z).cast(v.type());
  }
  TRY_ASSIGN(Index at, scale_index(op, op.operands[1], a.axis, a.block_size, idx));
  TRY_ASSIGN(int scale, r.emit(op.operands[1], at));
  return (v.cast(wide) * r.at(scale).cast(wide)).cast(t).id;
}

}  // namespace weft
