// prepared, identity, shape, size, reorder, fused.
#include "ir/ops/structure.h"

#include <set>

#include "ir/ops/control.h"
#include "ir/ops/move.h"
#include "ir/ops/sharding.h"

namespace weft {

// --- prepared -------------------------------------------------------------------------------------------------------

const Value* prepared_output(const Module& m, const std::string& name) {
  if (!m.prepare) return nullptr;
  for (size_t i = 0; i < m.prepare->output_names.size() && i < m.prepare->outputs.size(); ++i)
    if (m.prepare->output_names[i] == name) return m.prepare->outputs[i];
  return nullptr;
}
static Status infer_prepared(Op& op, InferContext& cx) {
  const std::string& name = op.attr<PreparedAttrs>().name;
  const Value* v = prepared_output(cx.module, name);
  if (!v) return invalid("the prepare graph has no output " + quote(name));
  set_type(op, 0, v->type);
  op.results[0]->known = v->known;
  return {};
}
// Runs the part of the prepare graph that the output needs.
static Result<std::vector<HostValue>> eval_prepared(EvalCall& call) {
  const Module& m = *call.op.graph->module;
  const Value* want = prepared_output(m, call.attr<PreparedAttrs>().name);
  CHECK(want);
  if (!want->def) return invalid("the prepare graph's output is its input");
  std::set<const Op*> needed{want->def};
  for (auto it = m.prepare->ops.rbegin(); it != m.prepare->ops.rend(); ++it) {
    if (!needed.count(it->get())) continue;
    for (const Value* v : (*it)->operands)
      if (v && v->def) needed.insert(v->def);
  }
  std::map<const Value*, HostValue> values;
  for (const auto& op : m.prepare->ops) {
    if (!needed.count(op.get())) continue;
    std::vector<const HostValue*> in;
    for (const Value* v : op->operands) in.push_back(v ? &values[v] : nullptr);
    TRY_ASSIGN(std::vector<HostValue> out, evaluate_op(*op, in, call.symbols ? *call.symbols : SymbolValues()));
    for (int i = 0; i < op->num_results(); ++i) values[op->result(i)] = std::move(out[i]);
  }
  return std::vector<HostValue>{values.at(want)};
}
OpDef def_prepared() {
  return {.family = Family::meta, .attrs = make_attrs<PreparedAttrs>, .infer = infer_prepared, .eval = eval_prepared};
}

// --- identity, reorder ----------------------------------------------------------------------------------------------

static Result<std::vector<HostValue>> eval_identity(EvalCall& call) { return std::vector<HostValue>{*call.in[0]}; }

OpDef def_identity() {
  return {.onnx = "Identity", .family = Family::meta, .traits = kViewLike | kIdempotent, .min_operands = 1, .max_operands = 1,
          .infer = [](Op& op, InferContext&) -> Status {
            set_type(op, 0, type_of(op, 0));
            op.results[0]->known = op.operands[0]->known;
            return {};
          },
          .eval = eval_identity, .shard = shard_pointwise};
}

static Status infer_reorder(Op& op, InferContext&) {
  TRY(need_tensor(op, 0));
  Lexer lx(op.attr<ReorderAttrs>().layout);
  TRY_ASSIGN(Layout layout, Layout::parse(lx));
  if (lx.peek().kind != Token::end) return lx.fail("text after the layout");
  Type t = type_of(op, 0);
  t.layout = std::move(layout);
  set_type(op, 0, std::move(t));
  op.results[0]->known = op.operands[0]->known;
  return {};
}
OpDef def_reorder() {
  return {.family = Family::move, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<ReorderAttrs>, .infer = infer_reorder,
          .eval = eval_identity};
}

// --- shape, size ----------------------------------------------------------------------------------------------------

// [first, last) of the operand's dims.
static std::pair<int, int> shape_span(const ShapeAttrs& a, int rank) {
  auto clamp = [rank](int64_t i) { return static_cast<int>(std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank)); };
  int first = clamp(a.start), last = a.has_end ? clamp(a.end) : rank;
  return {first, std::max(first, last)};
}
static Status infer_shape(Op& op, InferContext& cx) {
  const Type& x = type_of(op, 0);
  if (!x.is_tensor()) return need_tensor(op, 0);
  if (!x.ranked) {
    set_unknown_dims(op, 0, DType::i64, 1, cx);
    return {};
  }
  auto [first, last] = shape_span(op.attr<ShapeAttrs>(), x.rank());
  std::vector<Dim> known(x.shape.begin() + first, x.shape.begin() + last);
  set_type(op, 0, Type::tensor(DType::i64, {Dim(last - first)}));
  set_known(op, 0, std::move(known));
  return {};
}
OpDef def_shape() {
  return {.onnx = "Shape", .family = Family::meta, .min_operands = 1, .max_operands = 1, .attrs = make_attrs<ShapeAttrs>, .infer = infer_shape,
          .eval = [](EvalCall& call) -> Result<std::vector<HostValue>> {
            const std::vector<int64_t>& dims = call.tensor(0).dims;
            auto [first, last] = shape_span(call.attr<ShapeAttrs>(), static_cast<int>(dims.size()));
            return one(store_all(DType::i64, {last - first}, std::vector<int64_t>(dims.begin() + first, dims.begin() + last)));
          },
          .cost = [](const Op&) { return Cost(); }};
}

