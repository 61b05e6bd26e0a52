// contract: the one matrix product. Every MatMul, Gemm, Einsum (of two operands) and fused variant becomes this.
//
//   contract(a, b, bias?, a_scale?, b_scale?) {spec="bmk,bkn->bmn"}
//
// spec names one letter per dim of a, b and the result; letters in both inputs and not in the result are summed; letters
// in both and in the result are batch dims. A batch letter may be missing from one input (broadcast). Dims of one letter
// must be equal, or 1 in an input (broadcast). bias broadcasts (NumPy) against the result and is added after the sum.
// Scales: a_scale per tensor [], per row of a's free dims or per (row, K block); b_scale alike; see quantize.
// Accumulation is f32 for f32/f16/bf16/fp8 inputs, f64 for f64, i32 for 8-bit integers, else the input's own type.
// Result type: `out_type` when set, else the input's type (i32 for 8-bit integers).
#pragma once

#include "ir/core/attrs.h"

namespace weft {

struct ContractAttrs : AttrsOf<ContractAttrs> {
  std::string spec;
  bool has_out_type = false;
  DType out_type = DType::f32;
  double alpha = 1.0;  // result = alpha * sum + bias
  void fields(FieldVisitor& v) {
    v.field("spec", spec);
    v.field("has_out_type", has_out_type);
    v.field("out_type", out_type);
    v.field("alpha", alpha);
  }
};

}  // namespace weft
