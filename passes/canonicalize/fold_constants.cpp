// fold-constants: computes ops of which all operands are constants with the reference evaluator, where operands and
// results are small. A splat stays a splat through elementwise and movement ops, whatever its size. Ops that draw random
// numbers or hold graphs stay, and so do quantised weights, which kernels want as they are.
#include "ir/eval/evaluator.h"
#include "ir/ops/move.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

static constexpr int64_t kFoldFlops = 4 << 20;
static constexpr int64_t kFoldOperandBytes = 1 << 20;

static bool all_constant(const Op& op) {
  for (const Value* v : op.operands)
    if (v && !constant_of(v)) return false;
  return true;
}
static bool may_fold(const Op& op) {
  if (op.kind == OpKind::constant || op.kind == OpKind::prepared || op.kind == OpKind::reorder || !op.graphs.empty()) return false;
  const OpDef& def = op_def(op);
  if (has_trait(op, kNondeterministic) || def.family == Family::collective || def.family == Family::random) return false;
  for (auto& r : op.results)
    if (!r->type.is_ranked() || !is_static(r->type.shape) || (def.family == Family::quantize && r->type.rank() >= 2)) return false;
  return all_constant(op);
}

static bool is_small(const Op& op, int64_t fold_bytes) {
  int64_t in = 0, out = 0;
  for (const Value* v : op.operands)
    if (v) in += constant_of(v)->numel() * byte_size(v->type.dtype);
  for (auto& r : op.results) out += numel(r->type.shape).value() * byte_size(r->type.dtype);
  Cost cost = op_cost(op);
  return out <= fold_bytes && in <= kFoldOperandBytes && cost.flops.is_const() && cost.flops.value() <= kFoldFlops;
}

static int add_constant(ConstantPool& pool, const std::string& name, const Tensor& t) {
  if (t.dtype == DType::str) return pool.add_strings(name, t.dims, *t.strings);
  return pool.add_bytes(name, t.dtype, t.dims, std::vector<std::byte>(t.data.get(), t.data.get() + t.bytes()));
}

static bool fits(const HostValue& v, const Type& t) {
  return v.kind == HostValue::Kind::tensor && v.tensor.dtype == t.dtype && to_shape(v.tensor.dims) == t.shape;
}

// Replaces the op by constants, by pool index.
static bool become_constants(Op& op, const std::vector<int>& ids) {
  std::vector<Op*> from;
  for (Value* v : op.operands)
    if (v) from.push_back(v->def);
  Builder b = build_before(op, from);
  std::vector<Value*> with;
  for (int id : ids) with.push_back(b.constant(id));
  return replace_op(op, with);
}

// Null when the op cannot be computed; a model may hold such an op where it is never reached.
static std::vector<HostValue> compute(const Op& op, const std::vector<HostValue>& operands) {
  std::vector<const HostValue*> in;
  for (const HostValue& v : operands) in.push_back(&v);
  auto r = evaluate_op(op, in);
  if (!r.ok() || static_cast<int>(r->size()) < op.num_results()) return {};
  return std::move(*r);
}

static bool fold_small(Op& op) {
  std::vector<HostValue> operands;
  for (const Value* v : op.operands) {
    if (!v) {
      operands.emplace_back();
      continue;
    }
    auto t = tensor_of(*constant_of(v));
    if (!t.ok()) return false;
    operands.emplace_back(std::move(*t));
  }
  std::vector<HostValue> out = compute(op, operands);
  std::vector<int> ids;
  for (int i = 0; i < op.num_results(); ++i) {
    if (out.empty() || !fits(out[i], op.result(i)->type)) return false;
    ids.push_back(add_constant(op.graph->module->constants, op.result(i)->name, out[i].tensor));
  }
  return become_constants(op, ids);
}

// Elements of the data operand only, every one of them alike.
static bool copies_first(OpKind k) {
  switch (k) {
    case OpKind::reshape: case OpKind::transpose: case OpKind::squeeze: case OpKind::unsqueeze: case OpKind::flatten:
    case OpKind::expand: case OpKind::tile: case OpKind::slice: case OpKind::split: case OpKind::identity: return true;
    default: return false;
  }
}
static bool is_single(const Constant& c) { return c.source == Constant::Source::splat || (c.numel() == 1 && c.source != Constant::Source::strings); }

static Result<Tensor> one_element(const Constant& c) {
  Constant e = c;
  e.dims.assign(c.dims.size(), 1);
  return tensor_of(e);
}

// The element of the result: the op on single elements, or the operand's.
static std::optional<Tensor> splat_element(const Op& op) {
  bool pointwise = op_def(op).scalar != nullptr;
  if (!pointwise && !copies_first(op.kind)) return std::nullopt;
  std::vector<HostValue> operands;
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const Constant* c = constant_of(op.operands[i]);
    if (i > 0 && !pointwise) break;
    if (!c) {
      operands.emplace_back();
      continue;
    }
    if (!is_single(*c) || c->numel() == 0) return std::nullopt;
    auto t = one_element(*c);
    if (!t.ok()) return std::nullopt;
    operands.emplace_back(std::move(*t));
  }
  if (!pointwise) return operands[0].tensor;
  std::vector<HostValue> out = compute(op, operands);
  if (out.empty() || out[0].tensor.numel() != 1 || out[0].tensor.dtype != op.result()->type.dtype) return std::nullopt;
  return out[0].tensor;
}

static bool fold_splat(Op& op) {
  bool fill = op.kind == OpKind::constant_of_shape;
  if (!fill && (op_def(op).scalar ? op.num_results() != 1 : false)) return false;
  std::optional<Tensor> e;
  if (fill) {
    int id = op.attr<ConstantOfShapeAttrs>().value.id;
    auto t = id < 0 ? Tensor::make(DType::f32, {1}) : tensor_of(op.graph->module->constants[id]);
    if (t.ok()) e = std::move(*t);
  } else {
    e = splat_element(op);
  }
  if (!e || e->dtype == DType::str || e->dtype != op.result()->type.dtype) return false;
  std::vector<int> ids;
  for (auto& r : op.results) ids.push_back(op.graph->module->constants.add_splat(r->name, e->dtype, static_dims(r->type.shape), e->data.get()));
  return become_constants(op, ids);
}

Result<bool> pass_fold_constants(Module& m, PassContext& cx) {
  return rewrite_ops(m, [&](Op& op) { return may_fold(op) && (fold_splat(op) || (is_small(op, cx.fold_bytes) && fold_small(op))); });
}

}  // namespace weft
