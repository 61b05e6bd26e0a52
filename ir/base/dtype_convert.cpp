// Exact conversions between f64 and the narrow floats, all from one description per format (exponent bits, mantissa
// bits, bias, codes of Inf and NaN). Rounding is to nearest, ties to even, in one step from f64: going through f32
// would round twice. Rules: ONNX Cast, its two float8 tables, its e8m0 table (whose special values win over the
// reference code), and the OCP MX formats for f4e2m1.
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "ir/base/check.h"
#include "ir/base/dtype.h"

namespace weft {

namespace {
constexpr int kNone = -1;
constexpr uint64_t kF64Sign = uint64_t{1} << 63, kF64Inf = uint64_t{0x7ff} << 52;

struct Format {
  int mantissa, bias, sign_bit;
  int max_code;       // largest finite magnitude
  int inf_code;       // kNone: the type has no infinity
  int nan_code;       // kNone: no NaN; stands with the sign added, unless negative_zero is false
  bool negative_zero; // false: the code of -0 is the only NaN (fnuz)
  bool saturates;     // ONNX's `saturate` applies; otherwise overflow gives Inf, or the maximum where there is none
};
constexpr Format kF16{10, 15, 15, 0x7bff, 0x7c00, 0x7e00, true, false};
constexpr Format kBf16{7, 127, 15, 0x7f7f, 0x7f80, 0x7fc0, true, false};
constexpr Format kE4m3fn{3, 7, 7, 0x7e, kNone, 0x7f, true, true};
constexpr Format kE4m3fnuz{3, 8, 7, 0x7f, kNone, 0x80, false, true};
constexpr Format kE5m2{2, 15, 7, 0x7b, 0x7c, 0x7e, true, true};
constexpr Format kE5m2fnuz{2, 16, 7, 0x7f, kNone, 0x80, false, true};
constexpr Format kE2m1{1, 1, 3, 0x7, kNone, kNone, true, false};

constexpr double power_of_two(int e) { return std::bit_cast<double>(static_cast<uint64_t>(e + 1023) << 52); }

template <Format F>
inline unsigned encode_nan(bool negative, uint64_t bits) {
  if constexpr (F.nan_code == kNone) return negative ? 0 : 1u << F.sign_bit;  // as ml_dtypes: a zero
  if constexpr (!F.negative_zero) return F.nan_code;
  unsigned code = F.nan_code;
  // IEEE-like types keep the top of the payload, as the hardware's conversions do.
  if constexpr (!F.saturates) code |= static_cast<unsigned>(bits >> (52 - F.mantissa)) & ((1u << F.mantissa) - 1);
  return code | static_cast<unsigned>(negative) << F.sign_bit;
}

template <Format F>
inline unsigned encode(double x, bool saturate) {
  uint64_t bits = std::bit_cast<uint64_t>(x);
  const bool negative = bits >> 63;
  bits &= ~kF64Sign;
  if (bits > kF64Inf) return encode_nan<F>(negative, bits);
  constexpr double kMinNormal = power_of_two(1 - F.bias);
  constexpr int kShift = 52 - F.mantissa;
  unsigned code;
  if (bits < std::bit_cast<uint64_t>(kMinNormal)) {
    // The addition rounds to a multiple of the smallest subnormal, because that is the last place of kMagic.
    constexpr double kMagic = power_of_two(1 - F.bias - F.mantissa + 52);
    code = static_cast<unsigned>(std::bit_cast<uint64_t>(std::bit_cast<double>(bits) + kMagic) - std::bit_cast<uint64_t>(kMagic));
  } else {
    uint64_t rounded = (bits + ((uint64_t{1} << (kShift - 1)) - 1) + ((bits >> kShift) & 1)) >> kShift;
    uint64_t big = rounded - (static_cast<uint64_t>(1023 - F.bias) << F.mantissa);
    code = big > static_cast<uint64_t>(F.max_code) ? F.max_code + 1 : static_cast<unsigned>(big);
  }
  if (code > static_cast<unsigned>(F.max_code)) {
    if (F.saturates ? saturate : F.inf_code == kNone) code = F.max_code;
    else if constexpr (F.inf_code != kNone) code = F.inf_code;
    else return encode_nan<F>(negative, 0);
  }
  if (!F.negative_zero && code == 0) return 0;
  return code | static_cast<unsigned>(negative) << F.sign_bit;
}

template <Format F>
constexpr double decode(unsigned code) {
  const bool negative = code >> F.sign_bit & 1;
  const int magnitude = static_cast<int>(code & ((1u << F.sign_bit) - 1));
  const uint64_t sign = negative ? kF64Sign : 0;
  if (F.nan_code != kNone && (F.negative_zero ? magnitude > (F.inf_code == kNone ? F.max_code : F.inf_code)
                                              : static_cast<int>(code) == F.nan_code))
    return std::bit_cast<double>(sign | kF64Inf | uint64_t{1} << 51 | static_cast<uint64_t>(magnitude) << (52 - F.mantissa));
  if (F.inf_code != kNone && magnitude == F.inf_code) return std::bit_cast<double>(sign | kF64Inf);
  double v;
  if (magnitude >> F.mantissa == 0) {
    v = magnitude * power_of_two(1 - F.bias - F.mantissa);
  } else {
    v = std::bit_cast<double>((static_cast<uint64_t>(magnitude) << (52 - F.mantissa)) + (static_cast<uint64_t>(1023 - F.bias) << 52));
  }
  return negative ? -v : v;
}

template <Format F>
constexpr std::array<double, 256> make_table() {
  std::array<double, 256> t{};
  for (unsigned i = 0; i < 256; ++i) t[i] = decode<F>(i & ((2u << F.sign_bit) - 1));
  return t;
}
template <Format F>
constexpr std::array<double, 256> kTable = make_table<F>();

// Never computes with an f32 subnormal, so that a process that flushes those still reads f16's right.
inline float half_value(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, bits = static_cast<uint32_t>(h & 0x7fff) << 13;
  const uint32_t normal = bits + (112u << 23);
  const uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(h & 0x3ff) * 0x1p-24f);
  const uint32_t special = 0x7f800000u | bits | ((bits & 0x7fffff) ? 0x400000u : 0);
  const uint32_t exponent = h & 0x7c00;
  return std::bit_cast<float>(sign | (exponent == 0 ? subnormal : exponent == 0x7c00 ? special : normal));
}
inline float bf16_value(uint16_t h) { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }

template <class S, class Fn>
void load_with(const void* src, double* dst, int64_t n, Fn fn) {
  const char* p = static_cast<const char*>(src);
  for (int64_t i = 0; i < n; ++i) {
    S v;
    std::memcpy(&v, p + i * static_cast<int64_t>(sizeof v), sizeof v);
    dst[i] = fn(v);
  }
}
template <class S, class Fn>
void store_with(const double* src, void* dst, int64_t n, Fn fn) {
  char* p = static_cast<char*>(dst);
  for (int64_t i = 0; i < n; ++i) {
    S v = static_cast<S>(fn(src[i]));
    std::memcpy(p + i * static_cast<int64_t>(sizeof v), &v, sizeof v);
  }
}
template <Format F>
void load_table(const void* src, double* dst, int64_t n) {
  load_with<uint8_t>(src, dst, n, [](uint8_t v) { return kTable<F>[v]; });
}
template <Format F>
void store_8bit(const double* src, void* dst, int64_t n, bool saturate) {
  store_with<uint8_t>(src, dst, n, [saturate](double v) { return encode<F>(v, saturate); });
}

double e8m0_value(uint8_t code) {
  return code == 0xff ? std::numeric_limits<double>::quiet_NaN() : power_of_two(static_cast<int>(code) - 127);
}
}  // namespace

