// merge-siblings: products that share their left operand, with the same letters and constant right operands (the queries,
// keys and values of attention, the two branches of a gated layer), become one product with the weights side by side, and
// slices of its result. The wide product reads the shared operand once and keeps more of the machine busy. Weights that stay
// quantised lie side by side as they are, with their scales and zero points.
#include <map>
#include <unordered_set>

#include "ir/ops/contract.h"
#include "ir/ops/move.h"
#include "ir/ops/quantize.h"
#include "passes/fusion/roles.h"
#include "passes/rewrite/rewrite.h"

namespace weft {

namespace {

// The op that dequantises the product's weights as they are read; null: there is none.
Op* dequantise_of(const Op& product) {
  Op* d = def_of(product.operands[1], OpKind::dequantize_linear);
  return d && stays_quantised(*d) ? d : nullptr;
}
// Whether each row along dim n of the weights has scales of its own.
bool has_scales_along(const Op& dequantise, int n) {
  const DequantizeAttrs& a = dequantise.attr<DequantizeAttrs>();
  Facts facts;
  auto map = scale_map(dequantise.operands[0]->type.shape, dequantise.operands[1]->type.shape, a.axis, a.block_size, facts);
  return map.ok() && (map->kind == ScaleMap::Kind::axis ? map->axis == n : map->kind == ScaleMap::Kind::blocks && map->axis != n);
}

// The last letter of the result is the weights' own, and the weights are a constant matrix in that letter and summed ones.
bool may_merge_product(const Op& op) {
  if (op.kind != OpKind::contract || !op.result()->type.is_ranked() || op.operand(3) || op.operand(4)) return false;
  auto spec = parse_contract(op.attr<ContractAttrs>().spec);
  if (!spec.ok() || spec->out.empty()) return false;
  char n = spec->out.back();
  const Value *w = op.operands[1], *bias = op.operand(2);
  if (spec->a.find(n) != std::string::npos || spec->b.find(n) == std::string::npos || !depends_on_constants(w)) return false;
  if (const Op* d = dequantise_of(op); d && !(has_one_use(w) && has_scales_along(*d, static_cast<int>(spec->b.find(n))))) return false;
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
  if (const Op* d = dequantise_of(op)) {
    const DequantizeAttrs& q = d->attr<DequantizeAttrs>();
    key += " of";
    for (const Value* v : d->operands) key += v ? std::string(" ") + dtype_name(v->type.dtype) + "^" + std::to_string(v->type.rank()) : " none";
    key += " by " + std::to_string(q.axis) + "," + std::to_string(q.block_size);
  }
  return key;
}

Value* side_by_side(Builder& b, const std::vector<Op*>& ops, int operand, int axis) {
  std::vector<Value*> parts;
  for (Op* op : ops) parts.push_back(op->operands[operand]);
  ConcatAttrs c;
  c.axis = axis;
  return b.op(OpKind::concat, parts, c);
}
// The weights of all, along dim n.
Value* weights_of(Builder& b, const std::vector<Op*>& products, int n) {
  const Op* first = dequantise_of(*products.front());
  if (!first) return side_by_side(b, products, 1, n);
  std::vector<Op*> all;
  for (Op* op : products) all.push_back(dequantise_of(*op));
  std::vector<Value*> operands{side_by_side(b, all, 0, n)};
  const int along = first->operands[1]->type.rank() == 1 ? 0 : n;  // in scales and zero points
  for (int i = 1; i < first->num_operands(); ++i) operands.push_back(first->operands[i] ? side_by_side(b, all, i, along) : nullptr);
  return b.op(OpKind::dequantize_linear, operands, first->attrs->clone());
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
  std::vector<Value*> operands = {first.operands[0], weights_of(b, ops, static_cast<int>(spec->b.find(spec->out.back())))};
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
