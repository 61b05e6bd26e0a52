// The primitives of scalar.def on values: the same results as the reference evaluator's, but for the last place of
// transcendental functions. + - * / of floats are the language's.
#pragma once

#include "kernels/core/convert.cuh"

namespace weft {

// --- integers: they wrap, x/0 is 0, MIN/-1 wraps ----------------------------------------------------------------------

template <class T> struct UnsignedOf { typedef u32 type; };
template <> struct UnsignedOf<i64> { typedef u64 type; };
template <> struct UnsignedOf<u64> { typedef u64 type; };
template <class T> using Unsigned = typename UnsignedOf<T>::type;  // at least as wide; arithmetic in it is defined
template <class T> constexpr bool is_signed = (T)-1 < (T)0;

template <class T> WEFT_FN T add(T a, T b) { return (T)((Unsigned<T>)a + (Unsigned<T>)b); }
template <class T> WEFT_FN T sub(T a, T b) { return (T)((Unsigned<T>)a - (Unsigned<T>)b); }
template <class T> WEFT_FN T mul(T a, T b) { return (T)((Unsigned<T>)a * (Unsigned<T>)b); }
template <class T> WEFT_FN T neg(T a) { return (T)(0 - (Unsigned<T>)a); }
template <class T> WEFT_FN T fma(T a, T b, T c) { return add(mul(a, b), c); }
template <class T> WEFT_FN T div(T a, T b) {
  if (b == 0) return 0;
  if (is_signed<T> && b == (T)-1) return neg(a);
  return (T)(a / b);
}
template <class T> WEFT_FN T rem(T a, T b) { return b == 0 || (is_signed<T> && b == (T)-1) ? (T)0 : (T)(a % b); }
template <class T> WEFT_FN T mod(T a, T b) {
  const T r = rem(a, b);
  return r != 0 && (r < 0) != (b < 0) ? (T)(r + b) : r;
}
template <class T> WEFT_FN T min(T a, T b) { return b < a ? b : a; }
template <class T> WEFT_FN T max(T a, T b) { return a < b ? b : a; }
template <class T> WEFT_FN T abs(T a) { return a < 0 ? neg(a) : a; }
template <class T> WEFT_FN T sign(T a) { return (T)((a > 0) - (a < 0)); }
// Shifts by the width or more give 0.
template <class T> WEFT_FN T shl(T a, T b) { return (u64)b >= 8 * sizeof(T) ? (T)0 : (T)((Unsigned<T>)a << b); }
template <class T> WEFT_FN T shr(T a, T b) { return (u64)b >= 8 * sizeof(T) ? (T)0 : (T)(a >> b); }
template <class T> WEFT_FN T pow(T a, T b) {
  if (is_signed<T> && b < 0) return a == 1 ? (T)1 : a == (T)-1 ? (b & 1 ? a : (T)1) : (T)0;
  Unsigned<T> r = 1, x = (Unsigned<T>)a;
  for (u64 e = (u64)b; e; e >>= 1, x *= x)
    if (e & 1) r *= x;
  return (T)r;
}

// --- indices ----------------------------------------------------------------------------------------------------------

// Of numbers that are not negative; unsigned division is the quicker one.
template <class I> WEFT_FN I quotient(I a, I b) { return (I)((Unsigned<I>)a / (Unsigned<I>)b); }
template <class I> WEFT_FN I remainder(I a, I b) { return (I)((Unsigned<I>)a % (Unsigned<I>)b); }
// Rounds to minus infinity, for divisors above 0.
template <class I> WEFT_FN I floor_div(I a, I b) { return a / b - (a % b < 0); }
template <class I> WEFT_FN I floor_mod(I a, I b) {
  const I r = a % b;
  return r < 0 ? r + b : r;
}

// --- floats -----------------------------------------------------------------------------------------------------------

// 10 bits of mantissa: to nearest, ties away from zero.
WEFT_FN f32 round_tf32(f32 a) {
#if __CUDA_ARCH__ >= 800
  u32 r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(a));
  return as_f32(r);
#else
  return a != a ? a : as_f32((as_u32(a) + 0x1000u) & ~0x1fffu);
#endif
}
// min and max keep NaN.
WEFT_FN f32 min(f32 a, f32 b) {
#if __CUDA_ARCH__ >= 800
  f32 r;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
#else
  return b < a || b != b ? b : a;
#endif
}
WEFT_FN f32 max(f32 a, f32 b) {
#if __CUDA_ARCH__ >= 800
  f32 r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
#else
  return a < b || b != b ? b : a;
#endif
}
WEFT_FN f64 min(f64 a, f64 b) { return b < a || b != b ? b : a; }
WEFT_FN f64 max(f64 a, f64 b) { return a < b || b != b ? b : a; }
WEFT_FN bool min(bool a, bool b) { return a && b; }
WEFT_FN bool max(bool a, bool b) { return a || b; }

