// Conversions between memory and registers: `value(x)` reads an element, `narrow<T>(v)` makes one. Rounding is to nearest,
// ties to even, in one step; a wider source goes through a float rounded to odd, which keeps what the second rounding must
// know. Overflow: Inf in f16 and bf16; with `saturate` the largest finite in fp8, else NaN or, in f8e5m2, Inf; always the
// largest in f4e2m1. f8e8m0 rounds up. The codes of NaN are those of the reference evaluator. Tests compile this for the
// host, which has no cvt.
#pragma once

#include "kernels/core/types.cuh"

namespace weft {

// --- formats: exponent bits, mantissa bits, bias ----------------------------------------------------------------------

enum NarrowKind { kInf, kFinite, kFnuz, kNoNan };  // has Inf and NaN; NaN alone; NaN in the place of -0; neither

template <int E, int M, int B, NarrowKind K>
struct FormatOf {
  static constexpr int exp = E, mant = M, bias = B;
  static constexpr NarrowKind kind = K;
};
template <class T> struct Format;
template <> struct Format<f16> : FormatOf<5, 10, 15, kInf> {};
template <> struct Format<f8e4m3fn> : FormatOf<4, 3, 7, kFinite> {};
template <> struct Format<f8e4m3fnuz> : FormatOf<4, 3, 8, kFnuz> {};
template <> struct Format<f8e5m2> : FormatOf<5, 2, 15, kInf> {};
template <> struct Format<f8e5m2fnuz> : FormatOf<5, 2, 16, kFnuz> {};
template <> struct Format<f4e2m1> : FormatOf<2, 1, 1, kNoNan> {};

// The float that a narrow one's bits stand for. Multiplying by 2^(127 - bias) corrects the exponent, subnormals included.
template <class T>
WEFT_FN f32 decode(u32 x) {
  typedef Format<T> F;
  constexpr u32 sign_bit = 1u << (F::exp + F::mant), top = ((1u << F::exp) - 1) << F::mant;
  const u32 mag = x & (sign_bit - 1), sign = (x & sign_bit) << (31 - F::exp - F::mant);
  u32 bits = as_u32(as_f32(mag << (23 - F::mant)) * as_f32((254u - F::bias) << 23));
  if (F::kind == kInf && mag >= top) bits = 0x7f800000u | mag << (23 - F::mant);
  if (F::kind == kFinite && mag == sign_bit - 1) bits = 0x7fc00000u;
  if (F::kind == kFnuz && x == sign_bit) bits = 0x7fc00000u;
  return as_f32(bits | sign);
}

template <class T>
WEFT_FN u32 encode(f32 v, bool saturate) {
  typedef Format<T> F;
  constexpr int shift = 23 - F::mant;
  constexpr u32 sign_bit = 1u << (F::exp + F::mant), top = ((1u << F::exp) - 1) << F::mant;
  constexpr u32 largest = F::kind == kInf ? top - 1 : F::kind == kFinite ? sign_bit - 2 : sign_bit - 1;
  constexpr u32 nan = F::kind == kInf ? top | 1u << (F::mant - 1) : F::kind == kFnuz ? sign_bit : sign_bit - 1;
  const u32 x = as_u32(v), mag = x & 0x7fffffffu;
  // Normal results: another bias, and rounding of the bits. Subnormal ones: a float addition rounds at the right place.
  const u32 normal = (mag - ((127u - F::bias) << 23) + ((1u << (shift - 1)) - 1) + (mag >> shift & 1)) >> shift;
  const f32 magic = as_f32((127u + 24 - F::bias - F::mant) << 23);
  u32 r = mag < (128u - F::bias) << 23 ? as_u32(as_f32(mag) + magic) - as_u32(magic) : normal;
  u32 sign = (x & 0x80000000u) >> (31 - F::exp - F::mant);
  if (r > largest) r = F::kind == kNoNan || saturate ? largest : F::kind == kInf ? top : nan;
  if (v != v) {
    r = F::kind == kNoNan ? 0 : nan;
    if (F::kind == kNoNan) sign ^= sign_bit;  // a zero of the other sign
  }
  if (F::kind == kFnuz && (r == 0 || r == nan)) sign = 0;
  return r | sign;
}

// A wider number as a float whose last bit says whether anything was lost.
WEFT_FN f32 to_odd(f64 v) {
  const f32 f = __double2float_rz(v);
  return (f64)f != v && v == v ? as_f32(as_u32(f) | 1) : f;
}
WEFT_FN f32 to_odd(i64 v) {
  const f32 f = __ll2float_rz(v);
  return (i64)f != v ? as_f32(as_u32(f) | 1) : f;
}
WEFT_FN f32 to_odd(u64 v) {
  const f32 f = __ull2float_rz(v);
  return (u64)f != v ? as_f32(as_u32(f) | 1) : f;
}
WEFT_FN f32 to_odd(i32 v) { return to_odd((i64)v); }
WEFT_FN f32 to_odd(u32 v) { return to_odd((u64)v); }
WEFT_FN f32 to_odd(f32 v) { return v; }
WEFT_FN f32 to_odd(i16 v) { return (f32)v; }
WEFT_FN f32 to_odd(u16 v) { return (f32)v; }
WEFT_FN f32 to_odd(i8 v) { return (f32)v; }
WEFT_FN f32 to_odd(u8 v) { return (f32)v; }
WEFT_FN f32 to_odd(bool v) { return v ? 1.0f : 0.0f; }

// --- element to value -------------------------------------------------------------------------------------------------

WEFT_FN f32 value(f16 x) {
#ifdef __CUDA_ARCH__
  f32 r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits));
  return r;