static Status infer_size(Op& op, InferContext&) {
  const Type& x = type_of(op, 0);
  if (!x.is_tensor()) return need_tensor(op, 0);
  set_type(op, 0, Type::tensor(DType::i64, {}));
  if (x.ranked && !numel(x.shape).is_overflow()) set_known(op, 0, {numel(x.shape)});
  return {};
}
OpDef def_size() {
  return {.onnx = "Size", .family = Family::meta, .min_operands = 1, .max_operands = 1, .infer = infer_size,
          .eval = [](EvalCall& call) { return one(store_all(DType::i64, {}, std::vector<int64_t>{call.tensor(0).numel()})); },
          .cost = [](const Op&) { return Cost(); }};
}

// --- fused ----------------------------------------------------------------------------------------------------------

static Status infer_fused(Op& op, InferContext&) {
  if (op.graphs.size() != 1) return invalid("fused has " + std::to_string(op.graphs.size()) + " bodies, needs one");
  Graph& body = *op.graphs[0];
  if (body.inputs.size() != op.operands.size() || body.outputs.size() != op.results.size())
    return invalid("fused has " + std::to_string(op.operands.size()) + " operands and " + std::to_string(op.results.size()) + " results, its body " +
                   std::to_string(body.inputs.size()) + " and " + std::to_string(body.outputs.size()));
  BodyInputs inputs(body);
  for (int i = 0; i < op.num_operands(); ++i) {
    if (!op.operands[i]) return invalid("fused takes no absent operand");
    inputs.pass(i, *op.operands[i]);
  }
  TRY(inputs.infer());
  for (int r = 0; r < op.num_results(); ++r) {
    if (!body.outputs[r]) return invalid("an output of fused's body is absent");
    set_type(op, r, body.outputs[r]->type);
    op.results[r]->known = body.outputs[r]->known;
  }
  return {};
}
// flops are the body's; bytes are the operands' and results', since what lies between stays inside.
static Cost cost_fused(const Op& op) {
  Cost c;
  for (const auto& inner : op.graphs[0]->ops) c.flops += op_cost(*inner).flops;
  auto bytes = [](const Value* v) { return v && v->type.is_ranked() ? numel(v->type.shape) * Dim(byte_size(v->type.dtype)) : Dim(0); };
  for (const Value* v : op.operands) c.bytes += bytes(v);
  for (const auto& r : op.results) c.bytes += bytes(r.get());
  return c;
}
// Its eval is its body's; the evaluator runs it.
OpDef def_fused() {
  return {.family = Family::fused, .min_operands = 0, .max_operands = -1, .attrs = make_attrs<FusedAttrs>, .infer = infer_fused, .cost = cost_fused};
}

}  // namespace weft
