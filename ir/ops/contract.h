// contract: the one matrix product. Every MatMul, Gemm, Einsum (of two operands) and fused variant becomes this.
//
//   contract(a, b, bias?, a_scale?, b_scale?) {spec="bmk,bkn->bmn"}
//
// spec names one letter per dim of a, b and the result; letters in both inputs and not in the result are summed; letters
// in both and in the result are batch dims. A batch letter may be missing from one input (broadcast). Dims of one letter
// must be equal, or 1 in an input (broadcast). bias broadcasts (NumPy) against the result and is added after the sum.
// Scales multiply the input's elements: a_scale is per tensor ([] or one element), per row (the dims of a that are not
// summed, in order), or per (row, K block): all of a's dims, each one 1 or a divisor of a's; b_scale alike; see quantize.
// Accumulation is f32 for f32/f16/bf16/fp8 inputs, f64 for f64, i32 for 8-bit integers, else the input's own type.
// tf32: the inputs' elements, f32, are rounded to tf32 first (10 bits of mantissa, ties away from zero); sums stay f32.
// Result type: `out_type` when set, else the input's type (i32 for integers of 8 bits or fewer; of two inputs that differ,
// which only floats with integers or floats of 8 bits may, the wider float).
#pragma once

#include "ir/core/attrs.h"
#include "ir/core/module.h"

namespace weft {

struct ContractAttrs : AttrsOf<ContractAttrs> {
  std::string spec;
  bool has_out_type = false;
  DType out_type = DType::f32;
  double alpha = 1.0;  // result = alpha * sum + bias
  bool tf32 = false;
  void fields(FieldVisitor& v) {
    v.field("spec", spec);
    v.field("has_out_type", has_out_type);
    v.field("out_type", out_type);
    v.field("alpha", alpha);
    v.field("tf32", tf32);
  }
};

// The letters of a spec; `sum` are those that the result lacks, in the order of a, then b.
struct ContractSpec {
  std::string a, b, out, sum;
};
// Error kInvalidModel for a letter twice in one operand, or in the result alone.
Result<ContractSpec> parse_contract(const std::string& spec);
// Of a product of these element types, as above; of convolutions, too.
Result<DType> product_type(DType a, DType b, bool has_out_type, DType out_type);
// Only f32 is rounded to tf32.
Status check_tf32(const Op& op, bool tf32);
// Whether sums are exact in double: not for integers of more than 16 bits, which wrap in 64.
bool sums_in_double(DType a, DType b);

}  // namespace weft
