// The dtype conversions against a second, slow description of each format: every code round-trips, and every pair of
// neighbouring values is probed at its midpoint and one f64 step to either side of it.
#include "ir/base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace weft::dtype_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Small {
  DType type;
  int exponent, mantissa, bias;
  uint16_t max_code;
  int overflow_code;        // of a value too large, without saturation (or where it does not apply)
  int saturated_code;       // the same with saturation
};
const Small kSmall[] = {
    {DType::f16, 5, 10, 15, 0x7bff, 0x7c00, 0x7c00},
    {DType::bf16, 8, 7, 127, 0x7f7f, 0x7f80, 0x7f80},
    {DType::f8e4m3fn, 4, 3, 7, 0x7e, 0x7f, 0x7e},
    {DType::f8e4m3fnuz, 4, 3, 8, 0x7f, 0x80, 0x7f},
    {DType::f8e5m2, 5, 2, 15, 0x7b, 0x7c, 0x7b},
    {DType::f8e5m2fnuz, 5, 2, 16, 0x7f, 0x80, 0x7f},
    {DType::f4e2m1, 2, 1, 1, 0x7, 0x7, 0x7},
};

double value_of(const Small& s, int code) {
  int e = code >> s.mantissa, m = code & ((1 << s.mantissa) - 1);
  return e == 0 ? std::ldexp(m, 1 - s.bias - s.mantissa) : std::ldexp((1 << s.mantissa) + m, e - s.bias - s.mantissa);
}
int store(DType t, double x, bool saturate = true) {
  uint16_t v = 0;
  store_row_f64(t, &x, &v, 1, saturate);
  return v;
}
double load(DType t, int code) {
  uint16_t v = static_cast<uint16_t>(code);
  double x;
  load_row_f64(t, &v, &x, 1);
  return x;
}
std::vector<int> codes(DType t, std::vector<double> xs, bool saturate = true) {
  std::vector<int> out;
  for (double x : xs) out.push_back(store(t, x, saturate));
  return out;
}

TEST(DType, NamesAndClasses) {
  int n = 0;
#define WEFT_X(e, text, bits, cls)                       \
  EXPECT_EQ(dtype_from_name(text), DType::e);            \
  EXPECT_STREQ(dtype_name(DType::e), text);              \
  EXPECT_EQ(bit_width(DType::e), bits);                  \
  EXPECT_EQ(dtype_class(DType::e), cls);                 \
  ++n;
  WEFT_DTYPES(WEFT_X)
#undef WEFT_X
  EXPECT_EQ(n, 26);
  EXPECT_FALSE(dtype_from_name("f33"));
  EXPECT_FALSE(dtype_from_name(""));
}

TEST(DType, IntegerRanges) {
  EXPECT_EQ(int_min(DType::i64), INT64_MIN);
  EXPECT_EQ(int_max(DType::i64), INT64_MAX);
  EXPECT_EQ(int_max(DType::u64), INT64_MAX);
  EXPECT_EQ(int_max(DType::u32), UINT32_MAX);
  EXPECT_EQ(int_min(DType::i8), -128);
  EXPECT_EQ(int_max(DType::i4), 7);
  EXPECT_EQ(int_min(DType::i2), -2);
  EXPECT_EQ(int_max(DType::u2), 3);
  EXPECT_EQ(int_min(DType::u8), 0);
  EXPECT_EQ(int_max(DType::b1), 1);
}

TEST(DType, EveryCodeRoundTrips) {
  for (const Small& s : kSmall) {
    SCOPED_TRACE(dtype_name(s.type));
    int bits = bit_width(s.type);
    for (int code = 0; code < 1 << bits; ++code) {
      int sign = code & (1 << (bits - 1)), magnitude = code - sign;
      double x = load(s.type, code);
      if (magnitude <= s.max_code && !(s.overflow_code == 0x80 && code == 0x80)) {
        ASSERT_EQ(x, sign ? -value_of(s, magnitude) : value_of(s, magnitude)) << code;
        ASSERT_EQ(std::signbit(x), sign != 0) << code;
        ASSERT_EQ(store(s.type, x), code);
        ASSERT_EQ(store(s.type, x, false), code);
      } else if (std::isinf(x)) {
        ASSERT_EQ(magnitude, s.overflow_code);
        ASSERT_EQ(store(s.type, x, false), code);
      } else {
        ASSERT_TRUE(std::isnan(x)) << code;
        ASSERT_TRUE(std::isnan(load(s.type, store(s.type, x)))) << code;
        ASSERT_TRUE(std::isnan(load(s.type, store(s.type, x, false)))) << code;
      }
    }
  }
}

