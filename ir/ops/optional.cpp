// optional, optional_get_element, optional_has_element. A filled optional is the value itself, an empty one is no value.
#include "ir/ops/common.h"
#include "ir/ops/sequence.h"

namespace weft {

static Status infer_optional(Op& op, InferContext&) {
  const Type& declared = op.attr<OptionalAttrs>().type;
  if (!has_operand(op, 0) && declared.kind == Type::Kind::none) return invalid("optional needs a value or a type");
  if (has_operand(op, 0) && type_of(op, 0).kind == Type::Kind::optional) return invalid("an optional of an optional");
  set_type(op, 0, Type::optional(has_operand(op, 0) ? type_of(op, 0) : declared));
  return {};
}
OpDef def_optional() {
  return {.onnx = "Optional",
      .family = Family::sequence,
      .traits = kHostOnly,
      .min_operands = 0,
      .max_operands = 1,
      .attrs = make_attrs<OptionalAttrs>,
      .infer = infer_optional,
      .eval = [](EvalCall& call) -> Result<std::vector<HostValue>> {
        return std::vector<HostValue>{call.has(0) ? *call.in[0] : HostValue()};
      }};
}

static Status infer_optional_get_element(Op& op, InferContext&) {
  const Type& t = type_of(op, 0);
  set_type(op, 0, t.kind == Type::Kind::optional ? *t.elem : t);
  op.results[0]->known = op.operands[0]->known;
  return {};
}
OpDef def_optional_get_element() {
  return {.onnx = "OptionalGetElement", .family = Family::sequence, .traits = kHostOnly, .min_operands = 1, .max_operands = 1,
          .infer = infer_optional_get_element, .eval = [](EvalCall& call) -> Result<std::vector<HostValue>> {
            if (!call.has(0)) return invalid("optional_get_element of an empty optional");
            return std::vector<HostValue>{*call.in[0]};
          }};
}

// Known unless the operand is an optional that some other op made.
static Status infer_optional_has_element(Op& op, InferContext&) {
  set_type(op, 0, Type::tensor(DType::b1, {}));
  const Value* v = op.operand(0);
  if (!v) set_known(op, 0, {Dim(0)});
  else if (v->type.kind != Type::Kind::optional) set_known(op, 0, {Dim(1)});
  else if (v->def && v->def->kind == OpKind::optional) set_known(op, 0, {Dim(v->def->operand(0) ? 1 : 0)});
  return {};
}
OpDef def_optional_has_element() {
  return {.onnx = "OptionalHasElement", .family = Family::sequence, .traits = kHostOnly, .min_operands = 0, .max_operands = 1,
          .infer = infer_optional_has_element,
          .eval = [](EvalCall& call) { return one(store_all(DType::b1, {}, std::vector<int64_t>{call.has(0)})); }};
}

}  // namespace weft
