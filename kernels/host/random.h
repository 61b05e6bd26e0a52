// The random numbers of random ops: MT19937 with 53-bit uniforms and the polar method for normals, so that a seed gives
// the sequence that NumPy's RandomState gives (the recorded outputs of ONNX's dropout cases come from it). The same on
// every machine and in every run.
#pragma once

#include <optional>
#include <random>

#include "ir/base/tensor_view.h"

namespace weft {

class RandomStream {
 public:
  // Seeds are real numbers in ONNX; the integer part modulo 2^32 counts.
  explicit RandomStream(double seed);
  double uniform();  // [0, 1)
  double normal();   // mean 0, deviation 1

 private:
  std::mt19937 engine_;
  std::optional<double> spare_;
};

}  // namespace weft