TEST(DType, RoundsToNearestEvenBetweenAllNeighbours) {
  for (const Small& s : kSmall) {
    SCOPED_TRACE(dtype_name(s.type));
    for (int code = 0; code < s.max_code; ++code) {
      double a = value_of(s, code), b = value_of(s, code + 1), mid = (a + b) / 2;
      int even = code % 2 == 0 ? code : code + 1;
      ASSERT_EQ(store(s.type, mid), even);
      ASSERT_EQ(store(s.type, std::nextafter(mid, 0)), code);
      ASSERT_EQ(store(s.type, std::nextafter(mid, kInf)), code + 1);
    }
  }
}

TEST(DType, Overflow) {
  for (const Small& s : kSmall) {
    SCOPED_TRACE(dtype_name(s.type));
    int bits = bit_width(s.type), sign = 1 << (bits - 1);
    double max = value_of(s, s.max_code), next = value_of(s, s.max_code + 1), mid = (max + next) / 2;
    int at_mid = s.max_code % 2 == 0 ? s.max_code : s.overflow_code;
    int at_mid_saturated = s.max_code % 2 == 0 ? s.max_code : s.saturated_code;
    EXPECT_EQ(store(s.type, std::nextafter(mid, 0), false), s.max_code);
    EXPECT_EQ(store(s.type, mid, false), at_mid);
    EXPECT_EQ(store(s.type, mid, true), at_mid_saturated);
    for (double x : {std::nextafter(mid, kInf), next, 1e300, kInf}) {
      EXPECT_EQ(store(s.type, x, false), s.overflow_code) << x;
      EXPECT_EQ(store(s.type, x, true), s.saturated_code) << x;
      EXPECT_EQ(store(s.type, -x, false), s.overflow_code | sign) << x;
      EXPECT_EQ(store(s.type, -x, true), s.saturated_code | sign) << x;
    }
  }
}

TEST(DType, TinyValuesAndZeros) {
  for (const Small& s : kSmall) {
    SCOPED_TRACE(dtype_name(s.type));
    bool fnuz = s.overflow_code == 0x80;
    int minus_zero = fnuz ? 0 : 1 << (bit_width(s.type) - 1);
    for (double x : {0.0, 5e-324, 1e-310, value_of(s, 1) / 2}) {
      EXPECT_EQ(store(s.type, x), 0) << x;
      EXPECT_EQ(store(s.type, -x), minus_zero) << x;
    }
  }
}

// The recorded outputs of ONNX 1.22's node cases test_cast_FLOAT_to_FLOAT8* and test_cast_no_saturate_*.
TEST(DType, OnnxCastCases) {
  const std::vector<double> x = {0.47892547f, 0.48033667f, 0.49968487f, 0.81910545f, 0.47031248f, 0.7229038f, 1000000, 1e-7f,
                                 kNaN, kInf, kInf, -kInf, -1e-7f, 1e-7f, -1000000};
  using V = std::vector<int>;
  EXPECT_EQ(codes(DType::f8e4m3fn, x),
            (V{0x2f, 0x2f, 0x30, 0x35, 0x2f, 0x34, 0x7e, 0, 0x7f, 0x7e, 0x7e, 0xfe, 0x80, 0, 0xfe}));
  EXPECT_EQ(codes(DType::f8e4m3fnuz, x),
            (V{0x37, 0x37, 0x38, 0x3d, 0x37, 0x3c, 0x7f, 0, 0x80, 0x7f, 0x7f, 0xff, 0, 0, 0xff}));
  EXPECT_EQ(codes(DType::f8e5m2, x),
            (V{0x38, 0x38, 0x38, 0x3b, 0x38, 0x3a, 0x7b, 0, 0x7e, 0x7b, 0x7b, 0xfb, 0x80, 0, 0xfb}));
  EXPECT_EQ(codes(DType::f8e4m3fn, x, false),
            (V{0x2f, 0x2f, 0x30, 0x35, 0x2f, 0x34, 0x7f, 0, 0x7f, 0x7f, 0x7f, 0xff, 0x80, 0, 0xff}));
  EXPECT_EQ(codes(DType::f8e5m2, x, false),
            (V{0x38, 0x38, 0x38, 0x3b, 0x38, 0x3a, 0x7c, 0, 0x7e, 0x7c, 0x7c, 0xfc, 0x80, 0, 0xfc}));
  EXPECT_EQ(codes(DType::f4e2m1, {0.48, 0.25, 1.05, -3.5, -8, 9, 1e6, 1e-7, kNaN, kInf, kInf, -kInf, -4, 0.01, -0.0}),
            (V{1, 0, 2, 0xe, 0xf, 7, 7, 0, 8, 7, 7, 0xf, 0xe, 0, 8}));
  EXPECT_EQ(codes(DType::f8e8m0, {0, 0.124, 0.25, 0.5, 1.1, 2, 4, 8}), (V{0, 0x7c, 0x7d, 0x7e, 0x80, 0x80, 0x81, 0x82}));
}

