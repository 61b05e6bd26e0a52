// Comparisons, logic, bits, selection. equal and where take strings too, which have no scalar carrier: their eval walks
// the elements itself.
#include "ir/ops/pointwise.h"
#include "ir/ops/scalar_math.h"

namespace weft {

// a > b is b < a: NaN compares false either way.
template <Prim prim>
static void swapped(const Op& op, ScalarProgram& p) {
  out(p, in(op, p, 1).bin(prim, in(op, p, 0)));
}
OpDef def_less() { return pointwise("Less", 2, binary_body<Prim::lt>); }
OpDef def_less_or_equal() { return pointwise("LessOrEqual", 2, binary_body<Prim::le>); }
OpDef def_greater() { return pointwise("Greater", 2, swapped<Prim::lt>); }
OpDef def_greater_or_equal() { return pointwise("GreaterOrEqual", 2, swapped<Prim::le>); }

// Logical ops take bool, bitwise ops integers.
template <bool boolean>
static Status infer_bits(Op& op, InferContext& cx) {
  for (const Value* v : op.operands)
    if (!v->type.is_tensor() || (v->type.dtype == DType::b1) != boolean)
      return invalid(std::string(op_name(op.kind)) + " takes " + (boolean ? "bool" : "integer") + " tensors, got " + v->type.to_string());
  return infer_pointwise(op, cx);
}
template <bool boolean>
static OpDef bit_op(const char* onnx, int operands, void (*scalar)(const Op&, ScalarProgram&)) {
  OpDef d = pointwise(onnx, operands, scalar, operands == 2 ? uint32_t{kCommutative} : 0);
  d.infer = infer_bits<boolean>;
  return d;
}
OpDef def_and_() { return bit_op<true>("And", 2, binary_body<Prim::bit_and>); }
OpDef def_or_() { return bit_op<true>("Or", 2, binary_body<Prim::bit_or>); }
OpDef def_xor_() { return bit_op<true>("Xor", 2, binary_body<Prim::bit_xor>); }
OpDef def_not_() { return bit_op<true>("Not", 1, unary_body<Prim::bit_not>); }
OpDef def_bitwise_and() { return bit_op<false>("BitwiseAnd", 2, binary_body<Prim::bit_and>); }
OpDef def_bitwise_or() { return bit_op<false>("BitwiseOr", 2, binary_body<Prim::bit_or>); }
OpDef def_bitwise_xor() { return bit_op<false>("BitwiseXor", 2, binary_body<Prim::bit_xor>); }
OpDef def_bitwise_not() { return bit_op<false>("BitwiseNot", 1, unary_body<Prim::bit_not>); }

static Status infer_bit_shift(Op& op, InferContext& cx) {
  const std::string& d = op.attr<BitShiftAttrs>().direction;
  if (d != "LEFT" && d != "RIGHT") return invalid("bit_shift's direction must be \"LEFT\" or \"RIGHT\", is " + quote(d));
  return infer_pointwise(op, cx);
}
OpDef def_bit_shift() {
  OpDef d = pointwise("BitShift", 2, [](const Op& op, ScalarProgram& p) {
    out(p, in(op, p, 0).bin(op.attr<BitShiftAttrs>().direction == "LEFT" ? Prim::shl : Prim::shr, in(op, p, 1)));
  });
  d.attrs = make_attrs<BitShiftAttrs>;
  d.infer = infer_bit_shift;
  return d;
}

// f(offset of each operand, index of the result) over the broadcast of all operands.
template <class F>
static Result<Tensor> walk_broadcast(EvalCall& call, DType t, F f) {
  std::vector<const std::vector<int64_t>*> shapes;
  for (size_t i = 0; i < call.in.size(); ++i) shapes.push_back(&call.tensor(static_cast<int>(i)).dims);
  TRY_ASSIGN(std::vector<int64_t> dims, broadcast_dims(shapes));
  TRY_ASSIGN(Tensor y, Tensor::make(t, dims));
  std::vector<std::vector<int64_t>> strides;
  for (auto* s : shapes) strides.push_back(broadcast_strides(*s, dims));
  std::vector<int64_t> index(dims.size()), offset(shapes.size());
  for (int64_t k = 0; k < y.numel(); ++k, next_index(index, dims)) {
    for (size_t i = 0; i < shapes.size(); ++i) {
      offset[i] = 0;
      for (size_t d = 0; d < dims.size(); ++d) offset[i] += index[d] * strides[i][d];
    }
    f(y, offset, k);
  }
  return y;
}

static Result<std::vector<HostValue>> eval_equal(EvalCall& call) {
  if (call.tensor(0).dtype != DType::str) return eval_pointwise(call);
  const auto &a = *call.tensor(0).strings, &b = *call.tensor(1).strings;
  return one(walk_broadcast(call, DType::b1, [&](Tensor& y, const std::vector<int64_t>& at, int64_t k) {
    y.data.get()[k] = static_cast<std::byte>(a[at[0]] == b[at[1]]);
  }));
}
OpDef def_equal() {
  OpDef d = pointwise("Equal", 2, binary_body<Prim::eq>, kCommutative);
  d.eval = eval_equal;
  return d;
}

static Result<std::vector<HostValue>> eval_where(EvalCall& call) {
  if (call.tensor(1).dtype != DType::str) return eval_pointwise(call);
  const auto &a = *call.tensor(1).strings, &b = *call.tensor(2).strings;
  const std::byte* cond = call.tensor(0).data.get();
  return one(walk_broadcast(call, DType::str, [&](Tensor& y, const std::vector<int64_t>& at, int64_t k) {
    (*y.strings)[k] = cond[at[0]] != std::byte{0} ? a[at[1]] : b[at[2]];
  }));
}
OpDef def_where() {
  OpDef d = pointwise("Where", 3, [](const Op& op, ScalarProgram& p) { out(p, select(in(op, p, 0), in(op, p, 1), in(op, p, 2))); });
  d.eval = eval_where;
  return d;
}

}  // namespace weft
