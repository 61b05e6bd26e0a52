// if_else: one of two bodies. A result's type is what holds for both branches, or that of one where the condition is known.
#include "ir/ops/control.h"
#include "ir/ops/move.h"

namespace weft {

// The branch that a known condition takes.
static std::optional<int> known_branch(const Op& op) {
  const std::vector<Dim>* known = known_of(op.operands[0]);
  if (!known || known->size() != 1 || !(*known)[0].is_const()) return std::nullopt;
  return (*known)[0].value() ? 0 : 1;
}

// shared: by value, since the symbols made here count as shared afterwards.
static Status infer_if_result(Op& op, int r, std::set<std::string> shared, InferContext& cx) {
  const Value *yes = op.graphs[0]->outputs[r], *no = op.graphs[1]->outputs[r];
  if (!yes || !no) return invalid("a branch does not return result " + std::to_string(r));
  OtherDim other = [&](int d) { return outer_dim(op, r, d, shared, cx); };
  std::optional<int> branch = known_branch(op);
  if (branch) {
    const Value* v = *branch == 0 ? yes : no;
    set_type(op, r, escape_type(v->type, shared, other));
    yes = no = v;
  } else {
    auto joined = join_types(yes->type, no->type, other);
    if (!joined.ok()) return joined.error().prefix("the branches' results " + std::to_string(r) + ": ");
    set_type(op, r, escape_type(*joined, shared, other));
  }
  if (!yes->known || !no->known || !(*yes->known == *no->known)) return {};
  for (const Dim& d : *yes->known)
    for (const std::string& s : d.symbols())
      if (!shared.count(s)) return {};
  op.results[r]->known = yes->known;
  return {};
}

static Status infer_if_else(Op& op, InferContext& cx) {
  TRY(need_body(op, 2));
  const Type& cond = type_of(op, 0);
  if (!cond.is_tensor() || cond.dtype != DType::b1) return invalid("the condition must be a bool, is " + cond.to_string());
  if (cond.ranked && is_static(cond.shape) && !numel(cond.shape).is(1)) return invalid("the condition must be one element, is " + cond.to_string());
  for (auto& body : op.graphs) {
    if (body->inputs.size() + 1 != op.operands.size())
      return invalid("a branch takes " + std::to_string(body->inputs.size()) + " captures, the op gives " + std::to_string(op.operands.size() - 1));
    if (body->outputs.size() != op.results.size())
      return invalid("a branch returns " + std::to_string(body->outputs.size()) + " values, the op has " +
                     std::to_string(op.results.size()) + " results");
    BodyInputs inputs(*body);
    for (size_t i = 0; i < body->inputs.size(); ++i) {
      if (!op.operands[i + 1]) return invalid("a capture is absent");
      inputs.pass(static_cast<int>(i), *op.operands[i + 1]);
    }
    TRY(inputs.infer());
  }
  std::set<std::string> shared = shared_symbols(op);
  for (int r = 0; r < op.num_results(); ++r) TRY(infer_if_result(op, r, shared, cx));
  return {};
}

static Result<std::vector<HostValue>> eval_if_else(EvalCall& call) {
  const Tensor& cond = call.tensor(0);
  if (cond.numel() != 1) return invalid("the condition must be one element, has " + std::to_string(cond.numel()));
  std::vector<HostValue> captures;
  for (size_t i = 1; i < call.in.size(); ++i) captures.push_back(*call.in[i]);
  const Graph& branch = *call.op.graphs[load_all<int64_t>(cond)[0] ? 0 : 1];
  return call.run_graph(branch, std::move(captures), call.state);
}

// The dearer branch.
static Cost cost_if_else(const Op& op) {
  Cost a = body_cost(*op.graphs[0]), b = body_cost(*op.graphs[1]);
  return {max(a.flops, b.flops), max(a.bytes, b.bytes)};
}

OpDef def_if_else() {
  return {.onnx = "If",
      .family = Family::control,
      .min_operands = 1,
      .max_operands = -1,
      .infer = infer_if_else,
      .eval = eval_if_else,
      .cost = cost_if_else};
}

}  // namespace weft