TEST(DType, NanKeepsItsSignWhereTheTypeHasOne) {
  EXPECT_EQ(store(DType::f8e4m3fn, -kNaN), 0xff);
  EXPECT_EQ(store(DType::f8e5m2, -kNaN), 0xfe);
  EXPECT_EQ(store(DType::f8e4m3fnuz, -kNaN), 0x80);
  EXPECT_EQ(store(DType::f16, -kNaN), 0xfe00);
}

TEST(DType, E8m0) {
  EXPECT_EQ(load(DType::f8e8m0, 0), 0x1p-127);
  EXPECT_TRUE(std::isnan(load(DType::f8e8m0, 0xff)));
  for (int code = 0; code < 0xff; ++code)
    for (E8m0Round r : {E8m0Round::up, E8m0Round::down, E8m0Round::nearest})
      for (bool saturate : {false, true}) ASSERT_EQ(float_to_e8m0(load(DType::f8e8m0, code), r, saturate), code);
  EXPECT_EQ(float_to_e8m0(1.0 + 0x1p-23, E8m0Round::up), 128);
  EXPECT_EQ(float_to_e8m0(1.0 + 0x1p-30, E8m0Round::up), 127);  // 1 as f32
  EXPECT_EQ(float_to_e8m0(1.999, E8m0Round::down), 127);
  EXPECT_EQ(float_to_e8m0(1.499, E8m0Round::nearest), 127);
  EXPECT_EQ(float_to_e8m0(1.5, E8m0Round::nearest), 128);
  for (E8m0Round r : {E8m0Round::up, E8m0Round::down, E8m0Round::nearest}) {
    EXPECT_EQ(float_to_e8m0(kNaN, r, true), 0xff);
    EXPECT_EQ(float_to_e8m0(kInf, r, true), 0xfe);
    EXPECT_EQ(float_to_e8m0(kInf, r, false), 0xff);
    EXPECT_EQ(float_to_e8m0(0, r, true), 0);
    EXPECT_EQ(float_to_e8m0(0, r, false), 0xff);
    EXPECT_EQ(float_to_e8m0(0x1p-140, r, true), 0);
    EXPECT_EQ(float_to_e8m0(0x1p-140, r, false), 0xff);
  }
  EXPECT_EQ(float_to_e8m0(0x1.8p127, E8m0Round::up, true), 0xfe);
  EXPECT_EQ(float_to_e8m0(0x1.8p127, E8m0Round::up, false), 0xff);
  EXPECT_EQ(float_to_e8m0(0x1.8p-128, E8m0Round::nearest, false), 0);
}

