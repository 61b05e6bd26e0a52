// Resampling: results interpolated between elements of the input. Names and defaults are ONNX's.
//
//   resize(x, roi?, scales?, sizes?)         grid_sample(x[N, C, D...], grid[N, E..., rank])
//   affine_grid(theta, size)                 roi_align(x, rois[R, 4], batch_indices[R])
//   max_roi_pool(x, rois[R, 5])
#pragma once

#include "ir/core/attrs.h"
#include "ir/core/module.h"
#include "kernels/host/resize.h"

namespace weft {

// Exactly one of scales and sizes is given (an empty tensor counts as absent); they, and roi, are for `axes` where given.
struct ResizeAttrs : AttrsOf<ResizeAttrs> {
  std::string mode = "nearest";  // linear, cubic
  // half_pixel_symmetric, pytorch_half_pixel, align_corners, asymmetric, tf_crop_and_resize; and of old opsets
  // tf_half_pixel_for_nn
  std::string coordinate_transformation_mode = "half_pixel";
  std::string nearest_mode = "round_prefer_floor";  // round_prefer_ceil, floor, ceil
  double cubic_coeff_a = -0.75;
  bool exclude_outside = false;
  double extrapolation_value = 0;
  bool antialias = false;
  std::vector<int64_t> axes;
  std::string keep_aspect_ratio_policy = "stretch";  // not_larger, not_smaller
  void fields(FieldVisitor& v) {
    v.field("mode", mode);
    v.field("coordinate_transformation_mode", coordinate_transformation_mode);
    v.field("nearest_mode", nearest_mode);
    v.field("cubic_coeff_a", cubic_coeff_a);
    v.field("exclude_outside", exclude_outside);
    v.field("extrapolation_value", extrapolation_value);
    v.field("antialias", antialias);
    v.field("axes", axes);
    v.field("keep_aspect_ratio_policy", keep_aspect_ratio_policy);
  }
};
// The grid holds positions in [-1, 1], the innermost dim of x first.
struct GridSampleAttrs : AttrsOf<GridSampleAttrs> {
  std::string mode = "linear";         // nearest, cubic
  std::string padding_mode = "zeros";  // border, reflection
  bool align_corners = false;
  void fields(FieldVisitor& v) {
    v.field("mode", mode);
    v.field("padding_mode", padding_mode);
    v.field("align_corners", align_corners);
  }
};
// theta[N, 2, 3] with size [N, C, H, W], or theta[N, 3, 4] with size [N, C, D, H, W].
struct AffineGridAttrs : AttrsOf<AffineGridAttrs> {
  bool align_corners = false;
  void fields(FieldVisitor& v) { v.field("align_corners", align_corners); }
};
// Error kInvalidModel for words that are none of ONNX's; axes are counted from the front.
Result<ResizeOptions> resize_options(const ResizeAttrs& a, int rank);
// From the op's known operands. Error kUnsupported when sizes, scales or roi are not known.
Result<std::vector<ResizeAxis>> resize_axes_of(const Op& op);

struct RoiAlignAttrs : AttrsOf<RoiAlignAttrs> {
  std::string mode = "avg";                                  // max
  std::string coordinate_transformation_mode = "half_pixel"; // output_half_pixel
  int64_t output_height = 1, output_width = 1;
  int64_t sampling_ratio = 0;                                // 0: as many samples as the bin has pixels, rounded up
  double spatial_scale = 1;
  void fields(FieldVisitor& v) {
    v.field("mode", mode);
    v.field("coordinate_transformation_mode", coordinate_transformation_mode);
    v.field("output_height", output_height);
    v.field("output_width", output_width);
    v.field("sampling_ratio", sampling_ratio);
    v.field("spatial_scale", spatial_scale);
  }
};
struct MaxRoiPoolAttrs : AttrsOf<MaxRoiPoolAttrs> {
  std::vector<int64_t> pooled_shape;  // height, width
  double spatial_scale = 1;
  void fields(FieldVisitor& v) {
    v.field("pooled_shape", pooled_shape);
    v.field("spatial_scale", spatial_scale);
  }
};

}  // namespace weft
