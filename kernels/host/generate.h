// Running sums and products, ranges and random tensors: host functions over strided views, shared by the reference
// evaluator and plans.
#pragma once

#include "ir/base/result.h"
#include "ir/base/tensor_view.h"

namespace weft {

struct CumulativeOptions {
  bool exclusive = false, reverse = false, product = false;
};
// Running sums or products along an axis. Floats accumulate in f64, integers wrap. y has x's dims and dtype; no complex
// numbers.
void host_cumulative(const TensorView& x, int axis, const CumulativeOptions& options, const TensorView& y);

// Elements of start, start + delta, ... before limit. Error when delta is 0 or a bound is NaN.
Result<int64_t> range_count(double start, double limit, double delta);
Result<int64_t> range_count(int64_t start, int64_t limit, int64_t delta);

void host_random_normal(double mean, double scale, double seed, const TensorView& y);
void host_random_uniform(double low, double high, double seed, const TensorView& y);
// 1 with the probability that p holds.
void host_bernoulli(const TensorView& p, double seed, const TensorView& y);
// log_p [batch, classes], not normalised; y [batch, samples] of class numbers.
Status host_multinomial(const TensorView& log_p, double seed, const TensorView& y);
// y = x / (1 - ratio) where the mask is set, else 0; without `training` y = x. Error unless 0 <= ratio < 1.
Status host_dropout(const TensorView& x, double ratio, bool training, double seed, const TensorView& y, const TensorView* mask);

}  // namespace weft