TEST(DType, HalfAndBf16Scalars) {
  EXPECT_EQ(half_to_float(0x3c00), 1.0f);
  EXPECT_EQ(half_to_float(0x0001), 0x1p-24f);
  EXPECT_EQ(half_to_float(0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(float_to_half(65504), 0x7bff);
  EXPECT_EQ(float_to_half(65519.99), 0x7bff);
  EXPECT_EQ(float_to_half(65520), 0x7c00);
  // Through f32 this would round twice: to the tie 1 + 2^-11, then down to even.
  EXPECT_EQ(float_to_half(1.0 + 0x1p-11 + 0x1p-40), 0x3c01);
  EXPECT_EQ(float_to_bf16(1.0 + 0x1p-8 + 0x1p-40), 0x3f81);
  EXPECT_EQ(bf16_to_float(0x4049), 3.140625f);
  EXPECT_EQ(round_to(DType::f16, 0.1), static_cast<double>(half_to_float(0x2e66)));
  EXPECT_EQ(round_to(DType::f32, 0.1), static_cast<double>(0.1f));
  EXPECT_EQ(round_to(DType::f64, 0.1), 0.1);
  EXPECT_EQ(round_to(DType::f8e4m3fn, 1e9), 448);
  EXPECT_TRUE(std::isnan(round_to(DType::f8e4m3fn, 1e9, false)));
}

TEST(DType, UnalignedRowsAndComplex) {
  std::vector<char> raw(1 + 3 * 16);
  const double in[6] = {1.5, -2.25, 1e300, 0.1, -0.0, 7};
  double out[6];
  for (DType t : {DType::f64, DType::f32}) {
    store_row_f64(t, in, raw.data() + 1, 6);
    load_row_f64(t, raw.data() + 1, out, 6);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(out[i], round_to(t, in[i]));
  }
  store_row_f64(DType::c128, in, raw.data() + 1, 3);
  load_row_f64(DType::c128, raw.data() + 1, out, 3);
  EXPECT_EQ(std::memcmp(in, out, sizeof in), 0);
  store_row_f64(DType::c64, in, raw.data() + 1, 3);
  load_row_f64(DType::c64, raw.data() + 1, out, 3);
  EXPECT_EQ(out[1], -2.25);
  EXPECT_EQ(out[2], kInf);
  EXPECT_EQ(out[3], static_cast<double>(0.1f));
}

TEST(DType, IntegerRowsWrap) {
  const int64_t x[] = {0, -1, 7, 8, -9, 127, 128, 200, INT64_MIN, INT64_MAX, 1LL << 40};
  constexpr int kN = sizeof x / sizeof x[0];
  for (DType t : {DType::i64, DType::i32, DType::i16, DType::i8, DType::i4, DType::i2}) {
    SCOPED_TRACE(dtype_name(t));
    int64_t raw[kN], y[kN];
    store_row_i64(t, x, raw, kN);
    load_row_i64(t, raw, y, kN);
    for (int i = 0; i < kN; ++i) {
      int drop = 64 - bit_width(t);
      EXPECT_EQ(y[i], static_cast<int64_t>(static_cast<uint64_t>(x[i]) << drop) >> drop) << x[i];
      EXPECT_GE(y[i], int_min(t));
      EXPECT_LE(y[i], int_max(t));
    }
  }
  const uint64_t u[] = {0, 1, 3, 4, 15, 16, 255, 256, 65536, UINT32_MAX, UINT64_MAX};
  for (DType t : {DType::u64, DType::u32, DType::u16, DType::u8, DType::u4, DType::u2}) {
    SCOPED_TRACE(dtype_name(t));
    uint64_t raw[kN], y[kN];
    store_row_u64(t, u, raw, kN);
    load_row_u64(t, raw, y, kN);
    for (int i = 0; i < kN; ++i) EXPECT_EQ(y[i], u[i] & (UINT64_MAX >> (64 - bit_width(t))));
  }
  uint8_t b[kN];
  int64_t y[kN];
  store_row_i64(DType::b1, x, b, kN);
  for (int i = 0; i < kN; ++i) EXPECT_EQ(b[i], x[i] != 0);
  b[2] = 0xff;
  load_row_i64(DType::b1, b, y, kN);
  EXPECT_EQ(y[2], 1);
}

TEST(DType, SubBytePacking) {
  const uint8_t packed[] = {0x21, 0xf8, 0x07};
  int8_t s[5];
  uint8_t u[10], back[3];
  unpack_subbyte(DType::i4, packed, s, 5);
  EXPECT_EQ((std::vector<int>(s, s + 5)), (std::vector<int>{1, 2, -8, -1, 7}));
  pack_subbyte(DType::i4, s, back, 5);
  EXPECT_EQ(std::memcmp(packed, back, 3), 0);
  unpack_subbyte(DType::u4, packed, u, 5);
  EXPECT_EQ((std::vector<int>(u, u + 5)), (std::vector<int>{1, 2, 8, 15, 7}));
  unpack_subbyte(DType::u2, packed, u, 10);
  EXPECT_EQ((std::vector<int>(u, u + 10)), (std::vector<int>{1, 0, 2, 0, 0, 2, 3, 3, 3, 1}));
  pack_subbyte(DType::u2, u, back, 10);
  EXPECT_EQ(std::memcmp(packed, back, 3), 0);
  unpack_subbyte(DType::i2, packed, s, 4);
  EXPECT_EQ((std::vector<int>(s, s + 4)), (std::vector<int>{1, 0, -2, 0}));
  EXPECT_EQ(packed_bytes(DType::i4, 5), 3);
  EXPECT_EQ(packed_bytes(DType::u2, 9), 3);
}

}  // namespace
}  // namespace weft::dtype_test
