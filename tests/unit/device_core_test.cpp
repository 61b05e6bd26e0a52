// The device's conversions, casts and integer primitives, compiled for the host, against the evaluator's: all codes of every
// narrow type, and numbers around every place at which one rounds, overflows or vanishes.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "ir/base/dtype.h"
#include "ir/core/scalar.h"
#include "ir/eval/evaluator.h"

// What CUDA has built in.
#define __device__
#define __forceinline__ inline
namespace device_core {
namespace {
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
// Towards zero: the nearest float, or its neighbour when that is beyond.
template <class T>
float toward_zero(T v) {
  float f = static_cast<float>(v);
  const long double exact = static_cast<long double>(v), rounded = static_cast<long double>(f);
  bool beyond = std::isinf(f) || (v < 0 ? rounded < exact : rounded > exact);
  return beyond && std::isfinite(static_cast<double>(v)) ? std::nextafter(f, 0.0f) : f;
}
inline float __double2float_rz(double v) { return toward_zero(v); }
inline float __ll2float_rz(long long v) { return toward_zero(v); }
inline float __ull2float_rz(unsigned long long v) { return toward_zero(v); }
// cvt.rzi: saturates.
template <class To>
To truncated(double v) {
  v = std::trunc(v);
  if (v <= static_cast<double>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (v >= static_cast<double>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  return static_cast<To>(v);
}
inline long long __float2ll_rz(float v) { return truncated<long long>(v); }
inline unsigned long long __float2ull_rz(float v) { return truncated<unsigned long long>(v); }
inline int __float2int_rz(float v) { return truncated<int>(v); }
inline unsigned __float2uint_rz(float v) { return truncated<unsigned>(v); }
inline long long __double2ll_rz(double v) { return truncated<long long>(v); }
inline unsigned long long __double2ull_rz(double v) { return truncated<unsigned long long>(v); }
inline int __double2int_rz(double v) { return truncated<int>(v); }
inline unsigned __double2uint_rz(double v) { return truncated<unsigned>(v); }
}  // namespace
}  // namespace device_core
inline int max(int a, int b) { return std::max(a, b); }
inline int min(int a, int b) { return std::min(a, b); }
inline unsigned min(unsigned a, unsigned b) { return std::min(a, b); }
#define weft device_core
#include "kernels/core/scalar.cuh"
#undef weft

namespace weft::device_core_test {

namespace {

namespace dev = ::device_core;

template <class T>
struct Narrow {
  DType type;
  using Dev = T;
};

template <class F>
void for_each_narrow(F&& f) {
  f(Narrow<dev::f16>{DType::f16});
  f(Narrow<dev::bf16>{DType::bf16});
  f(Narrow<dev::f8e4m3fn>{DType::f8e4m3fn});
  f(Narrow<dev::f8e4m3fnuz>{DType::f8e4m3fnuz});
  f(Narrow<dev::f8e5m2>{DType::f8e5m2});
  f(Narrow<dev::f8e5m2fnuz>{DType::f8e5m2fnuz});
  f(Narrow<dev::f8e8m0>{DType::f8e8m0});
  f(Narrow<dev::f4e2m1>{DType::f4e2m1});
}
int codes_of(DType t) { return bit_width(t) == 16 ? 65536 : 1 << bit_width(t); }

bool equal(double a, double b) { return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b); }

// Values of the type, their midpoints, and what lies beside both: where roundings differ.
std::vector<double> touchy(DType t) {
  std::vector<double> v = {0.0, -0.0, INFINITY, -INFINITY, NAN, -NAN, 1e300, -1e300, 1e-300, 4e38, 1e-46};
  std::vector<double> values;
  for (int c = 0; c < codes_of(t); ++c) {
    uint16_t code = static_cast<uint16_t>(c);
    double x;
    load_row_f64(t, &code, &x, 1);
    if (std::isfinite(x)) values.push_back(x);
  }
  std::sort(values.begin(), values.end());
  for (size_t k = 0; k < values.size(); ++k)
    for (double x : {values[k], k ? (values[k] + values[k - 1]) / 2 : values[k] * 1.25})
      v.insert(v.end(), {x, std::nextafter(x, -INFINITY), std::nextafter(x, INFINITY), x * (1 + 0x1p-23), x * (1 - 0x1p-24), x * (1 + 0x1p-40)});
  return v;
}

}  // namespace

TEST(DeviceCore, NarrowTypesToFloat) {
  for_each_narrow([](auto n) {
    for (int c = 0; c < codes_of(n.type); ++c) {
      typename decltype(n)::Dev x{};
      x.bits = static_cast<decltype(x.bits)>(c);
      double want;
      load_row_f64(n.type, &x, &want, 1);
      EXPECT_TRUE(equal(dev::value(x), want)) << dtype_name(n.type) << " " << c << ": " << dev::value(x) << ", wanted " << want;
    }
  });
}

TEST(DeviceCore, DoublesAndFloatsToNarrowTypes) {
  for_each_narrow([](auto n) {
    using T = typename decltype(n)::Dev;
    for (double x : touchy(n.type))
      for (bool saturate : {false, true}) {
        T want{};
        store_row_f64(n.type, &x, &want, 1, saturate);
        T got = saturate ? dev::narrow<T, true>(x) : dev::narrow<T>(x);
        ASSERT_EQ(got.bits, want.bits) << dtype_name(n.type) << " of the double " << x << " saturate " << saturate;
        float f = static_cast<float>(x);
        double wide = f;
        store_row_f64(n.type, &wide, &want, 1, saturate);
        got = saturate ? dev::narrow<T, true>(f) : dev::narrow<T>(f);
        ASSERT_EQ(got.bits, want.bits) << dtype_name(n.type) << " of the float " << f << " saturate " << saturate;
      }
  });
}

namespace {

// One cast by the evaluator.
template <class From, class To>
void check_cast(DType from, DType to, const std::vector<From>& values, bool saturate, To (*device)(From)) {
  ScalarProgram p;
  p.outputs = {p.cast(p.input(0, from), to, saturate)};
  Tensor in = std::move(Tensor::make(from, {static_cast<int64_t>(values.size())})).value();
  std::memcpy(in.data.get(), values.data(), values.size() * sizeof(From));
  auto out = evaluate_scalar(p, {&in}, in.dims, {to});
  ASSERT_TRUE(out.ok());
  const char* bytes = reinterpret_cast<const char*>((*out)[0].data.get());
  for (size_t k = 0; k < values.size(); ++k) {
    To got = device(values[k]), want;
    std::memcpy(&want, bytes + k * sizeof(To), sizeof(To));
    ASSERT_EQ(0, std::memcmp(&got, &want, sizeof(To))) << dtype_name(from) << " " << +values[k] << " to " << dtype_name(to);
  }
}

template <class T>
std::vector<T> integers() {
  std::vector<T> v;
  std::mt19937_64 rng(1);
  for (int shift = 0; shift < 64; ++shift)
    for (int k = -2; k <= 2; ++k)
      for (uint64_t x : {(uint64_t{1} << shift) + static_cast<uint64_t>(k), (uint64_t{3} << shift) + static_cast<uint64_t>(k), rng() >> shift}) {
        v.push_back(static_cast<T>(x));
        v.push_back(static_cast<T>(0 - x));
      }
  return v;
}
template <class T>
std::vector<T> reals() {
  std::vector<T> v = {0, T(-0.0), T(NAN), T(INFINITY), -T(INFINITY), T(1e30), T(-1e30), T(0.5), T(-0.5), T(1.5)};
  for (int e = -3; e <= 65; ++e)
    for (double x : {std::ldexp(1.0, e), std::ldexp(1.0, e) - 0.5, std::ldexp(1.0, e) + 0.75, std::ldexp(1.7, e)}) {
      v.push_back(static_cast<T>(x));
      v.push_back(static_cast<T>(-x));
    }
  return v;
}

template <class From>
void check_casts_from(DType from, const std::vector<From>& v) {
#define TO(type, memory) check_cast<From, memory>(from, DType::type, v, false, [](From x) { return dev::narrow<memory>(dev::cast<memory>(x)); })
  TO(i8, dev::i8);
  TO(i16, dev::i16);
  TO(i32, dev::i32);
  TO(i64, dev::i64);
  TO(u8, dev::u8);
  TO(u16, dev::u16);
  TO(u32, dev::u32);
  TO(u64, dev::u64);
  TO(i4, dev::i4);
  TO(i2, dev::i2);
  TO(u4, dev::u4);
  TO(u2, dev::u2);
  TO(b1, dev::b1);
  TO(f16, dev::f16);
  TO(bf16, dev::bf16);
  TO(f8e4m3fn, dev::f8e4m3fn);
  TO(f8e5m2fnuz, dev::f8e5m2fnuz);
  if constexpr (!std::is_floating_point_v<From>) {
    TO(f32, dev::f32);
    TO(f64, dev::f64);
  }
#undef TO
}

}  // namespace

TEST(DeviceCore, Casts) {
  check_casts_from(DType::i8, integers<int8_t>());
  check_casts_from(DType::u8, integers<uint8_t>());
  check_casts_from(DType::i16, integers<int16_t>());
  check_casts_from(DType::u32, integers<uint32_t>());
  check_casts_from(DType::i32, integers<int32_t>());
  check_casts_from(DType::i64, integers<long long>());
  check_casts_from(DType::u64, integers<unsigned long long>());
  check_casts_from(DType::f32, reals<float>());
  check_casts_from(DType::f64, reals<double>());
}

namespace {

template <class T>
void check_int_ops(DType t, const std::vector<T>& v) {
  std::vector<T> a, b;
  for (size_t i = 0; i < v.size(); i += 3)
    for (T y : {T(0), T(1), T(-1), T(2), T(-3), T(7), T(31), T(64), std::numeric_limits<T>::min(), std::numeric_limits<T>::max()}) {
      a.push_back(v[i]);
      b.push_back(y);
      a.push_back(y);
      b.push_back(v[i]);
    }
  auto tensor = [&](const std::vector<T>& x) {
    Tensor r = std::move(Tensor::make(t, {static_cast<int64_t>(x.size())})).value();
    std::memcpy(r.data.get(), x.data(), x.size() * sizeof(T));
    return r;
  };
  Tensor ta = tensor(a), tb = tensor(b);
  auto check = [&](Prim prim, T (*device)(T, T)) {
    ScalarProgram p;
    int x = p.input(0, t), y = p.input(1, t);
    p.outputs = {prim_arity(prim) == 1 ? p.add(prim, x) : p.add(prim, x, y)};
    auto out = evaluate_scalar(p, {&ta, &tb}, ta.dims, {t});
    ASSERT_TRUE(out.ok());
    const T* want = reinterpret_cast<const T*>((*out)[0].data.get());
    for (size_t k = 0; k < a.size(); ++k)
      ASSERT_EQ(device(a[k], b[k]), want[k]) << prim_name(prim) << " " << dtype_name(t) << " " << +a[k] << " " << +b[k];
  };
#define OP(name) check(Prim::name, [](T x, T y) { return dev::name(x, y); })
  OP(add);
  OP(sub);
  OP(mul);
  OP(div);
  OP(rem);
  OP(mod);
  OP(min);
  OP(max);
  OP(pow);
  OP(shl);
  OP(shr);
#undef OP
  check(Prim::neg, [](T x, T) { return dev::neg(x); });
  check(Prim::abs, [](T x, T) { return dev::abs(x); });
  check(Prim::sign, [](T x, T) { return dev::sign(x); });
}

}  // namespace

TEST(DeviceCore, IntegerPrimitives) {
  check_int_ops(DType::i8, integers<int8_t>());
  check_int_ops(DType::u8, integers<uint8_t>());
  check_int_ops(DType::i16, integers<int16_t>());
  check_int_ops(DType::i32, integers<int32_t>());
  check_int_ops(DType::u32, integers<uint32_t>());
  check_int_ops(DType::i64, integers<long long>());
  check_int_ops(DType::u64, integers<unsigned long long>());
}

TEST(DeviceCore, FloatPrimitives) {
  for (double x : std::initializer_list<double>{0.0, -0.0, 1.0, -1.0, 5.5, -5.5, 1e20, 88.0, -88.0, -745.0, INFINITY, -INFINITY, NAN})
    for (double y : std::initializer_list<double>{1.0, -1.0, 2.0, -3.0, 0.25, INFINITY, NAN}) {
      EXPECT_TRUE(equal(dev::min(x, y), std::isnan(x) || std::isnan(y) ? NAN : std::min(x, y))) << x << " " << y;
      EXPECT_TRUE(equal(dev::max(x, y), std::isnan(x) || std::isnan(y) ? NAN : std::max(x, y))) << x << " " << y;
      EXPECT_TRUE(equal(dev::rem(x, y), std::fmod(x, y))) << x << " " << y;
      double m = std::fmod(x, y);
      EXPECT_TRUE(equal(dev::mod(x, y), m == 0 ? std::copysign(0.0, y) : (m < 0) != (y < 0) ? m + y : m)) << x << " " << y;
      EXPECT_TRUE(std::isnan(x) ? std::isnan(dev::sigmoid(x)) : std::fabs(dev::sigmoid(x) - 1 / (1 + std::exp(-x))) <= 1e-15) << x;
      EXPECT_TRUE(dev::is_nan(x) == std::isnan(x) && dev::is_inf(x) == std::isinf(x) && dev::is_inf(static_cast<float>(x)) == std::isinf(x)) << x;
      EXPECT_TRUE(equal(dev::sign(x), std::isnan(x) ? NAN : static_cast<double>((x > 0) - (x < 0)))) << x;
    }
}

TEST(DeviceCore, RoundsToTf32) {
  for (uint32_t bits = 0; bits < 0xfff00000u; bits += 0x7ff) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    ASSERT_TRUE(equal(dev::round_tf32(x), round_to_tf32(x))) << x;
  }
}

TEST(DeviceCore, SigmoidOfFloats) {
  EXPECT_EQ(dev::sigmoid(0.0f), 0.5f);
  EXPECT_EQ(dev::sigmoid(INFINITY), 1.0f);
  EXPECT_LE(dev::sigmoid(-INFINITY), 0x1p-149f);
  EXPECT_TRUE(std::isnan(dev::sigmoid(NAN)));
  double worst = 0;
  float at = 0;
  for (float x = -104; x < 20; x += x > -20 ? 0x1.3p-14f : 0x1.3p-9f) {
    const double e = std::exp(-std::fabs(static_cast<double>(x))), want = (x < 0 ? e : 1) / (1 + e);
    const double place = std::max(0x1p-149, std::ldexp(1.0, std::ilogb(want) - 23));
    const double off = std::fabs(dev::sigmoid(x) - want) / place;
    if (off > worst) worst = off, at = x;
  }
  EXPECT_LE(worst, 1.5) << "units in the last place at " << at;
}

}  // namespace weft::device_core_test
