// Resizing (ONNX Resize), separable, one dim at a time: which dims a resize changes and by how much (exact for symbolic
// dims, too: inference and code generation ask here), and the resize itself, over strided views.
#pragma once

#include <string>

#include "ir/base/dim.h"
#include "ir/base/tensor_view.h"

namespace weft {

struct ResizeOptions {
  enum class Mode : uint8_t { nearest, linear, cubic };
  enum class Coordinates : uint8_t {
    half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners, asymmetric, tf_crop_and_resize, tf_half_pixel_for_nn
  };
  enum class Nearest : uint8_t { round_prefer_floor, round_prefer_ceil, floor, ceil };
  enum class Policy : uint8_t { stretch, not_larger, not_smaller };
  Mode mode = Mode::nearest;
  Coordinates coordinates = Coordinates::half_pixel;
  Nearest nearest = Nearest::round_prefer_floor;
  Policy policy = Policy::stretch;
  double cubic_coeff_a = -0.75, extrapolation_value = 0;
  bool exclude_outside = false, antialias = false;
  std::vector<int64_t> axes;  // in [0, rank), each once; empty: all
  bool crops() const { return coordinates == Coordinates::tf_crop_and_resize; }
};
// What a resize was given; lists are for `axes`. Exactly one of scales and sizes; a roi when the options crop.
struct ResizeRequest {
  std::vector<double> roi, scales;
  std::vector<Dim> sizes;
};
// One dim of a resize: its size becomes `out`.
struct ResizeAxis {
  int axis = 0;
  Dim in, out;
  double scale = 0;  // 0: out / in, known at run time only
  double roi_begin = 0, roi_end = 1;
};
// The dims that a resize changes (or reads through a roi), in ascending order. Error kUnsupported where symbolic dims have
// no such answer.
Result<std::vector<ResizeAxis>> resize_axes(const ResizeOptions& o, const Shape& dims, const ResizeRequest& q);

// How many elements along a dim make one result (nearest: 1), and where the first lies from floor(its position).
struct ResizeTaps {
  int64_t count = 1, first = 0;
};
ResizeTaps resize_taps(const ResizeOptions& o, double scale);

// y has the dims that follow from the axes, which must be constant. `nearest` moves elements of any type, else numbers.
// Floats are computed in double and rounded once; integers are rounded to even and saturate.
Status host_resize(const TensorView& x, const ResizeOptions& o, std::vector<ResizeAxis> axes, const TensorView& y);

}  // namespace weft
