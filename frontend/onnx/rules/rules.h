// Rules of the importer: one function for each ONNX op that is not simply our op of that name with attributes of the same
// names. rules.def lists them; a rule reads old opsets and dialects and builds ops of the canonical set.
#pragma once

#include "frontend/onnx/node.h"

namespace weft {

using Values = Result<std::vector<Value*>>;

#define WEFT_RULE(domain, type, name) Values rule_##name(Node& n);
#include "frontend/onnx/rules/rules.def"
#undef WEFT_RULE

// The op that bears the node's ONNX name.
OpKind kind_of(const Node& n);
// The op's default attributes, or those that the node has, for a rule to go on with.
template <class A>
A attrs_of(Node& n, OpKind kind) {
  std::unique_ptr<Attrs> a = n.attrs_for(kind);
  return a ? static_cast<const A&>(*a) : A();
}
// A one-dimensional or scalar operand as i64[n].
Value* int_vector(Node& n, Value* v);
// v along `axis` of a value of that rank, ones elsewhere (v has one dim, else it stays as it is).
Value* along(Node& n, Value* v, int axis, int rank);

// 0, 1, … below a count of i64[1] (microsoft.cpp).
Value* counted(Node& n, Value* count);
// A constant of one dim, of a float type.
Value* float_vector(Node& n, const std::vector<double>& values, DType t = DType::f32);
// ONNX Runtime's fused ops: y through the function named by the attribute `activation`, if any (math.cpp).
Value* activated(Node& n, Value* y);

// The softmax of x along `axis`; flat: of all dims from there on (norm.cpp).
Value* softmax(Node& n, OpKind kind, Value* x, int64_t axis, bool flat);
// Where `last`, x[N, D..., C] as [N, C, D...], and back (window.cpp).
Value* with_channels_first(Node& n, Value* x, bool last);
Value* with_channels_last(Node& n, Value* y, bool last);

// --- quantised tensors (quantize.cpp, packed_weights.cpp) ---
struct Quantized {
  Value *v = nullptr, *scale = nullptr, *zero = nullptr;  // zero: null where it is 0
};
// (v - zero) * scale; a scale of one dim goes along `axis`.
Value* dequantized(Node& n, Value* v, Value* scale, Value* zero, int axis);
// v / scale + zero in zero's type; in t where zero is null.
Value* quantized(Node& n, Value* v, Value* scale, Value* zero, int axis, DType t);
// The matrix product, exact in i32 and then scaled, and the bias (may be null).
Value* scaled_product(Node& n, const Quantized& a, const Quantized& b, Value* bias);
// Bytes that hold numbers of 2, 4 or 8 bits, the first in the low bits, as one number per element along the last dim.
Value* unpacked(Node& n, Value* bytes, int64_t bits);
// Zero points of such numbers, packed along the last dim of scales; null: half their range.
Value* packed_zeros(Node& n, Value* bytes, Value* scales, int64_t bits);
// (v - zeros) * scales, blocks of so many elements along `axis` sharing each.
Value* block_dequantized(Node& n, Value* v, Value* scales, Value* zeros, int axis, int64_t block);

// --- contractions (contract.cpp) ---
struct Matmul {
  bool trans_a = false, trans_b = false;              // the last two dims
  bool trans_batch_a = false, trans_batch_b = false;  // the first dim moves behind the other batch dims
  double alpha = 1;
  Value* bias = nullptr;
};
// NumPy's matrix product: one-dimensional operands are a row and a column whose dim the result lacks; batch dims broadcast.
Value* matmul(Node& n, Value* a, Value* b, const Matmul& m = {});

}  // namespace weft
