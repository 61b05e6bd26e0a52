// What the vectors are like that a layer's weight matrix is multiplied with: rows of a matrix product's left factor, patches of a
// convolution's input, each in the order of the weight's columns. From calibration runs, in bounded memory.
#pragma once

#include <functional>

#include "frontend/api/reporter.h"
#include "frontend/quantize/layers.h"
#include "weft/quantize.h"

namespace weft::quantize {

// Sums over `count` vectors. Those of a convolution with groups have columns for each of them.
struct Moments {
  int64_t count = 0;
  std::vector<double> sum, sum_abs, sum_squares, largest;  // groups * columns
  std::vector<double> second;                              // columns * columns, the upper half: sums of products; empty where not asked for

  double mean(int64_t k) const { return count ? sum[k] / static_cast<double>(count) : 0; }
  double mean_abs(int64_t k) const { return count ? sum_abs[k] / static_cast<double>(count) : 0; }
  double mean_square(int64_t k) const { return count ? sum_squares[k] / static_cast<double>(count) : 0; }
};

// Calls f(group, vector) for at most `most` vectors of the tensor, spread evenly.
void for_each_vector(const EditableModel& model, const Layer& l, const std::vector<int64_t>& dims, const std::vector<float>& values, int64_t most,
                     const std::function<void(int64_t, const float*)>& f);

// By layer; empty for transposed convolutions. Second moments: of layers without groups and with up to 8192 columns.
// Runs the samples once, or several times where second moments would not fit into memory at once.
Result<std::vector<Moments>> collect_moments(const EditableModel& model, const std::vector<Layer>& layers, bool second, const api::CalibrationData& data,
                                             const std::vector<int64_t>& samples, const api::CompileOptions& options, Reporter& reporter);

}  // namespace weft::quantize
