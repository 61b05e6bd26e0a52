// Attributes of the ops that quantise. Names and defaults are ONNX's newest opset.
//
// scale and zero_point have one shape: one element (per tensor), [x.dim(axis)] (per axis), or x's shape with
// ceil(dim / block_size) along `axis` (blocked; block_size > 0).
#pragma once

#include "ir/core/op_def.h"

namespace weft {

// quantize_linear(x, scale, zero_point?) -> saturate(round(x / scale) + zero_point), ties to even. Result type: the zero
// point's, else output_dtype, else u8. The division is in `precision`, else in scale's type.
// saturate: float8 results clamp instead of giving NaN or Inf.
struct QuantizeAttrs : AttrsOf<QuantizeAttrs> {
  int64_t axis = 1, block_size = 0;
  bool has_output_dtype = false;
  DType output_dtype = DType::u8;
  bool has_precision = false;
  DType precision = DType::f32;
  bool saturate = true;
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("block_size", block_size);
    v.field("has_output_dtype", has_output_dtype);
    v.field("output_dtype", output_dtype);
    v.field("has_precision", has_precision);
    v.field("precision", precision);
    v.field("saturate", saturate);
  }
};

// dequantize_linear(x, scale, zero_point?) -> (x - zero_point) * scale, of output_dtype, else of scale's type.
struct DequantizeAttrs : AttrsOf<DequantizeAttrs> {
  int64_t axis = 1, block_size = 0;
  bool has_output_dtype = false;
  DType output_dtype = DType::f32;
  void fields(FieldVisitor& v) {
    v.field("axis", axis);
    v.field("block_size", block_size);
    v.field("has_output_dtype", has_output_dtype);
    v.field("output_dtype", output_dtype);
  }
};

// dynamic_quantize_linear(x) -> y: u8, scale: f32[], zero_point: u8[]; no attributes. The range is widened to hold 0.

// Which element of the scale belongs to an element of x.
struct ScaleMap {
  enum class Kind : uint8_t { one, axis, blocks };  // blocks: x's own index, divided by block_size along axis
  Kind kind = Kind::one;
  int axis = 0;
};
Result<ScaleMap> scale_map(const Shape& x, const Shape& scale, int64_t axis, int64_t block_size, Facts& facts);
// Of a quantize_linear op: its result type, and the type that it divides in.
DType quantized_type(const Op& op);
DType division_type(const Op& op);

}  // namespace weft
