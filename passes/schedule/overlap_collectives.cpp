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
#include <cmath>

#include "ir/base/check.h"
#include "ir/ops/move.h"
#include "passes/pass_manager.h"
#include "passes/schedule/row_cuts.h"
#include "passes/schedule/timeline.h"

namespace weft {

namespace {

class Halving {
 public:
  Halving(Graph& g, const Mesh& mesh, const ShardingCosts& costs, double multiprocessors)
      : g_(g), mesh_(mesh), costs_(costs), multiprocessors_(multiprocessors), cuts_(g, mesh) {}

  bool run() {
    if (cuts_.empty() || !pays()) return false;
    std::vector<Op*> order;
    for (auto& op : g_.ops)
      if (cuts_.of(op.get())) order.push_back(op.get());
    for (Op* op : order) halve(*op);
    return true;
  }

 private:
  // How much longer products compute since the last round of tiles is not for all multiprocessors: of those that share their rows,
  // which become one. Of the tiles that there are, wide ones do most a round.
  double rounds(const Op& op, int parts) const {
    if (op.kind != OpKind::contract || multiprocessors_ <= 0) return 1;
    const double elements = costs_.number(numel(op.result()->type.shape)), all_columns = costs_.number(op.result()->type.shape.back());
    double columns = 0;
    for (const Use& u : op.operands[0]->uses) {
      if (u.index != 0 || u.op->kind != op.kind) continue;
      const Value& v = *u.op->result();
      columns += costs_.number(local_shape(v.type.shape, v.sharding, mesh_, 0).back());
    }
    double least = INFINITY;
    for (const auto& [width, efficiency] : {std::pair(256.0, 1.0), {128.0, 0.83}, {64.0, 0.6}}) {
      const double tiles = std::ceil(elements / all_columns / parts / 128) * std::ceil(columns / width) / multiprocessors_;
      least = std::min(least, std::ceil(tiles) / tiles / efficiency);
    }
    return least;
  }

  // Halves take their own time each; what computes hides what is exchanged but for the last half, and takes longer meanwhile.
  bool pays() const {
    double whole = 0, computing = 0, exchanging = 0, last = 0;
    for (auto& op : g_.ops) {
      const RowCuts::Cut* cut = cuts_.of(op.get());
      if (!cut) continue;
      const Cuts ranks = cuts_of(*op, mesh_);
      const int f = cut->factor;
      whole += costs_.seconds(*op, ranks, -1, 1, rounds(*op, 1));
      computing += kHalves * costs_.seconds(*op, ranks, f, kHalves, rounds(*op, kHalves));
      if (!waits_for_sum(*op)) continue;
      const LinkGroup links = costs_.group(op->result()->sharding.partial);
      const double bytes = costs_.bytes(*op->result());
      whole += links.all_reduce(bytes);
      last = links.all_reduce(bytes / kHalves);
      exchanging += kHalves * last;
    }
    return std::max(computing + Timeline::kBeside * (exchanging - last) + last, exchanging) < whole;
  }

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
    const RowCuts::Cut& c = *cuts_.of(&op);
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
      if (!cuts_.of(u.op)) others.push_back(u);
    if (others.empty() && !v->is_output()) return;
    ConcatAttrs a;
    a.axis = cuts_.rows_of(v);
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
  const double multiprocessors_;
  const RowCuts cuts_;
  std::unordered_map<const Value*, std::vector<Value*>> halves_;
};

}  // namespace

Result<bool> pass_overlap_collectives(Module& m, PassContext& cx) {
  // On the host, a rank's threads wait in a collective.
  if (cx.target.backend != Backend::cuda || m.meshes.empty() || m.meshes[0].size() <= 1 || m.graphs.size() != 1) return false;
  const DeviceTable devices = devices_of(cx);
  return Halving(*m.main(), m.meshes[0], ShardingCosts(m, devices, m.meshes[0]), cx.target.gpu.multiprocessors).run();
}

}  // namespace weft
