// Functions of one real number. What scalar.def lacks is composed here so that it neither cancels nor overflows where
// the function itself does not.
#include "ir/ops/pointwise.h"
#include "ir/ops/scalar_math.h"

namespace weft {

template <Prim prim>
static OpDef primitive(const char* onnx, uint32_t traits = 0) {
  return pointwise(onnx, 1, unary_body<prim>, traits);
}
template <S (*f)(S)>
static OpDef composed(const char* onnx) {
  return pointwise(onnx, 1, [](const Op& op, ScalarProgram& p) { out(p, f(in(op, p, 0))); });
}

OpDef def_abs() { return primitive<Prim::abs>("Abs", kIdempotent); }
OpDef def_neg() { return primitive<Prim::neg>("Neg"); }
OpDef def_sign() { return primitive<Prim::sign>("Sign", kIdempotent); }
OpDef def_floor() { return primitive<Prim::floor>("Floor", kIdempotent); }
OpDef def_ceil() { return primitive<Prim::ceil>("Ceil", kIdempotent); }
OpDef def_round() { return primitive<Prim::round>("Round", kIdempotent); }
OpDef def_sqrt() { return primitive<Prim::sqrt>("Sqrt"); }
OpDef def_exp() { return primitive<Prim::exp>("Exp"); }
OpDef def_log() { return primitive<Prim::log>("Log"); }
OpDef def_sin() { return primitive<Prim::sin>("Sin"); }
OpDef def_cos() { return primitive<Prim::cos>("Cos"); }
OpDef def_atan() { return primitive<Prim::atan>("Atan"); }
OpDef def_erf() { return primitive<Prim::erf>("Erf"); }
OpDef def_is_nan() { return primitive<Prim::is_nan>("IsNaN"); }

// |y| with the sign of x; NaN in y stays.
static S signed_as(S x, S y) { return select(lt(x, x.lit(0)), -y, y); }
constexpr double kLn2 = 0.6931471805599453;

static S reciprocal(S x) { return 1 / x; }
OpDef def_reciprocal() { return composed<reciprocal>("Reciprocal"); }

static S tan(S x) { return x.un(Prim::sin) / x.un(Prim::cos); }
OpDef def_tan() { return composed<tan>("Tan"); }

// x/sqrt(1-x^2) is infinite at ±1, whose arctangent is exact; beyond, the root is NaN.
static S asin(S x) { return atan(x / sqrt((1 - x) * (x + 1))); }
OpDef def_asin() { return composed<asin>("Asin"); }
static S acos(S x) { return atan(sqrt((1 - x) / (x + 1))) * 2; }
OpDef def_acos() { return composed<acos>("Acos"); }

// exp(x)^2 of half the argument reaches the last finite results; expm1 keeps small ones exact.
static S sinh(S x) {
  S a = abs(x), e = expm1(a), half = exp(a * 0.5);
  S small = (e + e / (e + 1)) * 0.5, large = half * 0.5 * half;
  return signed_as(x, select(lt(a, a.lit(10)), small, large));
}
OpDef def_sinh() { return composed<sinh>("Sinh"); }
static S cosh(S x) {
  S half = exp(abs(x) * 0.5);
  return half * 0.5 * half + 0.5 / half / half;
}
OpDef def_cosh() { return composed<cosh>("Cosh"); }

// Above 1e4 the square may overflow (f16 from 256 on, and f32 far later), where log(2x) is exact enough.
static S asinh(S x) {
  S a = abs(x), s = a * a, limit = a.lit(x.type() == DType::f16 ? 200 : 1e4);
  S small = log1p(a + s / (sqrt(s + 1) + 1)), large = log(a) + kLn2;
  return signed_as(x, select(lt(limit, a), large, small));
}
OpDef def_asinh() { return composed<asinh>("Asinh"); }
static S acosh(S x) {
  S t = x - 1, limit = x.lit(x.type() == DType::f16 ? 200 : 1e4);
  S small = log1p(t + sqrt(t * (t + 2))), large = log(x) + kLn2;
  return select(lt(limit, x), large, small);
}
OpDef def_acosh() { return composed<acosh>("Acosh"); }
static S atanh(S x) {
  S a = abs(x);
  return signed_as(x, log1p(a * 2 / (1 - a)) * 0.5);
}
OpDef def_atanh() { return composed<atanh>("Atanh"); }

OpDef def_is_inf() {
  OpDef d = pointwise("IsInf", 1, [](const Op& op, ScalarProgram& p) {
    const auto& a = op.attr<IsInfAttrs>();
    S x = in(op, p, 0), inf = x.un(Prim::is_inf);
    S no{&p, p.constant_int(DType::b1, 0)};
    if (!a.detect_negative && !a.detect_positive) return out(p, no);
    if (!a.detect_negative) inf = inf.bin(Prim::bit_and, lt(x.lit(0), x));
    if (!a.detect_positive) inf = inf.bin(Prim::bit_and, lt(x, x.lit(0)));
    out(p, inf);
  });
  d.attrs = make_attrs<IsInfAttrs>;
  return d;
}

}  // namespace weft