#else
  return decode<f16>(x.bits);
#endif
}
WEFT_FN f32 value(bf16 x) { return as_f32((u32)x.bits << 16); }
WEFT_FN f32 value(f8e4m3fn x) { return decode<f8e4m3fn>(x.bits); }
WEFT_FN f32 value(f8e4m3fnuz x) { return decode<f8e4m3fnuz>(x.bits); }
WEFT_FN f32 value(f8e5m2 x) { return decode<f8e5m2>(x.bits); }
WEFT_FN f32 value(f8e5m2fnuz x) { return decode<f8e5m2fnuz>(x.bits); }
WEFT_FN f32 value(f4e2m1 x) { return decode<f4e2m1>(x.bits & 15u); }
WEFT_FN f32 value(f8e8m0 x) { return as_f32(x.bits == 0 ? 0x400000u : x.bits == 255 ? 0x7fc00000u : (u32)x.bits << 23); }
WEFT_FN bool value(b1 x) { return x.bits != 0; }
WEFT_FN i8 value(i4 x) { return x.bits; }
WEFT_FN i8 value(i2 x) { return x.bits; }
WEFT_FN u8 value(u4 x) { return x.bits; }
WEFT_FN u8 value(u2 x) { return x.bits; }
template <class T> WEFT_FN T value(T x) { return x; }

// --- value to element -------------------------------------------------------------------------------------------------

// The hardware makes one NaN of all; ours keep the top of theirs.
WEFT_FN u16 half_bits(f32 v) {
#ifdef __CUDA_ARCH__
  u16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(v));
#else
  const u16 r = (u16)encode<f16>(v, false);
#endif
  const u32 x = as_u32(v);
  return v == v ? r : (u16)((x >> 16 & 0x8000u) | 0x7e00u | (x >> 13 & 0x3ffu));
}
WEFT_FN u16 bf16_bits(f32 v) {
  const u32 x = as_u32(v);
  return (u16)(v == v ? (x + 0x7fffu + (x >> 16 & 1)) >> 16 : x >> 16 | 0x40u);
}
WEFT_FN u8 e8m0_bits(f32 v, bool saturate) {
  const u32 mag = as_u32(v) & 0x7fffffffu;
  if (v != v) return 255;
  if (mag > 0x7f000000u) return saturate ? 254 : 255;
  if (mag <= 0x400000u) return saturate || mag > 0x200000u ? 0 : 255;
  return (u8)((mag + 0x7fffffu) >> 23);
}

template <class T, bool kSaturate = false, class V>
WEFT_FN T narrow(V v) {
  if constexpr (same<T, f16>) return T{half_bits(to_odd(v))};
  else if constexpr (same<T, bf16>) return T{bf16_bits(to_odd(v))};
  else if constexpr (same<T, f8e8m0>) return T{e8m0_bits((f32)v, kSaturate)};  // ONNX says: of the value as a float
  else if constexpr (same<Value<T>, f32> && !same<T, f32>) return T{(u8)encode<T>(to_odd(v), kSaturate)};
  else if constexpr (same<T, b1>) return T{(u8)(v ? 1 : 0)};
  else if constexpr (same<Value<T>, T>) return v;
  else return T{v};
}

}  // namespace weft
