// Runs a graph op by op. Values are dropped after their last use. What inference took for granted of an op's dims is checked
// before it runs, and every result is held against the type that inference gave it: a dtype that differs is our bug; dims
// that differ mean that the model's declared shapes and its data disagree.
#include "ir/eval/evaluator.h"

#include <unordered_map>

namespace weft {

namespace {
// A graph and what it knows of the graphs around it: symbols keep their meaning inside.
struct Surroundings {
  const EvalOptions& options;
  const SymbolValues& symbols;
};
}  // namespace
static Result<std::vector<HostValue>> evaluate_in(const Surroundings& around, const Graph& g, std::vector<HostValue> inputs);

static Result<std::vector<HostValue>> run_nested(const Graph& g, std::vector<HostValue> inputs, void* state) {
  return evaluate_in(*static_cast<const Surroundings*>(state), g, std::move(inputs));
}

static Result<std::vector<HostValue>> run_op(const Op& op, std::vector<const HostValue*> inputs, const Surroundings& around) {
  static const HostValue kAbsent;
  for (const HostValue*& v : inputs)
    if (!v) v = &kAbsent;
  EvalCall call{op, std::move(inputs), run_nested, const_cast<Surroundings*>(&around), &around.symbols, around.options.ranks};
  const OpDef& def = op_def(op);
  Result<std::vector<HostValue>> out = [&]() -> Result<std::vector<HostValue>> {
    if (def.eval) return def.eval(call);
    if (def.family != Family::fused || op.graphs.empty())
      return unsupported(std::string("the reference evaluator has no rule for op ") + op_name(op.kind));
    std::vector<HostValue> in;
    for (const HostValue* v : call.in) in.push_back(*v);
    return evaluate_in(around, *op.graphs[0], std::move(in));
  }();
  if (!out.ok()) {
    Error e = std::move(out.error());
    e.at_node(op.describe());
    return e;
  }
  CHECK(static_cast<int>(out->size()) >= op.num_results());
  out->resize(op.num_results());
  return out;
}

Result<std::vector<HostValue>> evaluate_op(const Op& op, std::vector<const HostValue*> inputs, const SymbolValues& symbols) {
  return run_op(op, std::move(inputs), {EvalOptions(), symbols});
}

static std::string dims_text(const Tensor& t) { return std::string(dtype_name(t.dtype)) + "[" + shape_text(to_shape(t.dims)) + "]"; }

// Whether t's dims are those of `type`; symbols met for the first time take their value from t.
static bool dims_fit(const Type& type, const Tensor& t, SymbolValues& symbols) {
  if (!type.ranked) return true;
  if (type.rank() != t.rank()) return false;
  for (int i = 0; i < t.rank(); ++i)
    if (type.shape[i].is_symbol()) symbols.emplace(type.shape[i].symbol_name(), t.dims[i]);
  for (int i = 0; i < t.rank(); ++i) {
    std::optional<int64_t> d = type.shape[i].eval(symbols);
    if (d && *d != t.dims[i]) return false;
  }
  return true;
}

static Status check_inputs(const Graph& g, const std::vector<HostValue>& inputs, SymbolValues& symbols) {
  if (inputs.size() != g.inputs.size())
    return usage("graph " + g.name + " takes " + std::to_string(g.inputs.size()) + " inputs, got " + std::to_string(inputs.size()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Type& type = g.inputs[i]->type;
    if (inputs[i].kind != HostValue::Kind::tensor || !type.is_tensor()) continue;
    const Tensor& t = inputs[i].tensor;
    if (t.dtype == type.dtype && dims_fit(type, t, symbols)) continue;
    Error e = usage("input of type " + type.to_string() + " got " + dims_text(t));
    e.at_tensor(g.inputs[i]->name);
    return e;
  }
  return {};
}

static Status check_assumed(const Op& op, const SymbolValues& symbols) {
  for (const Assumption& a : op.assumed) {
    std::optional<int64_t> holds = a.condition.eval(symbols);
    if (!holds || *holds > 0) continue;
    return invalid(a.text + " (" + symbol_text(a.condition, symbols) + ")").at_node(op.describe());
  }
  return {};
}

static Status check_results(const Op& op, const std::vector<HostValue>& results, SymbolValues& symbols) {
  for (int i = 0; i < op.num_results(); ++i) {
    const Type& type = op.results[i]->type;
    if (results[i].kind != HostValue::Kind::tensor || !type.is_tensor()) continue;
    const Tensor& t = results[i].tensor;
    CHECK(t.dtype == type.dtype);
    if (dims_fit(type, t, symbols)) continue;
    Error e = invalid("result " + std::to_string(i) + " was inferred as " + type.to_string() + " and is " + dims_text(t));
    e.at_node(op.describe()).at_tensor(op.results[i]->name);
    return e;
  }
  return {};
}

namespace {
struct Slot {
  HostValue value;
  int64_t uses = 0;  // operand uses still to come; graph outputs count as one that never comes
};
using Slots = std::unordered_map<const Value*, Slot>;
}  // namespace

static Slots count_uses(const Graph& g) {
  Slots slots;
  for (const auto& op : g.ops)
    for (const Value* v : op->operands)
      if (v) ++slots[v].uses;
  for (const Value* v : g.outputs) ++slots[v].uses;
  return slots;
}

static void define(Slots& slots, const Value* v, HostValue value) {
  auto it = slots.find(v);
  if (it != slots.end()) it->second.value = std::move(value);
}

static Result<std::vector<HostValue>> evaluate_in(const Surroundings& around, const Graph& g, std::vector<HostValue> inputs) {
  const EvalOptions& options = around.options;
  SymbolValues symbols = around.symbols;
  TRY(check_inputs(g, inputs, symbols));
  Slots slots = count_uses(g);
  for (size_t i = 0; i < inputs.size(); ++i) define(slots, g.inputs[i].get(), std::move(inputs[i]));
  inputs.clear();
  for (const auto& op : g.ops) {
    if (options.cancel && options.cancel->load(std::memory_order_relaxed)) return error(Code::kCancelled, "the evaluation was cancelled");
    std::vector<const HostValue*> in;
    for (const Value* v : op->operands) in.push_back(v ? &slots.at(v).value : nullptr);
    TRY(check_assumed(*op, symbols));
    TRY_ASSIGN(std::vector<HostValue> results, run_op(*op, in, {options, symbols}));
    TRY(check_results(*op, results, symbols));
    if (options.observe) options.observe(*op, results, options.observe_state);
    for (const Value* v : op->operands)
      if (v && --slots.at(v).uses == 0) slots.at(v).value = HostValue();
    for (int i = 0; i < op->num_results(); ++i) define(slots, op->result(i), std::move(results[i]));
  }
  std::vector<HostValue> out;
  for (const Value* v : g.outputs) out.push_back(v ? slots.at(v).value : HostValue());
  return out;
}

Result<std::vector<HostValue>> evaluate(const Graph& g, std::vector<HostValue> inputs, const EvalOptions& options) {
  return evaluate_in({options, options.symbols}, g, std::move(inputs));
}

}  // namespace weft
