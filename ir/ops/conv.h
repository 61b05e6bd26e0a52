// Convolutions: attributes, and the windows they share with pooling. A window is resolved by one helper for infer, eval
// and code generation, so that auto_pad and rounding are decided in one place.
//
//   conv(x[N, C, D...], w[M, C/group, K...], bias[M]?, x_scale?, w_scale?)
//   conv_transpose(x[N, C, D...], w[C, M/group, K...], bias[M]?, x_scale?, w_scale?)
//   deform_conv(x[N, C, H, W], w[M, C/group, kH, kW], offset, bias[M]?, mask?)
//
// Any number of spatial dims >= 1 (deform_conv: 2). Accumulation and result type are those of `contract`: `out_type` when
// set, else the input's type, i32 for 8-bit integers. Scales multiply the sum before the bias is added: x_scale per tensor
// ([] or [1]), w_scale per tensor or per output channel [M]. conv's tf32 is contract's.
#pragma once

#include "ir/core/attrs.h"
#include "ir/core/module.h"

namespace weft {

// What convolutions and pools have in common; empty lists are ones (pads: zeros).
struct WindowAttrs {
  std::string auto_pad = "NOTSET";  // or SAME_UPPER, SAME_LOWER, VALID: pads are not read then
  std::vector<int64_t> kernel_shape, pads, strides, dilations;  // pads: all begins, then all ends
  void window_fields(FieldVisitor& v) {
    v.field("auto_pad", auto_pad);
    v.field("kernel_shape", kernel_shape);
    v.field("pads", pads);
    v.field("strides", strides);
    v.field("dilations", dilations);
  }
};

struct ConvAttrs : AttrsOf<ConvAttrs>, WindowAttrs {
  int64_t group = 1;
  bool has_out_type = false;
  DType out_type = DType::f32;
  bool tf32 = false;
  void fields(FieldVisitor& v) {
    window_fields(v);
    v.field("group", group);
    v.field("has_out_type", has_out_type);
    v.field("out_type", out_type);
    v.field("tf32", tf32);
  }
};
// output_shape (spatial dims only), where given, decides the pads.
struct ConvTransposeAttrs : AttrsOf<ConvTransposeAttrs>, WindowAttrs {
  int64_t group = 1;
  std::vector<int64_t> output_padding, output_shape;
  bool has_out_type = false;
  DType out_type = DType::f32;
  void fields(FieldVisitor& v) {
    window_fields(v);
    v.field("group", group);
    v.field("output_padding", output_padding);
    v.field("output_shape", output_shape);
    v.field("has_out_type", has_out_type);
    v.field("out_type", out_type);
  }
};
// offset[N, offset_group * kH * kW * 2, oH, oW] moves the points where x is read (bilinear, zero outside); mask
// [N, offset_group * kH * kW, oH, oW] weights them.
struct DeformConvAttrs : AttrsOf<DeformConvAttrs>, WindowAttrs {
  int64_t group = 1, offset_group = 1;
  void fields(FieldVisitor& v) {
    window_fields(v);
    v.field("group", group);
    v.field("offset_group", offset_group);
  }
};

// One spatial dim. conv and pools: result o reads in[o * stride - pad_begin + k * dilation] for k < kernel, where that
// lies in [0, in). conv_transpose: in[i] adds to result i * stride - pad_begin + k * dilation. Pads may be negative (they
// crop). A pool in ceil_mode may have windows that reach beyond pad_end.
struct WindowAxis {
  Dim in, out, kernel, pad_begin, pad_end;
  int64_t stride = 1, dilation = 1;
};
// spatial: the input's dims from the third on; kernel: one per spatial dim. Errors: lists of a wrong length, values out of
// range, a window larger than the padded input where that is provable.
Result<std::vector<WindowAxis>> window_axes(const WindowAttrs& a, const Shape& spatial, const Shape& kernel, bool ceil_mode = false);
Result<std::vector<WindowAxis>> transpose_window_axes(const ConvTransposeAttrs& a, const Shape& spatial, const Shape& kernel);
// A kernel_shape that is given must be the kernel, w[.., .., K...].
Status kernel_facts(const WindowAttrs& a, const Shape& w, Facts& facts);
// Of a conv, conv_transpose, deform_conv or pool with ranked operands, from its types.
Result<std::vector<WindowAxis>> window_axes_of(const Op& op);

}  // namespace weft
