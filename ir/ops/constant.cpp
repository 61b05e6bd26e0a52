// constant, prepared: values that come from the pool or from the prepare graph.
#include "ir/ops/common.h"

namespace weft {

static Status infer_constant(Op& op, InferContext& cx) {
  int id = op.attr<ConstantAttrs>().value.id;
  if (id < 0 || id >= cx.module.constants.size()) return invalid("constant refers to no pool entry");
  const Constant& c = cx.module.constants[id];
  set_type(op, 0, Type::tensor(c.dtype, to_shape(c.dims)));
  if ((is_int(c.dtype) || c.dtype == DType::b1) && c.dims.size() <= 1 && c.numel() <= 1024) {
    std::vector<int64_t> v = constant_ints(c);
    set_known(op, 0, std::vector<Dim>(v.begin(), v.end()));
  }
  return {};
}

static Result<std::vector<HostValue>> eval_constant(EvalCall& call) {
  return one(tensor_of(call.op.graph->module->constants[call.attr<ConstantAttrs>().value.id]));
}

OpDef def_constant() {
  return {.family = Family::meta, .attrs = make_attrs<ConstantAttrs>, .infer = infer_constant, .eval = eval_constant};
}

}  // namespace weft
