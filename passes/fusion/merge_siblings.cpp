// merge-siblings: products that share their left operand, with the same letters and constant right operands (the queries,
// keys and values of attention, the two branches of a gated layer), become one product with the weights side by side, and
// slices of its result. The wide product reads the shared operand once and keeps more of the machine busy.
#include <map>
#include <unordered_set>

#include "ir/ops/contract.h"
#include "ir/ops/move.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

// The last letter of the result is the weights' own, and the weights are a constant matrix in that letter and summed ones.
bool may_merge_product(const Op& op) {
  if (op.kind != OpKind::contract || !op.result()->type.is_ranked() || op.operand(3) || op.operand(4)) return false;
  auto spec = parse_contract(op.attr<ContractAttrs>().spec);
  if (!spec.ok() || spec->out.empty()) return false;
  char n = spec->out.back();
  const Value *w = op.operands[1], *bias = op.operand(2);
  if (spec->a.find(n) != std::string::npos || spec->b.find(n) == std::string::npos || !depends_on_constants(w)) return false;
  if (spec->b.size() != spec->sum.size() + 1 || !is_static(w->type.shape) || !op.result()->type.dim(-1).is_const()) return false;
  if (bias && (!depends_on_constants(bias) || bias->type.rank() != 1 || !(bias->type.dim(0) == op.result()->type.dim(-1)))) return false;
  return !(op.operands[0]->def && depends_on_constants(op.operands[0]));
}

// Products with equal keys can be merged.
std::string merge_key(const Op& op) {
  const ContractAttrs& a = op.attr<ContractAttrs>();
  std::string key = std::to_string(reinterpret_cast<size_t>(op.operands[0])) + " " + a.spec + " " + dtype_name(op.operands[1]->type.dtype) + " " +
                    dtype_name(op.result()->type.dtype) + " " + std::to_string(a.alpha) + (op.operand(2) ? " bias" : "") + (a.tf32 ? " tf32" : "");
  for (const Dim& d : op.operands[0]->type.shape) key += "," + d.to_string();
  return key;
}

Value* side_by_side(Builder& b, const std::vector<Op*>& ops, int operand, int axis) {
  std::vector<Value*> parts;
  for (Op* op : ops) parts.push_back(op->operands[operand]);
  ConcatAttrs c;
  c.axis = axis;
  return b.op(OpKind::concat, parts, c);
}

// What v is computed from, constants alone, moves before `before` where it stands behind.
void move_up(const Value* v, Op* before, std::unordered_set<const Op*>& behind) {
  if (!v || !v->def || !behind.erase(v->def)) return;
  for (const Value* x : v->def->operands) move_up(x, before, behind);
  auto& ops = before->graph->ops;
  ops.splice(before->self, ops, v->def->self);
}

void merge_products(const std::vector<Op*>& ops) {
  Op& first = *ops.front();
  std::unordered_set<const Op*> behind;
  for (auto it = first.self; it != first.graph->ops.end(); ++it) behind.insert(it->get());
  for (Op* op : ops) {
    move_up(op->operands[1], &first, behind);
    move_up(op->operand(2), &first, behind);
  }
  auto spec = parse_contract(first.attr<ContractAttrs>().spec);
  int rank = first.result()->type.rank();
  Builder b = build_before(first, ops);
  std::vector<Value*> operands = {first.operands[0], side_by_side(b, ops, 1, static_cast<int>(spec->b.find(spec->out.back())))};
  if (first.operand(2)) operands.push_back(side_by_side(b, ops, 2, 0));
  Value* wide = b.op(OpKind::contract, operands, first.attrs->clone());
  int64_t at = 0;
  for (Op* op : ops) {
    int64_t n = op->result()->type.dim(-1).value();
    b.provenance = op->provenance;
    Value* part = b.op(OpKind::slice, {wide, b.ints({at}), b.ints({at + n}), b.ints({rank - 1})});
    part->name = op->result()->name;
    op->graph->replace_uses(op->result(), part);
    at += n;
  }
}

bool merge_siblings(Graph& g) {
  std::map<std::string, size_t> places;
  std::vector<std::vector<Op*>> groups;
  for (auto& op : g.ops) {
    if (!may_merge_product(*op)) continue;
    auto [it, fresh] = places.emplace(merge_key(*op), groups.size());
    if (fresh) groups.emplace_back();
    groups[it->second].push_back(op.get());
  }
  bool changed = false;
  for (auto& ops : groups) {
    if (ops.size() < 2) continue;
    merge_products(ops);
    changed = true;
  }
  for (auto& op : g.ops)
    for (auto& sub : op->graphs) changed = merge_siblings(*sub) || changed;
  return changed;
}

}  // namespace

Result<bool> pass_merge_siblings(Module& m, PassContext&) {
  bool changed = false;
  for (auto& g : m.graphs) changed = merge_siblings(*g) || changed;
  return changed;
}

}  // namespace weft
