// overlap-collectives: cuts the work around large sums over ranks in two halves of rows, which are independent of each other, so
// that one half computes while the other one is exchanged:
//
//   product (waits for a sum) -> norm -> product       product 0 -> norm 0 -> product 0
//                                                      product 1 -> norm 1 -> product 1
//
// Which dims are rows, ops' sharding rules say: a half is a part like a rank's, but that the same rank computes both. Cut is
// what lies between the product that waits for a sum and the products behind it; where those wait for sums, too, all in
// between. Rows are the outermost dim, so that halves of a tensor lie one behind the other. Both halves of all that is cut must
// take less time, exchanges beside computing, than the whole one after the other.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "ir/base/check.h"
#include "ir/ops/move.h"
#include "passes/pass_manager.h"
#include "passes/shard/cost.h"
#include "passes/shard/forms.h"

namespace weft {

namespace {

constexpr int kHalves = 2;

// The outermost dim of more than one element; -1: it is not fixed, or ranks do not share out halves of it.
int rows_of(const Value& v, const Mesh& mesh) {
  if (!v.type.is_ranked()) return -1;
  for (int d = 0; d < v.type.rank(); ++d) {
    const Dim& n = v.type.dim(d);
    if (n.is(1)) continue;
    int64_t parts = kHalves;
    if (!v.sharding.empty())
      for (const std::string& axis : v.sharding.dims[static_cast<size_t>(d)]) parts *= mesh.axis_size(axis);
    return n.is_const() && n.value() > 0 && n.value() % parts == 0 ? d : -1;
  }
  return -1;
}
bool waits_for_sum(const Op& op) { return op.num_results() == 1 && !op.result()->sharding.partial.empty(); }

class Halving {
 public:
  Halving(Graph& g, const Mesh& mesh, const ShardingCosts& costs) : g_(g), mesh_(mesh), costs_(costs) {}

  bool run() {
    for (auto& op : g_.ops)
      if (waits_for_sum(*op) && rows_of(*op->result(), mesh_) >= 0) spread_from(*op);
    while (drop_exchanging()) {
    }
    keep_what_lies_around();
    if (cut_.empty() || !pays()) return false;
    std::vector<Op*> order;
    for (auto& op : g_.ops)
      if (cut_.count(op.get())) order.push_back(op.get());
    for (Op* op : order) halve(*op);
    return true;
  }

 private:
  struct Cut {
    ShardingRule rule;
    int factor;
  };

  // --- what can be cut -------------------------------------------------------------------------------------------------

  void spread_from(Op& op) {
    if (!take(op, *op.result(), rows_of(*op.result(), mesh_))) return;
    while (!spread_.empty()) {
      const Value* v = spread_.back();
      spread_.pop_back();
      if (v->def && !is_fixed(v)) take(*v->def, *v, rows_.at(v));
      for (const Use& u : v->uses) take(*u.op, *v, rows_.at(v));
    }
  }

  // Cuts op so that v is cut along dim d, where that is possible.
  bool take(Op& op, const Value& v, int d) {
    if (cut_.count(&op) || op.graph != &g_) return false;
    std::optional<Cut> c = cut_of(op, v, d);
    if (!c || !agrees(op, *c)) return false;
    for_each_cut(op, *c, [&](const Value* x, int rows) {
      if (rows_.try_emplace(x, rows).second) spread_.push_back(x);
    });
    cut_.emplace(&op, std::move(*c));
    return true;
  }

