// canonicalize-casts: of two casts in a row the first goes where its type holds every value of the operand's type, so that
// nothing was lost on the way.
#include "ir/ops/pointwise.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

// Significant bits (with the leading one) and binary exponents of normal numbers; whether subnormals reach lower does not
// matter between these formats, since each wider one holds the narrower ones' subnormals as normal numbers.
struct FloatFormat {
  int bits, min_exponent, max_exponent;
};
static std::optional<FloatFormat> float_format(DType t) {
  switch (t) {
    case DType::f64: return FloatFormat{53, -1022, 1023};
    case DType::f32: return FloatFormat{24, -126, 127};
    case DType::f16: return FloatFormat{11, -14, 15};
    case DType::bf16: return FloatFormat{8, -126, 127};
    default: return std::nullopt;
  }
}
static int value_bits(DType t) { return t == DType::b1 ? 1 : bit_width(t) - (is_signed_int(t) ? 1 : 0); }

// Every value of `from` is a value of `to`.
static bool holds_all(DType to, DType from) {
  if (to == from) return true;
  bool from_int = is_int(from) || from == DType::b1;
  if (is_int(to)) return from_int && value_bits(to) >= value_bits(from) && (is_signed_int(to) || !is_signed_int(from));
  auto t = float_format(to);
  if (!t) return false;
  if (from_int) return t->bits >= value_bits(from);
  auto f = float_format(from);
  // bf16's subnormals need f32's; no other pair shares its smallest exponent.
  return f && t->bits >= f->bits && t->min_exponent <= f->min_exponent && t->max_exponent >= f->max_exponent;
}

Result<bool> pass_canonicalize_casts(Module& m, PassContext&) {
  return rewrite_ops(m, [](Op& op) {
    if (op.kind != OpKind::cast) return false;
    Op* inner = def_of(op.operands[0], OpKind::cast);
    if (!inner || !holds_all(inner->attr<CastAttrs>().to, inner->operands[0]->type.dtype)) return false;
    Builder b = build_before(op, {inner});
    Value* x = inner->operands[0];
    if (x->type.dtype == op.attr<CastAttrs>().to) return replace_op(op, x);
    Value* y = try_build(b, OpKind::cast, {x}, op.attrs->clone());
    return y && replace_op(op, y);
  });
}

}  // namespace weft
