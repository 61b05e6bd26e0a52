// Ops with bodies. Each names the types with which its bodies' inputs start.
#include "ir/ops/control.h"

#include <algorithm>

#include "frontend/onnx/rules/rules.h"
#include "ir/ops/sequence.h"

namespace weft {

static const Value* behind_identities(const Value* v) {
  while (v->def && v->def->kind == OpKind::identity) v = v->def->operands[0];
  return v;
}

// How PyTorch exports squeeze(d) of a dim that it does not know: squeeze where the dim is 1, else the tensor as it is. A
// rank cannot wait for the run, so the dim is taken to be 1, which squeeze checks when it runs. Null for other ifs.
static Value* squeezed(Node& n, const Op& op) {
  if (op.num_results() != 1 || !op.result()->type.is_tensor() || op.result()->type.ranked) return nullptr;
  const Value *yes = behind_identities(op.graphs[0]->outputs[0]), *no = behind_identities(op.graphs[1]->outputs[0]);
  if (!yes->def || yes->def->kind != OpKind::squeeze || !no->is_input()) return nullptr;
  const Value* from = behind_identities(yes->def->operands[0]);
  auto axes = yes->def->operand(1) ? const_ints(yes->def->operand(1)) : std::nullopt;
  if (!axes || !from->is_input() || from->index != no->index) return nullptr;
  return n.op(OpKind::squeeze, {op.operands[1 + no->index], n.ints(*axes)});
}

// A branch that is never taken need not even make sense for the types at hand: of a known condition only the other is read.
Values rule_if_else(Node& n) {
  Value* condition = n.need(0);
  if (n.failed()) return n.done(std::vector<Value*>());
  const std::vector<Dim>* known = known_of(condition);
  if (known && known->size() == 1 && (*known)[0].is_const()) {
    n.ignore("then_branch");
    n.ignore("else_branch");
    return n.done(n.in_place((*known)[0].is(0) ? "else_branch" : "then_branch"));
  }
  std::vector<Node::Body> branches{{"then_branch", {}}, {"else_branch", {}}};
  std::vector<Value*> results = n.with_bodies(OpKind::if_else, {condition}, branches, nullptr, n.body_outputs("then_branch"));
  if (results.empty()) return n.done(results);
  Op* op = results[0]->def;
  Value* v = squeezed(n, *op);
  if (!v) return n.done(results);
  n.build.graph()->erase(op);
  return n.done(v);
}

Values rule_loop(Node& n) {
  std::vector<Value*> operands = n.inputs;
  operands.resize(std::max<size_t>(operands.size(), 2));
  std::vector<Type> in{Type::tensor(DType::i64, {}), Type::tensor(DType::b1, {})};
  for (size_t i = 2; i < operands.size(); ++i) in.push_back(n.type_of(operands[i]));
  LoopAttrs a;
  a.num_carried = static_cast<int64_t>(operands.size()) - 2;
  return n.done(n.with_bodies(OpKind::loop, operands, {{"body", in}}, a.clone(), n.body_outputs("body") - 1));
}

// The type of one slice along an axis.
static Type slice_type(Node& n, const Value* v, int64_t at) {
  Type t = n.type_of(v);
  int axis = n.axis(at, n.rank(v));
  if (n.failed()) return t;
  Shape shape = t.shape;
  shape.erase(shape.begin() + axis);
  return Type::tensor(t.dtype, shape);
}

static std::vector<Value*> scan(Node& n, const std::vector<Value*>& operands, const ScanAttrs& a) {
  std::vector<Type> in;
  for (size_t i = 0; i < operands.size(); ++i) {
    size_t k = i - static_cast<size_t>(a.num_carried);
    if (static_cast<int64_t>(i) < a.num_carried) in.push_back(n.type_of(operands[i]));
    else in.push_back(slice_type(n, operands[i], k < a.scan_input_axes.size() ? a.scan_input_axes[k] : 0));
  }
  return n.with_bodies(OpKind::scan, operands, {{"body", in}}, a.clone(), n.body_outputs("body"));
}

// Opset 8 had a batch before the time; of one sample here.
static Values batched_scan(Node& n, ScanAttrs a) {
  if (n.in(0)) return unsupported("Scan-8 with sequence lengths");
  a.scan_input_directions = n.ints_attr("directions");
  std::vector<Value*> operands;
  for (int i = 1; i < n.num_inputs(); ++i) {
    const Type& t = n.type_of(n.in(i));
    if (!t.is_ranked() || t.rank() < 1 || !t.dim(0).is(1)) return unsupported("Scan-8 with more than one sample");
    operands.push_back(n.squeeze(n.in(i), {0}));
  }
  a.num_carried = static_cast<int64_t>(operands.size()) - a.num_scan_inputs;
  if (a.num_scan_inputs < 0 || a.num_carried < 0) return invalid(n.describe() + " has fewer inputs than num_scan_inputs");
  std::vector<Value*> results = scan(n, operands, a);
  for (Value*& r : results) r = n.unsqueeze(r, {0});
  return n.done(results);
}

Values rule_scan(Node& n) {
  ScanAttrs a;
  a.num_scan_inputs = n.need_int("num_scan_inputs");
  if (n.version < 9) return batched_scan(n, a);
  a.scan_input_axes = n.ints_attr("scan_input_axes");
  a.scan_input_directions = n.ints_attr("scan_input_directions");
  a.scan_output_axes = n.ints_attr("scan_output_axes");
  a.scan_output_directions = n.ints_attr("scan_output_directions");
  a.num_carried = n.num_inputs() - a.num_scan_inputs;
  if (a.num_scan_inputs < 0 || a.num_carried < 0) return invalid(n.describe() + " has fewer inputs than num_scan_inputs");
  return n.done(scan(n, n.inputs, a));
}

// A sequence among the inputs goes along element by element, a tensor is the same each time.
Values rule_sequence_map(Node& n) {
  std::vector<Type> in;
  for (Value* v : n.inputs) {
    const Type& t = n.type_of(v);
    in.push_back(t.kind == Type::Kind::sequence ? *t.elem : t);
  }
  SequenceMapAttrs a;
  a.num_inputs = n.num_inputs();
  return n.done(n.with_bodies(OpKind::sequence_map, n.inputs, {{"body", in}}, a.clone(), n.body_outputs("body")));
}

}  // namespace weft
