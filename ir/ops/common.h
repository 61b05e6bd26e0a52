// Shared rules of infer and eval: broadcasting, axes, shape values.
#pragma once

#include "ir/base/tensor_view.h"
#include "ir/base/text.h"
#include "ir/core/builder.h"
#include "ir/eval/evaluator.h"
#include "ir/eval/host_value.h"
#include "ir/ops/sharding.h"

namespace weft {

inline void set_type(Op& op, int i, Type t) {
  if (i < op.num_results()) op.results[i]->type = std::move(t);
}
inline void set_known(Op& op, int i, std::vector<Dim> values) {
  if (values.size() <= 4096) op.results[i]->known = std::make_shared<const std::vector<Dim>>(std::move(values));
}
inline const Type& type_of(const Op& op, int i) { return op.operands[i]->type; }
inline bool is_number(DType t) { return is_float(t) || is_int(t); }
inline bool has_operand(const Op& op, int i) { return op.operand(i) != nullptr; }

// Error kInvalidModel unless operand i is a tensor (ranked, when `ranked`).
Status need_tensor(const Op& op, int i);
// NumPy broadcasting. A symbolic dim against 1 gives the symbol, against another constant the constant; of two different
// symbols the first is taken, and that the other one broadcasts to it is a fact for the run to check.
Result<Shape> broadcast_shapes(const std::vector<const Shape*>& shapes, Facts& facts, std::string_view what);
Result<std::vector<int64_t>> broadcast_dims(const std::vector<const std::vector<int64_t>*>& dims);
// Element strides of `dims` read as `out` (0 along broadcast dims); both row-major, out has at least as many dims.
std::vector<int64_t> broadcast_strides(const std::vector<int64_t>& dims, const std::vector<int64_t>& out);
// A negative axis counted from the end; Error when outside [-rank, rank).
Result<int> normalize_axis(int64_t axis, int rank);
// Sorted, without duplicates. `axes` empty means every axis when all_if_empty.
Result<std::vector<int>> normalize_axes(std::vector<int64_t> axes, int rank, bool all_if_empty);
// infer of an op whose only result has the first operand's type.
Status infer_same(Op& op, InferContext&);
// infer of a pointwise op: broadcast shape of all operands, dtype of its scalar body's outputs; propagates `known`
// through integer add, sub, mul, div, min, max, where, cast.
Status infer_pointwise(Op& op, InferContext&);
// eval of a pointwise op through its scalar body.
Result<std::vector<HostValue>> eval_pointwise(EvalCall& call);

// Row-major coordinate odometer: advances `index` within dims; false after the last.
inline bool next_index(std::vector<int64_t>& index, const std::vector<int64_t>& dims) {
  for (int i = static_cast<int>(dims.size()) - 1; i >= 0; --i) {
    if (++index[i] < dims[i]) return true;
    index[i] = 0;
  }
  return false;
}

// An OpDef of a pointwise op.
inline OpDef pointwise(const char* onnx, int operands, void (*scalar)(const Op&, ScalarProgram&), uint32_t traits = 0) {
  OpDef d;
  d.onnx = onnx;
  d.family = Family::pointwise;
  d.traits = traits;
  d.min_operands = d.max_operands = operands;
  d.infer = infer_pointwise;
  d.eval = eval_pointwise;
  d.scalar = scalar;
  d.shard = shard_pointwise;
  return d;
}
// Operand i of the op as a typed input of its body.
inline S in(const Op& op, ScalarProgram& p, int i) { return {&p, p.input(i, op.operands[i]->type.dtype)}; }
inline void out(ScalarProgram& p, S v) { p.outputs.push_back(v.id); }

}  // namespace weft
