// if_else as an `if` of two regions. A result that both branches return lies in one tensor; where only the branch decides
// its size, each branch sets the size, allocates the tensor and fills it.
#include "codegen/lower/control.h"

#include <algorithm>

#include "ir/ops/control.h"

namespace weft {

Status bind_captures(Lowering& l, Op& op, int first_operand, Graph& body, int first_input) {
  for (int i = first_operand; i < op.num_operands(); ++i) {
    Value* in = body.inputs[first_input + i - first_operand].get();
    TRY_ASSIGN(l.tensors[in], l.tensor(op.operands[i]));
  }
  return {};
}

void set_result_dims(Lowering& l, const Value* result, const Shape& dims) {
  const Shape& had = result->type.shape;
  for (size_t k = 0; k < had.size() && k < dims.size(); ++k)
    if (had[k].is_symbol() && !l.is_bound(had[k]) && !(had[k] == dims[k])) l.set_symbol(had[k].symbol_name(), dims[k]);
}

// What a body computes into `place` at once, instead of being copied there.
static bool computed_in(const Lowering& l, const Graph& body, const Value* out, int place) {
  return out->def && out->graph == &body && !constant_of(out) && !known_of(out) && !l.tensors.count(out) && out->def->kind != OpKind::prepared &&
         out->type.is_ranked() && out->type.shape == l.out.plan.tensors[place].dims && !l.late(numel(out->type.shape));
}

// One branch, in the commands of now: its outputs end up in the results' tensors.
static Status lower_branch(Lowering& l, Op& op, Graph& body) {
  std::vector<const Value*> direct;
  for (size_t r = 0; r < op.results.size(); ++r) {
    Value* out = body.outputs[r];
    auto place = l.tensors.find(op.results[r].get());
    if (place == l.tensors.end() || !computed_in(l, body, out, place->second)) continue;
    l.tensors[out] = place->second;
    direct.push_back(op.results[r].get());
  }
  TRY(l.graph(body));
  for (size_t r = 0; r < op.results.size(); ++r) {
    Value* result = op.results[r].get();
    set_result_dims(l, result, body.outputs[r]->type.shape);
    if (!l.needed.count(result) || std::find(direct.begin(), direct.end(), result) != direct.end()) continue;
    TRY_ASSIGN(int from, l.tensor(body.outputs[r]));
    l.copy(from, l.result(result));
  }
  return {};
}

static Status lower_if(Lowering& l, Op& op) {
  for (auto& body : op.graphs) TRY(bind_captures(l, op, 1, *body, 0));
  const std::vector<Dim>* known = known_of(op.operands[0]);
  bool decided = known && known->size() == 1 && (*known)[0].is_const();
  TRY_ASSIGN(int cond, decided ? Result<int>(-1) : l.tensor(op.operands[0]));
  for (auto& r : op.results)
    if (l.needed.count(r.get()) && !l.tensors.count(r.get())) l.new_tensor(r.get());
  if (decided) return lower_branch(l, op, *op.graphs[(*known)[0].value() ? 0 : 1]);
  std::vector<std::unique_ptr<Region>> regions;
  std::set<std::string> bound = l.bound;
  std::set<int> unallocated = l.unallocated;
  std::vector<std::string> nodes = l.nodes;
  for (auto& body : op.graphs) {
    l.bound = bound;
    l.unallocated = unallocated;
    regions.push_back(std::make_unique<Region>());
    auto* outside = std::exchange(l.commands, &regions.back()->commands);
    Status s = lower_branch(l, op, *body);
    l.commands = outside;
    TRY(s);
  }
  l.bound = bound;
  l.unallocated = unallocated;
  l.nodes = nodes;
  for (auto& r : op.results) {
    for (const Dim& d : r->type.shape)
      for (const std::string& s : d.symbols()) l.bound.insert(s);
    if (l.tensors.count(r.get())) l.unallocated.erase(l.plan().tensors[l.tensors[r.get()]].buffer);
  }
  Command& c = l.command(CommandKind::if_then);
  c.tensors = {cond};
  c.regions = std::move(regions);
  return {};
}

Result<bool> Lowering::control(Op& op) {
  if (op.kind == OpKind::if_else) {
    TRY(lower_if(*this, op));
    return true;
  }
  if (op.kind == OpKind::reject) {
    check_positive(0, op.attr<RejectAttrs>().text);
    fill(result(op.result()), 0);  // for the plan's verifier: what is read was written
    return true;
  }
  if (op.kind == OpKind::loop || op.kind == OpKind::scan) {
    TRY(op.kind == OpKind::loop ? lower_loop(*this, op) : lower_scan(*this, op));
    return true;
  }
  return false;
}

}  // namespace weft
