// Histograms, calibrators and rounding of the quantiser, against plain computation.
#include <gtest/gtest.h>

#include <cmath>

#include "frontend/quantize/methods.h"
#include "frontend/quantize/observer.h"
#include "tests/support/float_models.h"

namespace weft::quantize {

namespace {

using quantize_test::random_floats;

// Many near zero, few far away.
std::vector<float> heavy_tailed(size_t n) {
  std::vector<float> v = random_floats(n, 7);
  for (size_t i = 0; i < n; i += 500) v[i] *= 12;
  return v;
}

double rounding_error(const std::vector<float>& values, const ActivationScale& s, float low, float high) {
  double sum = 0;
  for (float x : values) {
    const float code = std::clamp(std::nearbyint(x / s.scale) + static_cast<float>(s.zero), low, high);
    const double d = x - (code - static_cast<float>(s.zero)) * s.scale;
    sum += d * d;
  }
  return sum;
}

TEST(QuantizeHistogram, WidensWithoutLosingAnything) {
  Histogram h;
  const std::vector<float> a = {0, 0, 0}, b = {0.5f, -0.25f}, c = {-100, NAN, INFINITY, 3};
  h.add(a);
  EXPECT_EQ(h.count(), 3);
  h.add(b);
  h.add(c);
  EXPECT_EQ(h.count(), 7);
  EXPECT_EQ(h.not_finite(), 2);
  EXPECT_EQ(h.min(), -100);
  EXPECT_EQ(h.max(), 3);
  EXPECT_GE(h.reach(), 100);
  EXPECT_LT(h.reach(), 200.01);
  double sum = 0;
  for (double n : h.bins()) sum += n;
  EXPECT_EQ(sum, 7);
}

TEST(QuantizeHistogram, OrderOfBatchesDoesNotMatter) {
  const std::vector<float> small = random_floats(1000, 1, 0.1f), large = random_floats(1000, 2, 10);
  Histogram a, b;
  a.add(small), a.add(large);
  b.add(large), b.add(small);
  // Bins of small values were narrower once; merged, they lie where the wide ones do.
  EXPECT_EQ(a.reach(), b.reach());
  for (int k = 0; k < Histogram::kBins; ++k) EXPECT_NEAR(a.bins()[k], b.bins()[k], 1) << k;
}

TEST(QuantizeCalibrators, RangesHoldWhatTheyPromise) {
  const std::vector<float> values = heavy_tailed(20000);
  Histogram h;
  h.add(values);
  const Range whole = find_range(h, *parse_calibrator("minmax"), DType::i8, true);
  EXPECT_EQ(whole.high, *std::max_element(values.begin(), values.end()));
  EXPECT_EQ(whole.low, *std::min_element(values.begin(), values.end()));
  const Range most = find_range(h, *parse_calibrator("percentile:99"), DType::i8, true);
  const auto beyond = std::count_if(values.begin(), values.end(), [&](float v) { return v > most.high; });
  EXPECT_NEAR(static_cast<double>(beyond), 200, 30);
  for (const char* how : {"mse", "entropy"})
    for (DType t : {DType::i8, DType::u8}) {
      const Range r = find_range(h, *parse_calibrator(how), t, t == DType::i8);
      EXPECT_LE(r.high, whole.high) << how;
      EXPECT_GE(r.low, whole.low) << how;
      EXPECT_GT(r.high, 1) << how;
    }
  // Cutting off pays, and the mse calibrator finds about the best place.
  const CodeRange codes = code_range(DType::i8, false);
  auto error = [&](const Range& r) { return rounding_error(values, scale_of(r, DType::i8, true), codes.low, codes.high); };
  const double found = error(find_range(h, *parse_calibrator("mse"), DType::i8, true));
  EXPECT_LE(found, error(whole));
  for (int i = 20; i <= 100; i += 5) {
    const double reach = std::max(whole.high, -whole.low) * i / 100;
    EXPECT_LE(found, 1.02 * error({-reach, reach})) << i;
  }
}

TEST(QuantizeCalibrators, ScalesReachTheRangeAndHoldZero) {
  const ActivationScale s = scale_of({-1, 3}, DType::u8, false);
  EXPECT_FLOAT_EQ(s.scale, 4.0f / 255);
  EXPECT_EQ(s.zero, 64);
  const ActivationScale t = scale_of({-1, 3}, DType::i8, true);
  EXPECT_FLOAT_EQ(t.scale, 3.0f / 127);
  EXPECT_EQ(t.zero, 0);
  EXPECT_EQ(scale_of({0, 0}, DType::u8, false).scale, 1);  // a tensor of zeros
  EXPECT_FLOAT_EQ(scale_of({-448, 10}, DType::f8e4m3fn, true).scale, 1);
}

TEST(QuantizeWeights, BlocksHaveScalesOfTheirOwn) {
  Matrix w{2, 10, random_floats(20, 3)};
  for (int k = 8; k < 10; ++k) w.row(1)[k] *= 100;
  const Codes c = round_to_nearest(w, DType::i4, 4);
  EXPECT_EQ(c.blocks(), 3);
  EXPECT_EQ(c.scales.size(), 6u);
  const Matrix back = decoded(c);
  for (int64_t r = 0; r < 2; ++r)
    for (int64_t k = 0; k < 10; ++k) {
      EXPECT_LE(std::fabs(back.row(r)[k] - w.row(r)[k]), 0.5001f * c.scale(r, k)) << r << "," << k;
      EXPECT_LE(std::fabs(c.codes[r * 10 + k]), 7);
    }
}

// Biases are rounded to multiples of the weights' scale times the input's.
TEST(QuantizeWeights, RowsOfZerosHaveAFineScale) {
  Matrix w{3, 4, {0, 0, 0, 0, 1, 2, 3, 4, 0.1f, 0, 0, 0}};
  const Codes c = round_to_nearest(w, DType::i8, 4);
  EXPECT_FLOAT_EQ(c.scales[0], 0.1f / 127);
  EXPECT_LT(round_to_nearest({1, 2, {0, 0}}, DType::i8, 2).scales[0], 0.01f);
}

// tr(D H D^T) of the rounding differences D.
double weighted_error(const Matrix& w, const Codes& c, const Moments& m) {
  const Matrix back = decoded(c);
  double sum = 0;
  for (int64_t r = 0; r < w.rows; ++r)
    for (int64_t i = 0; i < w.columns; ++i)
      for (int64_t k = 0; k < w.columns; ++k) {
        const double h = m.second[std::min(i, k) * w.columns + std::max(i, k)];
        sum += (w.row(r)[i] - back.row(r)[i]) * h * (w.row(r)[k] - back.row(r)[k]);
      }
  return sum;
}

TEST(QuantizeWeights, SecondMomentsBeatRoundingToNearest) {
  // Inputs that are mixtures of a few sources.
  constexpr int64_t n = 48, sources = 6;
  const std::vector<float> mix = random_floats(n * sources, 11);
  Moments m;
  m.second.assign(n * n, 0);
  for (int sample = 0; sample < 500; ++sample) {
    const std::vector<float> s = random_floats(sources, 100 + sample), noise = random_floats(n, 10000 + sample, 0.2f);
    std::vector<double> x(n);
    for (int64_t k = 0; k < n; ++k) {
      x[k] = noise[k];
      for (int64_t j = 0; j < sources; ++j) x[k] += mix[k * sources + j] * s[j];
    }
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = i; k < n; ++k) m.second[i * n + k] += x[i] * x[k];
    ++m.count;
  }
  const Matrix w{16, n, random_floats(16 * n, 12)};
  for (int64_t block : {n, int64_t{16}}) {
    const double nearest = weighted_error(w, round_to_nearest(w, DType::i4, block), m);
    const double better = weighted_error(w, round_by_second_moments(w, DType::i4, block, m), m);
    EXPECT_LT(better, 0.4 * nearest) << block;
  }
}

}  // namespace

}  // namespace weft::quantize
