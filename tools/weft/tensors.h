// Tensors for people: summaries, values, comparison.
#pragma once

#include "tools/weft/json.h"
#include "weft/executable.h"

namespace weft::cli {

struct Summary {
  double min = 0, max = 0, mean = 0, std = 0;
  int64_t finite = 0, nan = 0, inf = 0;
};
// Numbers only (bool counts as 0 and 1, complex as its absolute value).
Summary summarise(const api::Tensor& t);
// The first `limit` elements, nested like the dims: "[[1, 2], [3, 4], …]".
std::string values_text(const api::Tensor& t, int64_t limit);
Json values_json(const api::Tensor& t);  // flat
// Element i (row-major) as text.
std::string element_text(const api::Tensor& t, int64_t i);
std::vector<double> to_doubles(const api::Tensor& t);

// ONNX's rule for one element: |got - want| <= atol + rtol * |want|; NaN equals NaN, Inf itself. Integers, bools and
// strings must be equal. For f32 and f64, what is less than one rounding step of the largest |want| never counts: sums that
// cancel leave that much, in an order of addition that nobody promises.
struct Difference {
  bool ok = true;
  double max_abs = 0, max_rel = 0;
  int64_t wrong = 0, first = -1;  // elements out of tolerance, and the first of them
  std::string reason;             // "y[0,3]: got 1.5, expected 2 (1 of 10 elements differ)"
};
Difference compare(const std::string& name, const api::Tensor& got, const api::Tensor& want, double rtol, double atol);

}  // namespace weft::cli