  static std::optional<Cut> cut_of(const Op& op, const Value& v, int d) {
    const Family family = op_def(op).family;
    // Attention has its rows' places among the keys; it and what is not a kernel stay whole.
    if (family == Family::attention || family == Family::control || (op_def(op).traits & (kHostOnly | kNondeterministic))) return std::nullopt;
    Cut c{rule_of(op), -1};
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
  static void for_each_cut(const Op& op, const Cut& c, F&& f) {
    auto see = [&](const Value* v, const ShardingRule::Dims& dims) {
      if (const int d = v ? c.rule.dim_of(dims, c.factor) : -1; d >= 0) f(v, d);
    };
    for (int i = 0; i < op.num_operands(); ++i) see(op.operands[i], c.rule.operands[i]);
    for (int r = 0; r < op.num_results(); ++r) see(op.result(r), c.rule.results[r]);
  }

  // Every tensor is cut along one dim, its rows.
  bool agrees(const Op& op, const Cut& c) const {
    bool fine = true;
    for_each_cut(op, c, [&](const Value* v, int d) {
      auto it = rows_.find(v);
      fine = fine && (it == rows_.end() ? rows_of(*v, mesh_) == d : it->second == d);
    });
    return fine;
  }

  // Where a tensor passes between what is cut and what is not, ranks must not have shared out its rows: their parts of halves
  // are others than of the whole. Whether an op had to go.
  bool drop_exchanging() {
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

  // --- what is worth it ------------------------------------------------------------------------------------------------

  static bool is_heavy(const Op& op) { return op_def(op).family == Family::contraction; }
  template <class F>
  void for_each_next(const Op& op, bool forward, F&& f) const {
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
  std::unordered_set<const Op*> around_sums() const {
    std::unordered_set<const Op*> out;
    std::vector<const Op*> next;
    for (auto& [op, cut] : cut_)
      if (waits_for_sum(*op)) next.push_back(op);
    while (!next.empty()) {
      const Op* op = next.back();
      next.pop_back();
      if (!out.insert(op).second || (is_heavy(*op) && !waits_for_sum(*op))) continue;
      for_each_next(*op, true, [&](const Op& o) { next.push_back(&o); });
    }
    return out;
  }
  void keep_what_lies_around() {
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

  // Halves take their own time each; what computes hides what is exchanged but for the last half.
  bool pays() const {
    double whole = 0, computing = 0, exchanging = 0, last = 0;
    for (auto& op : g_.ops) {
      auto it = cut_.find(op.get());
      if (it == cut_.end()) continue;
      const Cuts ranks = cuts_of(*op, mesh_);
      whole += costs_.seconds(*op, ranks, -1, 1);
      computing += kHalves * costs_.seconds(*op, ranks, it->second.factor, kHalves);
      if (!waits_for_sum(*op)) continue;
      const LinkGroup links = costs_.group(op->result()->sharding.partial);
      const double bytes = costs_.bytes(*op->result());
      whole += links.all_reduce(bytes);
      last = links.all_reduce(bytes / kHalves);
      exchanging += kHalves * last;
    }
    return std::max(computing, exchanging) + last < whole;
  }

  // --- the halves ------------------------------------------------------------------------------------------------------

  // A part of another value, or its parts together: as that one is, waiting for nothing.
  static void settle(Value& v, const Value& other) {
    v.sharding = other.sharding;
    v.sharding.partial.clear();
    v.sharding.reduction = Sharding().reduction;
    v.sharding.joined.clear();
    if (other.def) v.def->stage = other.def->stage;
  }
  Value* half(Builder& b, Value* v, int d, int which) {
    std::vector<Value*>& both = halves_[v];
    if (both.empty()) {
      const int64_t n = v->type.dim(d).value();
      for (int64_t i = 0; i < kHalves; ++i) {
        both.push_back(b.op(OpKind::slice, {v, b.ints({i * n / kHalves}), b.ints({(i + 1) * n / kHalves}), b.ints({d})}));
        settle(*both.back(), *v);
      }
    }
    return both[static_cast<size_t>(which)];
  }

  void halve(Op& op) {
    const Cut& c = cut_.at(&op);
    Builder b(&g_, &op);
    b.provenance = op.provenance;
    std::vector<std::vector<Value*>> made(static_cast<size_t>(op.num_results()));
    for (int which = 0; which < kHalves; ++which) {
      LocalOp local{op, {}, {}, {}, mesh_, b};
      for (int i = 0; i < op.num_operands(); ++i) {
        const int d = op.operands[i] ? c.rule.dim_of(c.rule.operands[i], c.factor) : -1;
        local.operands.push_back(d < 0 ? op.operands[i] : half(b, op.operands[i], d, which));
      }
      for (int r = 0; r < op.num_results(); ++r) {
        Shape dims = op.result(r)->type.shape;
        Dim& rows = dims[static_cast<size_t>(c.rule.dim_of(c.rule.results[r], c.factor))];
        rows = rows.value() / kHalves;
        local.results.push_back(std::move(dims));
      }
      for (const auto& f : c.rule.factors) local.parts.push_back({f.role, 0, 1, {}, 0, f.size, f.size, f.size});
      FactorPart& p = local.parts[static_cast<size_t>(c.factor)];
      p.size = p.own = p.whole.value() / kHalves;
      p.index = which;
      p.count = kHalves;
      p.first = p.size * Dim(which);
      auto values = op_def(op).localize ? op_def(op).localize(local) : local.build();
      CHECK(values.ok());
      for (size_t r = 0; r < made.size(); ++r) {
        Value* v = made[r].emplace_back((*values)[r]);
        v->sharding = op.result(static_cast<int>(r))->sharding;
        v->place = op.result(static_cast<int>(r))->place;
        v->def->stage = op.stage;
      }
    }
    for (int r = 0; r < op.num_results(); ++r) put(b, op.result(r), made[static_cast<size_t>(r)]);
  }

  // Who is not cut reads the halves one behind the other.
  void put(Builder& b, Value* v, std::vector<Value*> both) {
    halves_[v] = both;
    std::vector<Use> others;
    for (const Use& u : v->uses)
      if (!cut_.count(u.op)) others.push_back(u);
    if (others.empty() && !v->is_output()) return;
    ConcatAttrs a;
    a.axis = rows_.at(v);
    Value* all = b.op(OpKind::concat, std::move(both), a);
    settle(*all, *v);
    all->name = v->name;
    all->place = v->place;
    for (const Use& u : others) u.op->set_operand(u.index, all);
    for (Value*& out : g_.outputs)
      if (out == v) out = all;
  }

  Graph& g_;
  const Mesh& mesh_;
  const ShardingCosts& costs_;
  std::unordered_map<const Op*, Cut> cut_;
  std::unordered_map<const Value*, int> rows_;  // the dim that is cut
  std::vector<const Value*> spread_;            // whose neighbours have not been looked at
  std::unordered_map<const Value*, std::vector<Value*>> halves_;
};

}  // namespace

Result<bool> pass_overlap_collectives(Module& m, PassContext& cx) {
  // On the host, a rank's threads wait in a collective.
  if (cx.target.backend != Backend::cuda || m.meshes.empty() || m.meshes[0].size() <= 1 || m.graphs.size() != 1) return false;
  const DeviceTable devices = cx.devices ? *cx.devices : default_devices(cx.target);
  return Halving(*m.main(), m.meshes[0], ShardingCosts(m, devices, m.meshes[0])).run();
}

}  // namespace weft
