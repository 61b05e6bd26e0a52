// Rules of ops that make elements from their position: range, eye_like, constant_of_shape.
#include "codegen/lower/rules.h"
#include "ir/core/op_def.h"
#include "ir/eval/host_value.h"
#include "ir/ops/move.h"

namespace weft {

// start + k * delta, rounded once.
Result<int> rule_range(SpecBuilder& r, const Op& op, int, const Index& idx) {
  DType t = op.result()->type.dtype, work = is_float(t) ? DType::f64 : DType::i64;
  auto scalar = [&](const Value* v) -> Result<S> {
    if (const std::vector<Dim>* known = known_of(v); known && !is_float(t)) return r.at(r.index_value((*known)[0]));
    TRY_ASSIGN(int id, r.emit(v, Index(v->type.shape.size(), Dim(0))));
    return r.at(id).cast(work);
  };
  TRY_ASSIGN(S start, scalar(op.operands[0]));
  TRY_ASSIGN(S delta, scalar(op.operands[2]));
  return (start + r.at(r.index_value(idx[0])).cast(work) * delta).cast(t).id;
}

Result<int> rule_eye_like(SpecBuilder& r, const Op& op, int, const Index& idx) {
  S row = r.at(r.index_value(idx[0])), column = r.at(r.index_value(idx[1]));
  S k{&r.program(), r.program().constant_int(DType::i64, op.attr<EyeLikeAttrs>().k)};
  return eq(row + k, column).cast(op.result()->type.dtype).id;
}

Result<int> rule_constant_of_shape(SpecBuilder& r, const Op& op, int, const Index&) {
  int id = op.attr<ConstantOfShapeAttrs>().value.id;
  if (id < 0) return r.program().constant(DType::f32, 0);
  TRY_ASSIGN(Tensor value, tensor_of(op.graph->module->constants[id]));
  DType t = value.dtype;
  if (is_float(t)) return r.program().constant(t, load_all<double>(value)[0]);
  if (is_complex(t)) return r.refuse(op, "constant_of_shape of complex numbers");
  return r.program().constant_int(t, is_unsigned_int(t) ? static_cast<int64_t>(load_all<uint64_t>(value)[0]) : load_all<int64_t>(value)[0]);
}

}  // namespace weft
