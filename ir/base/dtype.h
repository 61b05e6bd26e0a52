// Element types: every tensor type of ONNX. Storage of sub-byte types: one element a byte inside the reference
// evaluator's Tensor; packed low bits first at ONNX's boundary and, with rows padded to whole bytes, in plan buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace weft {

// X(enumerator, text, bits, class): class f = IEEE-like float, i = signed, u = unsigned, b = bool, c = complex, s = string
#define WEFT_DTYPES(X)          \
  X(f64, "f64", 64, 'f')        \
  X(f32, "f32", 32, 'f')        \
  X(f16, "f16", 16, 'f')        \
  X(bf16, "bf16", 16, 'f')      \
  X(f8e4m3fn, "f8e4m3fn", 8, 'f')     \
  X(f8e4m3fnuz, "f8e4m3fnuz", 8, 'f') \
  X(f8e5m2, "f8e5m2", 8, 'f')         \
  X(f8e5m2fnuz, "f8e5m2fnuz", 8, 'f') \
  X(f8e8m0, "f8e8m0", 8, 'f')   \
  X(f4e2m1, "f4e2m1", 4, 'f')   \
  X(i64, "i64", 64, 'i')        \
  X(i32, "i32", 32, 'i')        \
  X(i16, "i16", 16, 'i')        \
  X(i8, "i8", 8, 'i')           \
  X(i4, "i4", 4, 'i')           \
  X(i2, "i2", 2, 'i')           \
  X(u64, "u64", 64, 'u')        \
  X(u32, "u32", 32, 'u')        \
  X(u16, "u16", 16, 'u')        \
  X(u8, "u8", 8, 'u')           \
  X(u4, "u4", 4, 'u')           \
  X(u2, "u2", 2, 'u')           \
  X(b1, "bool", 8, 'b')         \
  X(c64, "c64", 64, 'c')        \
  X(c128, "c128", 128, 'c')     \
  X(str, "str", 0, 's')

enum class DType : uint8_t {
#define WEFT_X(e, text, bits, cls) e,
  WEFT_DTYPES(WEFT_X)
#undef WEFT_X
};

const char* dtype_name(DType t);
std::optional<DType> dtype_from_name(std::string_view name);
int bit_width(DType t);    // logical bits; bool is 8, str is 0
char dtype_class(DType t); // 'f' 'i' 'u' 'b' 'c' 's'

inline bool is_float(DType t) { return dtype_class(t) == 'f'; }
inline bool is_signed_int(DType t) { return dtype_class(t) == 'i'; }
inline bool is_unsigned_int(DType t) { return dtype_class(t) == 'u'; }
inline bool is_int(DType t) { return is_signed_int(t) || is_unsigned_int(t); }
inline bool is_complex(DType t) { return dtype_class(t) == 'c'; }
inline bool is_subbyte(DType t) { int b = bit_width(t); return b > 0 && b < 8; }
// Bytes of one element stored alone: sub-byte types take one byte. Strings have no size (0).
inline int byte_size(DType t) { return (bit_width(t) + 7) / 8; }
// Bytes of n elements packed, rounded up to a byte.
inline int64_t packed_bytes(DType t, int64_t n) { return (n * bit_width(t) + 7) / 8; }

// Exact range of an integer type (or bool: 0..1) as int64; u64's maximum saturates to INT64_MAX.
int64_t int_min(DType t);
int64_t int_max(DType t);

// --- the four carriers -------------------------------------------------------------------------------------
// Every numeric dtype loads into and stores from one carrier: f64 for floats, i64 for signed ints and bool, u64 for
// unsigned ints, c128 (two f64) for complex, which goes through the f64 rows: n elements are 2n doubles. Rows are n
// elements, one element per byte_size(t) bytes, at any alignment; a type of another carrier is a CHECK.
// Stores round to nearest even; float → narrow float saturates as the type's ONNX default (fp8: Inf and overflow go to
// the largest finite value when `saturate`, else to NaN, or Inf in f8e5m2; f16, bf16: Inf; f4e2m1: always its largest);
// f8e8m0 rounds up, Cast's default. Integer stores wrap (two's complement); a store to bool is `!= 0`.
void load_row_f64(DType t, const void* src, double* dst, int64_t n);
void store_row_f64(DType t, const double* src, void* dst, int64_t n, bool saturate = true);
void load_row_i64(DType t, const void* src, int64_t* dst, int64_t n);
void store_row_i64(DType t, const int64_t* src, void* dst, int64_t n);
void load_row_u64(DType t, const void* src, uint64_t* dst, int64_t n);
void store_row_u64(DType t, const uint64_t* src, void* dst, int64_t n);

// Rounds x to the nearest value of float type t (ties to even).
double round_to(DType t, double x, bool saturate = true);
// tf32: an f32 of 10 bits of mantissa. Rounds to f32, then to the nearest of these, ties away from zero, as `cvt.rna.tf32.f32`.
double round_to_tf32(double x);

// Unpacks n sub-byte elements (low bits first) to one per byte, and back. Signed types are sign-extended.
void unpack_subbyte(DType t, const void* packed, void* bytes, int64_t n);
void pack_subbyte(DType t, const void* bytes, void* packed, int64_t n);

// Scalar bit conversions used by load/store and by constant printing.
float half_to_float(uint16_t h);
uint16_t float_to_half(double x);
float bf16_to_float(uint16_t h);
uint16_t float_to_bf16(double x);

// The code of |x| in f8e8m0 (2^(code-127), 0xff is NaN) by Cast's `round_mode`; ties of `nearest` go up. With
// `saturate` zero and too small give 0, Inf and too large 0xfe; else all of these are NaN. NaN stays NaN.
enum class E8m0Round : uint8_t { up, down, nearest };
uint8_t float_to_e8m0(double x, E8m0Round round = E8m0Round::up, bool saturate = true);

}  // namespace weft
