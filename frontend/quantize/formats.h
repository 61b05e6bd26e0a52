// What a layer may become, and how numbers are rounded into it. Scales are float32; numbers are scale * code, or
// scale * (code - zero) for activations. The formulas are those of ONNX's QuantizeLinear and DequantizeLinear.
#pragma once

#include "frontend/quantize/layers.h"

namespace weft::quantize {

struct Format {
  std::string name;                  // as the user says it
  DType weight = DType::i8;
  bool activations = false;          // whether the layer's input is quantised, too
  DType activation = DType::i8;
  int64_t block = 0;                 // of weights that share a scale along a row; 0: the row does
};

// "int8", "int8w", …, "int4w:64": with blocks of 64. Error kUsage for anything else.
Result<Format> parse_format(const std::string& text);
std::string format_names();

// Numbers that codes of a type reach; symmetric: the same to both sides.
struct CodeRange {
  float low = 0, high = 0;
};
CodeRange code_range(DType t, bool symmetric);
// The nearest code, ties to even, as a number; NaN gives 0.
float to_code(DType t, float scaled);

// A weight matrix as codes, and a scale for each block of a row.
struct Codes {
  DType type = DType::i8;
  int64_t rows = 0, columns = 0, block = 0;  // block: columns that share a scale
  std::vector<float> codes, scales;
  int64_t blocks() const { return (columns + block - 1) / block; }
  float scale(int64_t row, int64_t column) const { return scales[row * blocks() + column / block]; }
};

// How many columns share a scale in this layer: convolutions and rows that are short have one scale a row.
int64_t block_of(const Format& f, const Layer& l);
// Codes without rounding anything yet: scales that reach the largest magnitude of each block.
Codes empty_codes(const Matrix& w, DType type, int64_t block);
Codes round_to_nearest(const Matrix& w, DType type, int64_t block);
Matrix decoded(const Codes& c);

// An activation's scale and zero point, the same for the whole tensor.
struct ActivationScale {
  float scale = 1;
  int32_t zero = 0;
};

}  // namespace weft::quantize
