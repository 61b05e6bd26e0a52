#include "passes/rewrite/rewrite.h"

#include <algorithm>
#include <set>

#include "ir/ops/move.h"
#include "ir/ops/sharding.h"
#include "ir/ops/structure.h"

namespace weft {

bool is_dead(const Op& op) {
  for (auto& r : op.results)
    if (!r->unused()) return false;
  return !op.results.empty();
}

// Erases the ops that are dead, and what dies with them. All of them stand at or before the op at hand.
static void erase_dead(std::set<Op*> ops) {
  while (!ops.empty()) {
    Op* op = ops.extract(ops.begin()).value();
    if (!is_dead(*op)) continue;
    for (Value* v : op->operands)
      if (v && v->def) ops.insert(v->def);
    op->graph->erase(op);
  }
}

bool rewrite_graph(Graph& g, const RewriteRule& rule) {
  bool changed = false;
  walk(g, [&](Op* op) {
    for (auto& sub : op->graphs) changed = rewrite_graph(*sub, rule) || changed;
    if (is_dead(*op)) return;
    std::set<Op*> touched{op};
    for (Value* v : op->operands)
      if (v && v->def) touched.insert(v->def);
    if (!rule(*op)) return;
    changed = true;
    erase_dead(std::move(touched));
  });
  return changed;
}
bool rewrite_ops(Module& m, const RewriteRule& rule) {
  bool changed = m.prepare && rewrite_graph(*m.prepare, rule);
  for (auto& g : m.graphs) changed = rewrite_graph(*g, rule) || changed;
  return changed;
}

bool same_type(const Type& a, const Type& b) {
  if (a.kind != b.kind || a.dtype != b.dtype || a.ranked != b.ranked || a.shape != b.shape) return false;
  if (a.elem || b.elem) return a == b;
  return true;
}

bool replace_op(Op& op, const std::vector<Value*>& with) {
  for (int i = 0; i < op.num_results(); ++i) {
    Value *from = op.result(i), *to = i < static_cast<int>(with.size()) ? with[i] : nullptr;
    if (to ? !same_type(from->type, to->type) : !from->unused()) return false;
  }
  for (int i = 0; i < op.num_results() && i < static_cast<int>(with.size()); ++i) {
    if (!with[i]) continue;
    if (with[i]->def) merge_provenance(with[i]->def->provenance, op.provenance);
    if (with[i]->name.empty() || op.result(i)->is_output()) {
      if (with[i]->def && !op.result(i)->name.empty()) with[i]->name = op.result(i)->name;
    }
    op.graph->replace_uses(op.result(i), with[i]);
  }
  return true;
}

Builder build_before(Op& at, const std::vector<Op*>& ops) {
  Builder b(at.graph, &at);
  for (Op* op : ops) merge_provenance(b.provenance, op->provenance);
  merge_provenance(b.provenance, at.provenance);
  return b;
}
Value* try_build(Builder& b, OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs) {
  auto op = b.create(kind, std::move(operands), std::move(attrs));
  return op.ok() ? (*op)->result() : nullptr;
}

Op* def_of(const Value* v, OpKind kind) { return v && v->def && v->def->kind == kind ? v->def : nullptr; }
bool has_one_use(const Value* v) { return v->uses.size() == 1 && !v->is_output(); }

Value* dims_of(Builder& b, Value* v, int from, int to) {
  ShapeAttrs a;
  a.start = from;
  a.has_end = true;
  a.end = to;
  return b.op(OpKind::shape, {v}, a);
}
Value* regroup_dims(Builder& b, Value* v, int axis, int count, const std::vector<int64_t>& dims) {
  int rank = v->type.rank();
  std::vector<Value*> parts;
  auto keep = [&](int from, int to) {
    if (from >= to) return;
    Shape kept(v->type.shape.begin() + from, v->type.shape.begin() + to);
    parts.push_back(is_static(kept) ? b.ints(static_dims(kept)) : dims_of(b, v, from, to));
  };
  keep(0, axis);
  parts.push_back(b.ints(dims));
  keep(axis + count, rank);
  Value* shape = parts[0];
  if (parts.size() > 1) {
    ConcatAttrs c;
    shape = b.op(OpKind::concat, parts, c);
  }
  return b.op(OpKind::reshape, {v, shape});
}

// A look at `budget` values at most: chains over constants are short, since they fold.
static bool depends_on_constants(const Value* v, int& budget) {
  if (!v->def || --budget < 0) return false;
  const Op& op = *v->def;
  if (op.kind == OpKind::constant || op.kind == OpKind::prepared || depends_on_rank_alone(op)) return true;
  if (op.operands.empty() || !op.graphs.empty() || has_trait(op, kNondeterministic)) return false;
  return std::all_of(op.operands.begin(), op.operands.end(), [&](const Value* x) { return !x || depends_on_constants(x, budget); });
}
bool depends_on_constants(const Value* v) {
  int budget = 64;
  return depends_on_constants(v, budget);
}

std::optional<double> uniform_value(const Value* v) {
  const Constant* c = constant_of(v);
  if (!c || c->source == Constant::Source::strings || c->numel() < 1 || is_complex(c->dtype)) return std::nullopt;
  bool one = c->numel() == 1, splat = c->source == Constant::Source::splat && (c->dims.size() <= 1 || !is_float(c->dtype));
  if (!one && !splat) return std::nullopt;
  bool ok;
  std::vector<double> x = constant_floats(*c, one ? 1 : 1 << 16, &ok);
  return ok ? std::optional<double>(x[0]) : std::nullopt;
}
bool is_uniform(const Value* v, double x) {
  auto u = uniform_value(v);
  return u && *u == x;
}
std::optional<WithNumber> with_number(const Op& op) {
  if (op.num_operands() != 2) return std::nullopt;
  for (int i = 1; i >= 0; --i)
    if (auto x = uniform_value(op.operands[i])) return WithNumber{op.operands[1 - i], *x, i};
  return std::nullopt;
}

void put_in_order(Graph& g, const std::vector<Op*>& order) {
  auto move_to_end = [&](Op* op) { g.ops.splice(g.ops.end(), g.ops, op->self); };
  std::set<Op*> placed;
  for (Op* op : order) {
    for (Value* v : op->operands)
      if (v && v->def && is_ready_made(*v->def) && placed.insert(v->def).second) move_to_end(v->def);
    move_to_end(op);
  }
  // What only outputs read.
  std::vector<Op*> rest;
  for (auto& op : g.ops)
    if (is_ready_made(*op) && !placed.count(op.get())) rest.push_back(op.get());
  for (Op* op : rest) move_to_end(op);
}

}  // namespace weft