#define WEFT_FLOATS(T, suffix)                                                                  \
  WEFT_FN T fma(T a, T b, T c) { return ::fma##suffix(a, b, c); }                               \
  WEFT_FN T abs(T a) { return ::fabs##suffix(a); }                                              \
  WEFT_FN T sign(T a) { return a > 0 ? (T)1 : a < 0 ? (T)-1 : a == 0 ? (T)0 : a; }              \
  WEFT_FN T floor(T a) { return ::floor##suffix(a); }                                           \
  WEFT_FN T ceil(T a) { return ::ceil##suffix(a); }                                             \
  WEFT_FN T round(T a) { return ::rint##suffix(a); }                                            \
  WEFT_FN T trunc(T a) { return ::trunc##suffix(a); }                                           \
  WEFT_FN T sqrt(T a) { return ::sqrt##suffix(a); }                                             \
  WEFT_FN T exp(T a) { return ::exp##suffix(a); }                                               \
  WEFT_FN T expm1(T a) { return ::expm1##suffix(a); }                                           \
  WEFT_FN T log(T a) { return ::log##suffix(a); }                                               \
  WEFT_FN T log1p(T a) { return ::log1p##suffix(a); }                                           \
  WEFT_FN T sin(T a) { return ::sin##suffix(a); }                                               \
  WEFT_FN T cos(T a) { return ::cos##suffix(a); }                                               \
  WEFT_FN T atan(T a) { return ::atan##suffix(a); }                                             \
  WEFT_FN T tanh(T a) { return ::tanh##suffix(a); }                                             \
  WEFT_FN T erf(T a) { return ::erf##suffix(a); }                                               \
  WEFT_FN T rem(T a, T b) { return ::fmod##suffix(a, b); }                                      \
  WEFT_FN T mod(T a, T b) {                                                                     \
    const T r = ::fmod##suffix(a, b);                                                           \
    return r == 0 ? ::copysign##suffix((T)0, b) : (r < 0) != (b < 0) ? r + b : r;               \
  }                                                                                             \
  WEFT_FN bool is_nan(T a) { return a != a; }                                                   \
  WEFT_FN bool is_inf(T a) { return ::fabs##suffix(a) == (T)__longlong_as_double(0x7ff0000000000000ll); }
WEFT_FLOATS(f32, f)
WEFT_FLOATS(f64, )
#undef WEFT_FLOATS
WEFT_FN f64 sigmoid(f64 a) {
  const f64 e = ::exp(-::fabs(a));
  return (a < 0 ? e : 1.0) / (1.0 + e);
}
// exp(-|a|) and what rounding it lost, and a quotient that is corrected by what 1 + exp(-|a|) lost: expf's own error would
// add to those of a sum and a division.
WEFT_FN f32 sigmoid(f32 a) {
  const f32 x = a != a ? 0.0f : max(-::fabsf(a), -105.0f), n = ::rintf(x * 1.44269504f);
  const f32 r = ::fmaf(n, 2.12194440e-4f, ::fmaf(n, -0.693359375f, x));  // x - n ln 2
  f32 p = ::fmaf(1.9845899e-04f, r, 1.3940915e-03f);                     // (exp(r) - 1 - r) / r^2
  p = ::fmaf(::fmaf(::fmaf(::fmaf(p, r, 8.33339e-03f), r, 4.166636e-02f), r, 1.6666666e-01f), r, 0.5f);
  const f32 t = ::fmaf(r * r, p, r), v = t + 1.0f;
  const i32 whole = (i32)n, half = whole >> 1;  // 2^n in two steps: n is as low as -151
  const f32 first = as_f32((u32)(half + 127) << 23), second = as_f32((u32)(whole - half + 127) << 23);
  const f32 hi = v * first * second, lo = (t - (v - 1.0f)) * first * second;
  const f32 s = hi + 1.0f, lost = hi - (s - 1.0f) + lo, q = (a < 0 ? hi : 1.0f) / s;
  const f32 y = ::fmaf(::fmaf(-q, lost, a < 0 ? lo : 0.0f), a < 0 ? 1.0f - q : q, q);
  return a != a ? a : y;
}
// Floats through doubles, so that the product y log x keeps the bits that the result needs.
WEFT_FN f32 pow(f32 a, f32 b) { return (f32)::pow((f64)a, (f64)b); }
WEFT_FN f64 pow(f64 a, f64 b) { return ::pow(a, b); }

// --- casts ------------------------------------------------------------------------------------------------------------

#ifdef __CUDA_ARCH__
// The nearest integer, ties to even, within the type's range; 0 of NaN.
template <class To> WEFT_FN To round_to(f32 v) {
  i32 r;
  if constexpr (is_signed<To>) asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(r) : "f"(v));
  else asm("cvt.rni.sat.u8.f32 %0, %1;" : "=r"(r) : "f"(v));
  return (To)r;
}
#endif
// a / b, with r = 1 / b rounded: a first quotient, and what it leaves divided again; rounded once but where the quotient is no
// normal number (P. Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990).
WEFT_FN f32 quotient(f32 a, f32 b, f32 r) {
  const f32 q = a * r;
  return ::fabsf(q) < 1e38f ? ::fmaf(::fmaf(-q, b, a), r, q) : q;
}
// Truncates and saturates; NaN gives 0.
template <class To> WEFT_FN To truncate(f32 v) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(To) == 1) {
    i32 r;
    if constexpr (is_signed<To>) asm("cvt.rzi.sat.s8.f32 %0, %1;" : "=r"(r) : "f"(v));
    else asm("cvt.rzi.sat.u8.f32 %0, %1;" : "=r"(r) : "f"(v));
    return (To)r;
  }
#endif
  if (v != v) return 0;
  if constexpr (sizeof(To) == 8) return is_signed<To> ? (To)__float2ll_rz(v) : (To)__float2ull_rz(v);
  else if constexpr (sizeof(To) == 4) return is_signed<To> ? (To)__float2int_rz(v) : (To)__float2uint_rz(v);
  else if constexpr (is_signed<To>) return (To)::max(::min(__float2int_rz(v), (1 << (8 * sizeof(To) - 1)) - 1), -(1 << (8 * sizeof(To) - 1)));
  else return (To)::min(__float2uint_rz(v), (1u << 8 * sizeof(To)) - 1);
}
template <class To> WEFT_FN To truncate(f64 v) {
  if (v != v) return 0;
  if constexpr (sizeof(To) == 8) return is_signed<To> ? (To)__double2ll_rz(v) : (To)__double2ull_rz(v);
  else if constexpr (sizeof(To) == 4) return is_signed<To> ? (To)__double2int_rz(v) : (To)__double2uint_rz(v);
  else if constexpr (is_signed<To>) return (To)::max(::min(__double2int_rz(v), (1 << (8 * sizeof(To) - 1)) - 1), -(1 << (8 * sizeof(To) - 1)));
  else return (To)::min(__double2uint_rz(v), (1u << 8 * sizeof(To)) - 1);
}

template <class T> constexpr int subbyte_bits = same<T, i4> || same<T, u4> ? 4 : same<T, i2> || same<T, u2> ? 2 : 0;
template <class T> constexpr bool is_float_value = same<T, f32> || same<T, f64>;

// The low bits of an integer, extended by the sign of T.
template <class T> WEFT_FN Value<T> low_bits(i32 v) {
  constexpr int drop = 32 - subbyte_bits<T>;
  if constexpr (same<T, i4> || same<T, i2>) return (i8)(v << drop >> drop);
  else return (u8)((u32)v << drop >> drop);
}

// A value of one type as one of To, rounded to it.
template <class To, bool kSaturate = false, class From>
WEFT_FN Value<To> cast(From v) {
  if constexpr (same<To, b1>) return v != (From)0;
  else if constexpr (subbyte_bits<To> != 0 && is_float_value<From>) return low_bits<To>((i32)truncate<i64>(v));
  else if constexpr (subbyte_bits<To> != 0) return low_bits<To>((i32)v);
  else if constexpr (same<Value<To>, f32> && !same<To, f32>) return value(narrow<To, kSaturate>(v));
  else if constexpr (is_float_value<From> && !is_float_value<To>) return truncate<To>(v);
  else return (To)v;
}

// The bits of a value of From, read as one of To.
template <class To, class From>
WEFT_FN Value<To> bitcast(Value<From> v) {
  static_assert(sizeof(To) == sizeof(From), "bitcast between types of different width");
  const From bits = narrow<From>(v);
  To r;
  ::memcpy(&r, &bits, sizeof r);
  if constexpr (subbyte_bits<To> != 0) return low_bits<To>((i32)r.bits);
  else return value(r);
}

}  // namespace weft