uint8_t float_to_e8m0(double x, E8m0Round round, bool saturate) {
  const float f = static_cast<float>(x);  // ONNX defines the rounding on the f32 value
  if (std::isnan(f)) return 0xff;
  const double magnitude = std::fabs(static_cast<double>(f));
  if (std::isinf(magnitude)) return saturate ? 0xfe : 0xff;
  if (magnitude == 0) return saturate ? 0 : 0xff;
  const uint64_t bits = std::bit_cast<uint64_t>(magnitude);  // normal in f64, also where f is subnormal
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  int code = static_cast<int>(bits >> 52) - 1023 + 127;
  if (round == E8m0Round::up && fraction != 0) ++code;
  if (round == E8m0Round::nearest && fraction >= uint64_t{1} << 51) ++code;
  if (code < 0) return saturate ? 0 : 0xff;
  if (code > 0xfe) return saturate ? 0xfe : 0xff;
  return static_cast<uint8_t>(code);
}

float half_to_float(uint16_t h) { return half_value(h); }
uint16_t float_to_half(double x) { return static_cast<uint16_t>(encode<kF16>(x, false)); }
float bf16_to_float(uint16_t h) { return bf16_value(h); }
uint16_t float_to_bf16(double x) { return static_cast<uint16_t>(encode<kBf16>(x, false)); }

