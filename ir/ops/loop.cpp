// loop: a body that runs a number of times, while a condition holds, or both.
#include "ir/ops/control.h"
#include "ir/ops/move.h"

namespace weft {

static constexpr int kLoopFixed = 2;  // trip count and condition; iteration number and condition inside

static Status check_loop_counts(const Op& op) {
  TRY(need_body(op, 1));
  const Graph& body = *op.graphs[0];
  int64_t carried = op.attr<LoopAttrs>().num_carried;
  if (op.num_operands() < kLoopFixed) return invalid("loop lacks its trip count and condition operands");
  if (carried < 0 || carried > op.num_operands() - kLoopFixed)
    return invalid("loop carries " + std::to_string(carried) + " values, but has not so many operands");
  if (body.inputs.size() != op.operands.size())
    return invalid("the body of loop takes " + std::to_string(body.inputs.size()) + " values, the op has " +
                   std::to_string(op.operands.size()) + " operands");
  if (body.outputs.size() != op.results.size() + 1 || static_cast<int64_t>(op.results.size()) < carried)
    return invalid("the body of loop returns " + std::to_string(body.outputs.size()) + " values, the op has " +
                   std::to_string(op.results.size()) + " results");
  for (int i : {0, 1}) {
    if (!has_operand(op, i)) continue;
    const Type& t = type_of(op, i);
    bool right = t.is_tensor() && (i == 0 ? is_int(t.dtype) : t.dtype == DType::b1) && (!t.ranked || !is_static(t.shape) || numel(t.shape).is(1));
    if (!right) return invalid(std::string(i == 0 ? "the trip count must be an integer, is " : "the condition must be a bool, is ") + t.to_string());
  }
  const Value* cond = body.outputs[0];
  if (!cond) return invalid("the body of loop returns no condition");
  return {};
}

static bool known_true(const Value* v) {
  const std::vector<Dim>* known = known_of(v);
  return known && known->size() == 1 && (*known)[0].is_const() && (*known)[0].value() != 0;
}
static bool known_false(const Value* v) {
  const std::vector<Dim>* known = known_of(v);
  return known && known->size() == 1 && (*known)[0].is(0);
}

// How often the body runs, where that is exact.
static std::optional<Dim> exact_trips(const Op& op, const SymbolTable& symbols) {
  if (has_operand(op, 1) && known_false(op.operands[1])) return Dim(0);
  if (has_operand(op, 1) && !known_true(op.operands[1])) return std::nullopt;
  if (!has_operand(op, 0) || !known_true(op.graphs[0]->outputs[0])) return std::nullopt;
  const std::vector<Dim>* trips = known_of(op.operands[0]);
  if (!trips || trips->size() != 1) return std::nullopt;
  const Dim& n = (*trips)[0];
  return known_ge(n, 0, symbols) ? n : max(n, Dim(0));
}
// Whether the body runs at least once.
static bool enters(const Op& op, const SymbolTable& symbols) {
  if (has_operand(op, 1) && !known_true(op.operands[1])) return false;
  if (!has_operand(op, 0)) return true;
  const std::vector<Dim>* trips = known_of(op.operands[0]);
  return trips && trips->size() == 1 && known_ge((*trips)[0], 1, symbols);
}

static Status infer_loop_results(Op& op, InferContext& cx) {
  const Graph& body = *op.graphs[0];
  int carried = static_cast<int>(op.attr<LoopAttrs>().num_carried);
  std::set<std::string> shared = shared_symbols(op);
  bool entered = enters(op, cx.module.symbols);
  std::optional<Dim> trips = exact_trips(op, cx.module.symbols);
  for (int r = 0; r < op.num_results(); ++r) {
    const Value* out = body.outputs[1 + r];
    if (!out) return invalid("the body of loop does not return value " + std::to_string(1 + r));
    bool scan = r >= carried;
    OtherDim other = [&](int d) { return outer_dim(op, r, d + scan, shared, cx); };
    Type t = out->type;
    // With no iteration the value is the one that went in.
    if (!scan && !entered) {
      TRY_ASSIGN(t, join_types(type_of(op, kLoopFixed + r), t, other));
    }
    t = escape_type(t, shared, other);
    if (scan) {
      if (!t.is_tensor()) return invalid("a scan output must be a tensor, is " + t.to_string());
      t.layout = Layout();
      if (t.ranked) t.shape.insert(t.shape.begin(), trips ? *trips : data_dim(op, r, 0, cx));
    }
    set_type(op, r, std::move(t));
  }
  return {};
}

static Status infer_loop(Op& op, InferContext& cx) {
  TRY(check_loop_counts(op));
  Graph& body = *op.graphs[0];
  int carried = static_cast<int>(op.attr<LoopAttrs>().num_carried);
  BodyInputs inputs(body);
  inputs.set(0, Type::tensor(DType::i64, {}));
  // Inside, the condition always holds.
  inputs.set(1, Type::tensor(DType::b1, {}), std::make_shared<const std::vector<Dim>>(1, Dim(1)));
  for (int i = kLoopFixed + carried; i < op.num_operands(); ++i) {
    if (!op.operands[i]) return invalid("a capture is absent");
    inputs.pass(i, *op.operands[i]);
  }
  TRY(infer_carried(op, inputs, {carried, kLoopFixed, kLoopFixed, 1}, cx));
  const Type& cond = body.outputs[0]->type;
  if (!cond.is_tensor() || cond.dtype != DType::b1) return invalid("the body of loop must return a bool first, returns " + cond.to_string());
  if (!has_operand(op, 0) && known_true(body.outputs[0]) && (!has_operand(op, 1) || known_true(op.operands[1])))
    return invalid("the loop never ends");
  return infer_loop_results(op, cx);
}

static Result<bool> loop_condition(const HostValue& v) {
  CHECK(v.kind == HostValue::Kind::tensor);
  if (v.tensor.numel() != 1) return invalid("the condition of loop must be one element, has " + std::to_string(v.tensor.numel()));
  return load_all<int64_t>(v.tensor)[0] != 0;
}
static HostValue loop_scalar(DType t, int64_t v) {
  auto r = store_all(t, {}, std::vector<int64_t>{v});
  CHECK(r.ok());
  return std::move(*r);
}

static Result<std::vector<HostValue>> eval_loop(EvalCall& call) {
  const Op& op = call.op;
  const Graph& body = *op.graphs[0];
  size_t carried = static_cast<size_t>(op.attr<LoopAttrs>().num_carried), scans = op.results.size() - carried;
  int64_t trips = INT64_MAX;
  if (call.has(0)) {
    TRY_ASSIGN(trips, int_scalar(call, 0));
  }
  bool going = true;
  if (call.has(1)) {
    TRY_ASSIGN(going, loop_condition(*call.in[1]));
  }
  std::vector<HostValue> values;
  for (size_t k = 0; k < carried; ++k) values.push_back(*call.in[kLoopFixed + k]);
  std::vector<std::vector<Tensor>> collected(scans);
  for (int64_t i = 0; i < trips && going; ++i) {
    std::vector<HostValue> in{loop_scalar(DType::i64, i), loop_scalar(DType::b1, 1)};
    in.insert(in.end(), std::make_move_iterator(values.begin()), std::make_move_iterator(values.end()));
    for (size_t k = kLoopFixed + carried; k < call.in.size(); ++k) in.push_back(*call.in[k]);
    TRY_ASSIGN(std::vector<HostValue> out, call.run_graph(body, std::move(in), call.state));
    TRY_ASSIGN(going, loop_condition(out[0]));
    values.assign(std::make_move_iterator(out.begin() + 1), std::make_move_iterator(out.begin() + 1 + carried));
    for (size_t s = 0; s < scans; ++s) collected[s].push_back(std::move(out[1 + carried + s].tensor));
  }
  SymbolValues symbols = symbol_values(op, call.in);
  for (size_t s = 0; s < scans; ++s) {
    const Type& slice = body.outputs[1 + carried + s]->type;
    TRY_ASSIGN(Tensor t, stack_slices(collected[s], 0, false, slice.dtype, dims_under(slice, symbols)));
    values.push_back(std::move(t));
  }
  return values;
}

static Cost cost_loop(const Op& op) {
  Cost c = body_cost(*op.graphs[0]);
  std::optional<Dim> trips = exact_trips(op, op.graph->module->symbols);
  return trips ? Cost{*trips * c.flops, *trips * c.bytes} : c;
}

OpDef def_loop() {
  return {.onnx = "Loop", .family = Family::control, .min_operands = 0, .max_operands = -1, .attrs = make_attrs<LoopAttrs>, .infer = infer_loop,
          .eval = eval_loop, .cost = cost_loop};
}

}  // namespace weft
