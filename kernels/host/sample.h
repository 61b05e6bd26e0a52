// Reads between elements, in double: grid_sample, deform_conv, roi_align, max_roi_pool. Host functions over strided views
// of floats (grid_sample: integers, too), shared by the reference evaluator and plans. Dims must fit together: the callers
// have checked them.
#pragma once

#include "ir/base/result.h"
#include "ir/base/tensor_view.h"

namespace weft {

struct GridSampleOptions {
  enum class Mode : uint8_t { nearest, linear, cubic };
  enum class Outside : uint8_t { zeros, border, reflection };
  Mode mode = Mode::linear;
  Outside outside = Outside::zeros;
  bool align_corners = false;
};
// x [n, c, d...], grid [n, e..., rank], y [n, c, e...]; integers are truncated at the end.
void host_grid_sample(const TensorView& x, const TensorView& grid, const GridSampleOptions& options, const TensorView& y);

struct DeformConvOptions {
  int64_t stride[2] = {1, 1}, pad[2] = {0, 0}, dilation[2] = {1, 1};
  int64_t group = 1, offset_group = 1;
};
// x [n, c, h, w], w [m, c / group, kh, kw], offset [n, offset_group * kh * kw * 2, oh, ow], bias [m] or null, mask
// [n, offset_group * kh * kw, oh, ow] or null, y [n, m, oh, ow].
void host_deform_conv(const TensorView& x, const TensorView& w, const TensorView& offset, const TensorView* bias, const TensorView* mask,
                      const DeformConvOptions& options, const TensorView& y);

struct RoiAlignOptions {
  bool largest = false;      // the largest sample of a bin instead of their mean
  bool half_pixel = true;
  int64_t sampling_ratio = 0;
  double spatial_scale = 1;
};
// x [n, c, h, w], rois [r, 4], batch [r], y [r, c, ph, pw]. Error when a region names a batch that is not there, or is so
// large that its samples cannot be counted.
Status host_roi_align(const TensorView& x, const TensorView& rois, const TensorView& batch, const RoiAlignOptions& options, const TensorView& y);
// rois [r, 5]: batch, x1, y1, x2, y2. A bin without an element gives 0.
Status host_max_roi_pool(const TensorView& x, const TensorView& rois, double spatial_scale, const TensorView& y);

}  // namespace weft
