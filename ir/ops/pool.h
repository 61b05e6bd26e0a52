// Pooling over windows of [N, C, D...], any number of spatial dims >= 1. Names and defaults are ONNX's. Padding never takes
// part in a maximum; a window without a single element (it lies wholly in the padding) gives the lowest value, 0 or NaN as
// max, lp and average do. ceil_mode: the last window must start inside the input or its begin padding.
#pragma once

#include "ir/ops/conv.h"

namespace weft {

// max_pool(x) -> y, indices?: indices are i64, flat in all of x, the first of equals; storage_order 1 counts the spatial
// dims column-major.
struct MaxPoolAttrs : AttrsOf<MaxPoolAttrs>, WindowAttrs {
  bool ceil_mode = false;
  int64_t storage_order = 0;
  void fields(FieldVisitor& v) {
    window_fields(v);
    v.field("ceil_mode", ceil_mode);
    v.field("storage_order", storage_order);
  }
};
// average_pool(x): count_include_pad counts the padding, but not what ceil_mode adds beyond it.
struct AveragePoolAttrs : AttrsOf<AveragePoolAttrs>, WindowAttrs {
  bool ceil_mode = false;
  bool count_include_pad = false;
  void fields(FieldVisitor& v) {
    window_fields(v);
    v.field("ceil_mode", ceil_mode);
    v.field("count_include_pad", count_include_pad);
  }
};
// lp_pool(x): (sum |x|^p)^(1/p)
struct LpPoolAttrs : AttrsOf<LpPoolAttrs>, WindowAttrs {
  bool ceil_mode = false;
  int64_t p = 2;
  void fields(FieldVisitor& v) {
    window_fields(v);
    v.field("ceil_mode", ceil_mode);
    v.field("p", p);
  }
};
// global_average_pool and global_max_pool have none; all spatial dims become 1.
struct GlobalLpPoolAttrs : AttrsOf<GlobalLpPoolAttrs> {
  int64_t p = 2;
  void fields(FieldVisitor& v) { v.field("p", p); }
};
// max_unpool(x, indices, output_shape?): zeros but for y[indices[i]] = x[i]; indices count elements of the tensor that was
// pooled, whose dims follow from the window; a larger output_shape embeds that tensor at its origin.
struct MaxUnpoolAttrs : AttrsOf<MaxUnpoolAttrs> {
  std::vector<int64_t> kernel_shape, pads, strides;
  void fields(FieldVisitor& v) {
    v.field("kernel_shape", kernel_shape);
    v.field("pads", pads);
    v.field("strides", strides);
  }
};
// Dims of the tensor that was pooled to x.
Result<Shape> unpooled_dims(const MaxUnpoolAttrs& a, const Shape& x);

}  // namespace weft
