// What a tensor's values were in calibration runs, in bounded memory: a histogram that widens as larger values come, and a range
// that follows from it. The same samples in the same order give the same range.
#pragma once

#include <span>

#include "frontend/quantize/formats.h"

namespace weft::quantize {

// Equal bins over [-reach, reach]; reach is a power of two and doubles when a value lies beyond. NaN and infinities are counted apart.
class Histogram {
 public:
  static constexpr int kBins = 4096;

  void add(std::span<const float> values);
  int64_t count() const { return count_; }        // of finite values
  int64_t not_finite() const { return not_finite_; }
  float min() const { return min_; }
  float max() const { return max_; }
  double reach() const { return reach_; }         // 0: no value but zeros
  double width() const { return 2 * reach_ / kBins; }
  double center(int bin) const { return (bin + 0.5) * width() - reach_; }
  const std::vector<double>& bins() const { return bins_; }

 private:
  void widen(double to);
  std::vector<double> bins_ = std::vector<double>(kBins, 0.0);
  double reach_ = 0;
  int64_t count_ = 0, not_finite_ = 0;
  float min_ = 0, max_ = 0;
};

struct Range {
  double low = 0, high = 0;  // low <= 0 <= high
};

enum class Calibrator : uint8_t { minmax, percentile, entropy, mse };

struct CalibratorOptions {
  Calibrator kind = Calibrator::minmax;
  double percentile = 99.99;  // of the values that lie within
};
// "minmax", "percentile", "percentile:99.9", "entropy", "mse". Error kUsage for anything else.
Result<CalibratorOptions> parse_calibrator(const std::string& text);

// The range that a tensor is cut off at. `symmetric`: low = -high. codes: how many the type has.
//   percentile  the smallest one that holds so much of the values at each side
//   entropy     of ranges symmetric to zero, the one whose quantised histogram is nearest to the cut off one, by the Kullback-Leibler
//               divergence (Migacz, 8-bit inference with TensorRT, 2017)
//   mse         of ranges that are parts of the whole one, the one with the least mean squared error of rounding and cutting off
Range find_range(const Histogram& h, const CalibratorOptions& how, DType type, bool symmetric);
ActivationScale scale_of(const Range& r, DType type, bool symmetric);

}  // namespace weft::quantize