void load_row_f64(DType t, const void* src, double* dst, int64_t n) {
  switch (t) {
    case DType::c128: n *= 2; [[fallthrough]];
    case DType::f64: std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(double)); return;
    case DType::c64: n *= 2; [[fallthrough]];
    case DType::f32: return load_with<float>(src, dst, n, [](float v) { return static_cast<double>(v); });
    case DType::f16: return load_with<uint16_t>(src, dst, n, [](uint16_t v) { return static_cast<double>(half_value(v)); });
    case DType::bf16: return load_with<uint16_t>(src, dst, n, [](uint16_t v) { return static_cast<double>(bf16_value(v)); });
    case DType::f8e4m3fn: return load_table<kE4m3fn>(src, dst, n);
    case DType::f8e4m3fnuz: return load_table<kE4m3fnuz>(src, dst, n);
    case DType::f8e5m2: return load_table<kE5m2>(src, dst, n);
    case DType::f8e5m2fnuz: return load_table<kE5m2fnuz>(src, dst, n);
    case DType::f4e2m1: return load_table<kE2m1>(src, dst, n);
    case DType::f8e8m0: return load_with<uint8_t>(src, dst, n, e8m0_value);
    default: UNREACHABLE();
  }
}

void store_row_f64(DType t, const double* src, void* dst, int64_t n, bool saturate) {
  switch (t) {
    case DType::c128: n *= 2; [[fallthrough]];
    case DType::f64: std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(double)); return;
    case DType::c64: n *= 2; [[fallthrough]];
    case DType::f32: return store_with<float>(src, dst, n, [](double v) { return static_cast<float>(v); });
    case DType::f16: return store_with<uint16_t>(src, dst, n, [](double v) { return encode<kF16>(v, false); });
    case DType::bf16: return store_with<uint16_t>(src, dst, n, [](double v) { return encode<kBf16>(v, false); });
    case DType::f8e4m3fn: return store_8bit<kE4m3fn>(src, dst, n, saturate);
    case DType::f8e4m3fnuz: return store_8bit<kE4m3fnuz>(src, dst, n, saturate);
    case DType::f8e5m2: return store_8bit<kE5m2>(src, dst, n, saturate);
    case DType::f8e5m2fnuz: return store_8bit<kE5m2fnuz>(src, dst, n, saturate);
    case DType::f4e2m1: return store_8bit<kE2m1>(src, dst, n, saturate);
    case DType::f8e8m0:
      return store_with<uint8_t>(src, dst, n, [saturate](double v) { return float_to_e8m0(v, E8m0Round::up, saturate); });
    default: UNREACHABLE();
  }
}

double round_to(DType t, double x, bool saturate) {
  CHECK(is_float(t));
  alignas(8) unsigned char element[8];
  store_row_f64(t, &x, element, 1, saturate);
  load_row_f64(t, element, &x, 1);
  return x;
}

double round_to_tf32(double x) {
  const float f = static_cast<float>(x);
  if (f != f) return x;
  uint32_t bits;
  std::memcpy(&bits, &f, sizeof bits);
  bits = (bits + 0x1000) & ~uint32_t{0x1fff};
  float r;
  std::memcpy(&r, &bits, sizeof r);
  return r;
}

}  // namespace weft
