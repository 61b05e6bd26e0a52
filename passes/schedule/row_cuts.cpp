#include "passes/schedule/row_cuts.h"

#include <algorithm>

namespace weft {

static std::optional<RowCuts::Cut> cut_of(const Op& op, const Value& v, int d) {
  const Family family = op_def(op).family;
  // Attention has its rows' places among the keys; it and what is not a kernel stay whole.
  if (family == Family::attention || family == Family::control || (op_def(op).traits & (kHostOnly | kNondeterministic))) return std::nullopt;
  RowCuts::Cut c{rule_of(op), -1};
  auto find = [&](const Value* x, const ShardingRule::Dims& dims) {
    if (x == &v && c.factor < 0 && d < static_cast<int>(dims.size()))
      for (int f : dims[static_cast<size_t>(d)])
        if (!c.rule.factors[static_cast<size_t>(f)].size.is(1)) {
          c.factor = f;
          break;
        }
  };
  for (int i = 0; i < op.num_operands(); ++i) find(op.operands[i], c.rule.operands[i]);
  for (int r = 0; r < op.num_results(); ++r) find(op.result(r), c.rule.results[r]);
  if (c.factor < 0 || !c.rule.leads(c.factor)) return std::nullopt;
  const ShardingRule::Factor& f = c.rule.factors[static_cast<size_t>(c.factor)];
  if (f.role != ShardingRule::Role::parallel || !f.exchanged.is(0) || !f.size.is_const() || f.size.value() % kHalves) return std::nullopt;
  for (int r = 0; r < op.num_results(); ++r)
    if (c.rule.dim_of(c.rule.results[r], c.factor) < 0 || op.result(r)->known) return std::nullopt;
  return c;
}

template <class F>
static void for_each_cut(const Op& op, const RowCuts::Cut& c, F&& f) {
  auto see = [&](const Value* v, const ShardingRule::Dims& dims) {
    if (const int d = v ? c.rule.dim_of(dims, c.factor) : -1; d >= 0) f(v, d);
  };
  for (int i = 0; i < op.num_operands(); ++i) see(op.operands[i], c.rule.operands[i]);
  for (int r = 0; r < op.num_results(); ++r) see(op.result(r), c.rule.results[r]);
}

RowCuts::RowCuts(Graph& g, const Mesh& mesh) : g_(g), mesh_(mesh) {
  for (auto& op : g_.ops)
    if (waits_for_sum(*op) && outermost(*op->result()) >= 0) spread_from(*op);
  while (drop_exchanging()) {
  }
  keep_what_lies_around();
}

// The outermost dim of more than one element; -1: it is not fixed, or ranks do not share out halves of it.
int RowCuts::outermost(const Value& v) const {
  if (!v.type.is_ranked()) return -1;
  for (int d = 0; d < v.type.rank(); ++d) {
    const Dim& n = v.type.dim(d);
    if (n.is(1)) continue;
    int64_t parts = kHalves;
    if (!v.sharding.empty())
      for (const std::string& axis : v.sharding.dims[static_cast<size_t>(d)]) parts *= mesh_.axis_size(axis);
    return n.is_const() && n.value() > 0 && n.value() % parts == 0 ? d : -1;
  }
  return -1;
}

void RowCuts::spread_from(Op& op) {
  if (!take(op, *op.result(), outermost(*op.result()))) return;
  while (!spread_.empty()) {
    const Value* v = spread_.back();
    spread_.pop_back();
    if (v->def && !is_fixed(v)) take(*v->def, *v, rows_.at(v));
    for (const Use& u : v->uses) take(*u.op, *v, rows_.at(v));
  }
}

// Cuts op so that v is cut along dim d, where that is possible.
bool RowCuts::take(Op& op, const Value& v, int d) {
  if (cut_.count(&op) || op.graph != &g_) return false;
  std::optional<Cut> c = cut_of(op, v, d);
  if (!c || !agrees(op, *c)) return false;
  for_each_cut(op, *c, [&](const Value* x, int rows) {
    if (rows_.try_emplace(x, rows).second) spread_.push_back(x);
  });
  cut_.emplace(&op, std::move(*c));
  return true;
}

// Every tensor is cut along one dim, its rows.
bool RowCuts::agrees(const Op& op, const Cut& c) const {
  bool fine = true;
  for_each_cut(op, c, [&](const Value* v, int d) {
    auto it = rows_.find(v);
    fine = fine && (it == rows_.end() ? outermost(*v) == d : it->second == d);
  });
  return fine;
}

// Where a tensor passes between what is cut and what is not, ranks must not have shared out its rows: their parts of halves
// are others than of the whole. Whether an op had to go.
bool RowCuts::drop_exchanging() {
  auto shared = [&](const Value* v, int d) { return !v->sharding.empty() && !v->sharding.dims[static_cast<size_t>(d)].empty(); };
  return std::erase_if(cut_, [&](auto& entry) {
           bool bad = false;
           for_each_cut(*entry.first, entry.second, [&](const Value* v, int d) {
             if (!shared(v, d)) return;
             bad = bad || (v->def != entry.first && !cut_.count(v->def)) || v->is_output();
             for (const Use& u : v->uses) bad = bad || (v->def == entry.first && !cut_.count(u.op));
           });
           return bad;
         }) > 0;
}

template <class F>
void RowCuts::for_each_next(const Op& op, bool forward, F&& f) const {
  if (forward) {
    for (auto& r : op.results)
      for (const Use& u : r->uses)
        if (cut_.count(u.op)) f(*u.op);
  } else {
    for (const Value* v : op.operands)
      if (v && v->def && cut_.count(v->def)) f(*v->def);
  }
}

// The products that wait for sums, and what lies behind them up to the next products.
std::unordered_set<const Op*> RowCuts::around_sums() const {
  std::unordered_set<const Op*> out;
  std::vector<const Op*> next;
  for (auto& [op, cut] : cut_)
    if (waits_for_sum(*op)) next.push_back(op);
  while (!next.empty()) {
    const Op* op = next.back();
    next.pop_back();
    if (!out.insert(op).second || (is_product(*op) && !waits_for_sum(*op))) continue;
    for_each_next(*op, true, [&](const Op& o) { next.push_back(&o); });
  }
  return out;
}

void RowCuts::keep_what_lies_around() {
  std::unordered_set<const Op*> around = around_sums(), down, up;
  auto walk = [&](const Op& op, bool forward, std::unordered_set<const Op*>& side) {
    if (!cut_.count(&op)) return;
    bool any = around.count(&op);
    for_each_next(op, !forward, [&](const Op& o) { any = any || side.count(&o); });
    if (any) side.insert(&op);
  };
  for (auto& op : g_.ops) walk(*op, true, down);
  for (auto it = g_.ops.rbegin(); it != g_.ops.rend(); ++it) walk(**it, false, up);
  std::erase_if(cut_, [&](auto& c) { return !down.count(c.first) || !up.count(c.first); });
}

}  // namespace weft
