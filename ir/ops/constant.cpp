// constant, dims: values that come from the pool, or from symbols.
#include "ir/ops/common.h"
#include "ir/ops/sharding.h"

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

OpDef def_dims() {
  return {.family = Family::meta, .attrs = make_attrs<DimsAttrs>,
          .infer = [](Op& op, InferContext&) -> Status {
            const Shape& values = op.attr<DimsAttrs>().values;
            for (const Dim& d : values)
              if (d.is_overflow()) return resources("an expression of dims overflows");
            set_type(op, 0, Type::tensor(DType::i64, {Dim(static_cast<int64_t>(values.size()))}));
            set_known(op, 0, values);
            return {};
          },
          .eval = [](EvalCall& call) -> Result<std::vector<HostValue>> {
            std::vector<int64_t> values;
            for (const Dim& d : call.attr<DimsAttrs>().values) {
              auto v = d.eval(call.symbols ? *call.symbols : SymbolValues());
              if (!v) return unsupported("the expression " + d.to_string() + " has no value here");
              values.push_back(*v);
            }
            return one(store_all(DType::i64, {static_cast<int64_t>(values.size())}, values));
          }};
}

}  // namespace weft
