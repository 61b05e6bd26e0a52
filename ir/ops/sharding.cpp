#include "ir/ops/sharding.h"

#include <algorithm>

#include "ir/ops/collective.h"
#include "ir/ops/common.h"
#include "ir/ops/move.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/reduce.h"

namespace weft {

bool depends_on_rank_alone(const Op& op) {
  if (op.kind != OpKind::dims) return false;
  for (const Dim& d : op.attr<DimsAttrs>().values)
    for (const std::string& s : d.symbols())
      if (!is_rank_symbol(s)) return false;
  return true;
}

ShardingRule::ShardingRule(const Op& op) {
  auto dims = [](const Value* v) { return Dims(v && v->type.is_ranked() ? v->type.rank() : 0); };
  for (const Value* v : op.operands) operands.push_back(dims(v));
  for (auto& r : op.results) results.push_back(dims(r.get()));
}

int ShardingRule::add(Dim size, Role role, bool even) {
  factors.push_back({std::move(size), role, 0, even});
  return static_cast<int>(factors.size()) - 1;
}

int ShardingRule::share(const Op& op, const std::vector<Place>& places, Role role, Dim exchanged) {
  auto value = [&](int tensor) -> const Value* {
    return tensor >= kResult ? (tensor - kResult < op.num_results() ? op.result(tensor - kResult) : nullptr) : op.operand(tensor);
  };
  Dim size = 1;
  for (const Place& p : places)
    if (const Value* v = value(p.tensor); v && size.is(1)) size = v->type.dim(p.dim);
  int f = add(size, role);
  factors[f].exchanged = std::move(exchanged);
  for (const Place& p : places) {
    const Value* v = value(p.tensor);
    if (!v || (v->type.dim(p.dim).is(1) && !size.is(1))) continue;
    (p.tensor >= kResult ? results[p.tensor - kResult] : operands[p.tensor])[p.dim].push_back(f);
  }
  return f;
}

int ShardingRule::dim_of(const Dims& dims, int f) const {
  for (size_t d = 0; d < dims.size(); ++d)
    for (int k : dims[d]) {
      if (k == f) return static_cast<int>(d);
      if (!factors[k].size.is(1)) break;
    }
  return -1;
}

bool ShardingRule::leads(int f) const {
  if (factors[f].role == Role::whole) return false;
  for (const auto* tensors : {&operands, &results})
    for (const Dims& dims : *tensors)
      for (const auto& list : dims)
        if (std::find(list.begin(), list.end(), f) != list.end() && dim_of(dims, f) < 0) return false;
  return true;
}

const char* pending_reduction(ShardingRule::Role role) {
  switch (role) {
    case ShardingRule::Role::sum: return "sum";
    case ShardingRule::Role::max: return "max";
    case ShardingRule::Role::min: return "min";
    case ShardingRule::Role::prod: return "prod";
    case ShardingRule::Role::parallel: case ShardingRule::Role::whole: case ShardingRule::Role::joined: return nullptr;
  }
  UNREACHABLE();
}

bool is_multiple(const Dim& n, int64_t of) { return n.is_const() ? n.value() % of == 0 : floordiv(n, of) * Dim(of) == n; }
Dim part_of(const Dim& n, int64_t ranks, const Dim& batch) {
  if (is_multiple(n, ranks)) return floordiv(n, ranks);
  if (n.is_const() || batch.is(0) || batch.is_const()) return ceildiv(n, ranks);
  const Dim each = divide(n, batch);
  return each * batch == n ? each * ceildiv(batch, ranks) : ceildiv(n, ranks);
}

// --- an op on one rank ----------------------------------------------------------------------------------------------

Result<std::vector<Value*>> LocalOp::build(std::unique_ptr<Attrs> attrs) const {
  std::vector<std::unique_ptr<Graph>> bodies;
  for (auto& g : whole.graphs) bodies.push_back(clone_graph(*g, &b.module(), nullptr));
  TRY_ASSIGN(Op * op, b.create(whole.kind, operands, attrs ? std::move(attrs) : whole.attrs->clone(), whole.num_results(), std::move(bodies)));
  std::vector<Value*> out;
  for (auto& r : op->results) out.push_back(r.get());
  return out;
}
Value* LocalOp::dims(std::vector<Dim> values) const {
  DimsAttrs a;
  a.values = std::move(values);
  return b.op(OpKind::dims, {}, a);
}
Value* LocalOp::number(const Dim& d, DType t) const { return cast(b.op(OpKind::reshape, {dims({d}), b.ints({})}), t); }
Value* LocalOp::cast(Value* v, DType t) const {
  if (v->type.dtype == t) return v;
  CastAttrs a;
  a.to = t;
  return b.op(OpKind::cast, {v}, a);
}
Value* LocalOp::wide(Value* v) const { return is_float(v->type.dtype) && bit_width(v->type.dtype) < 32 ? cast(v, DType::f32) : v; }
Value* LocalOp::all_reduce(Value* v, const std::vector<std::string>& axes, const char* reduction) const {
  if (axes.empty()) return v;
  AllReduceAttrs a;
  a.mesh = mesh.name;
  a.axes = axes;
  a.reduction = reduction;
  return b.op(OpKind::all_reduce, {v}, a);
}
Value* LocalOp::all_gather(Value* v, const std::vector<std::string>& axes, int dim) const {
  AllGatherAttrs a;
  a.mesh = mesh.name;
  a.axes = axes;
  a.dim = dim;
  return b.op(OpKind::all_gather, {v}, a);
}
Value* LocalOp::reduce(OpKind kind, Value* v, const std::vector<int64_t>& along, const std::vector<std::string>& axes, const char* reduction) const {
  return all_reduce(b.op(kind, {v, b.ints(along)}, ReduceAttrs()), axes, reduction);
}
Value* LocalOp::part_of_mean(Value* v) const {
  int64_t count = 1;
  for (const FactorPart& p : parts) {
    if (p.role != ShardingRule::Role::sum) continue;
    if (p.ragged()) v = b.op(OpKind::mul, {v, b.op(OpKind::div, {number(p.size, v->type.dtype), number(p.whole, v->type.dtype)})});
    else count *= p.count;
  }
  return count == 1 ? v : b.op(OpKind::mul, {v, b.scalar(v->type.dtype, 1.0 / static_cast<double>(count))});
}
Value* LocalOp::on_first_rank(Value* v) const {
  Dim index = 0;
  for (const FactorPart& p : parts)
    if (p.role == ShardingRule::Role::sum) index += p.index;
  if (!v || index.is(0)) return v;
  Value* first = b.op(OpKind::equal, {dims({index}), b.ints({0})});
  return b.op(OpKind::where, {first, v, b.scalar(v->type.dtype, 0)});
}

LocalIndices local_indices(const LocalOp& op, Value* indices, const Dim& all, const Dim& first, const Dim& rows, const Dim& otherwise) {
  Builder& b = op.b;
  const DType t = indices->type.dtype;
  Value* zero = op.number(0, t);
  Value* index = b.op(OpKind::where, {b.op(OpKind::less, {indices, zero}), b.op(OpKind::add, {indices, op.number(all, t)}), indices});
  Value* local = b.op(OpKind::sub, {index, op.number(first, t)});
  Value* mine = b.op(OpKind::and_, {b.op(OpKind::greater_or_equal, {local, zero}), b.op(OpKind::less, {local, op.number(rows, t)})});
  return {mine, b.op(OpKind::where, {mine, local, op.number(otherwise, t)})};
}

// --- rules of families ----------------------------------------------------------------------------------------------

Result<ShardingRule> shard_pointwise(const Op& op) {
  ShardingRule rule(op);
  const Shape& out = op.result()->type.shape;
  int rank = static_cast<int>(out.size());
  for (int d = 0; d < rank; ++d) {
    std::vector<ShardingRule::Place> places{{ShardingRule::kResult, d}};
    bool fits = true;
    for (int i = 0; i < op.num_operands(); ++i) {
      const Value* v = op.operands[i];
      int at = v ? d - (rank - v->type.rank()) : -1;
      if (at < 0) continue;
      fits = fits && (v->type.shape[at].is(1) || v->type.shape[at] == out[d]);
      places.push_back({i, at});
    }
    for (int r = 1; r < op.num_results(); ++r) places.push_back({ShardingRule::kResult + r, d});
    if (fits) rule.share(op, places);
  }
  return rule;
}

ShardingRule shard_alike(const Op& op, const std::vector<int>& whole, int operands) {
  ShardingRule rule(op);
  for (int d = 0; d < type_of(op, 0).rank(); ++d) {
    if (std::find(whole.begin(), whole.end(), d) != whole.end()) continue;
    std::vector<ShardingRule::Place> places;
    for (int i = 0; i < (operands < 0 ? op.num_operands() : operands); ++i) places.push_back({i, d});
    for (int r = 0; r < op.num_results(); ++r) places.push_back({ShardingRule::kResult + r, d});
    rule.share(op, places);
  }
  return rule;
}

ShardingRule shard_places(const Op& op, const std::vector<std::vector<ShardingRule::Place>>& factors) {
  ShardingRule rule(op);
  for (const auto& places : factors) rule.share(op, places);
  return rule;
}

ShardingRule shard_leading(const Op& op, int count) {
  ShardingRule rule(op);
  const int rank = type_of(op, 0).rank();
  for (int d = 0; d < count; ++d) {
    std::vector<ShardingRule::Place> places{{0, d}};
    for (int r = 0; r < op.num_results(); ++r) places.push_back({ShardingRule::kResult + r, d});
    for (int i = 1; i < op.num_operands(); ++i)
      if (int at = has_operand(op, i) ? d - (rank - type_of(op, i).rank()) : -1; at >= 0) places.push_back({i, at});
    rule.share(op, places);
  }
  return rule;
}

// a / b where b divides a.
static std::optional<Dim> exact_quotient(const Dim& a, const Dim& b) {
  if (b.is(0)) return std::nullopt;
  Dim q = divide(a, b);
  if (q * b == a) return q;
  return std::nullopt;
}

// Dims [i, i1) of the operand hold the elements of dims [j, j1) of the result. Both are read from the outermost factor on.
static void share_group(ShardingRule& rule, const Shape& from, size_t i, size_t i1, const Shape& to, size_t j, size_t j1) {
  ShardingRule::Dims &in = rule.operands[0], &out = rule.results[0];
  Dim a = 1, b = 1;
  while (true) {
    if (a.is(1) && i < i1) a = from[i++];
    if (b.is(1) && j < j1) b = to[j++];
    if (a.is(1) && b.is(1)) {
      if (i >= i1 && j >= j1) return;
      continue;
    }
    Dim common;
    if (a == b) common = a;
    else if (exact_quotient(a, b)) common = b;
    else if (exact_quotient(b, a)) common = a;
    else return;  // the rest stays whole
    int f = rule.add(common);
    in[i - 1].push_back(f);
    out[j - 1].push_back(f);
    a = *exact_quotient(a, common);
    b = *exact_quotient(b, common);
  }
}

Result<ShardingRule> shard_view(const Op& op) {
  ShardingRule rule(op);
  const Shape &from = type_of(op, 0).shape, &to = op.result()->type.shape;
  if (!is_static(from) && numel(from) != numel(to)) return rule;
  size_t i = 0, j = 0;
  while (i < from.size() && j < to.size()) {
    size_t i0 = i, j0 = j;
    Dim a = from[i++], b = to[j++];
    while (a != b) {
      bool grow_to = exact_quotient(a, b).has_value() ? j < to.size() : i >= from.size();
      if (grow_to && j < to.size()) b *= to[j++];
      else if (i < from.size()) a *= from[i++];
      else if (j < to.size()) b *= to[j++];
      else break;
    }
    if (a != b) return rule;
    share_group(rule, from, i0, i, to, j0, j);
  }
  return rule;
}

Result<std::vector<Value*>> localize_to_shape(LocalOp& op) {
  op.operands[1] = op.dims(op.results[0]);
  std::unique_ptr<Attrs> attrs = op.whole.attrs->clone();
  if (op.whole.kind == OpKind::reshape) static_cast<ReshapeAttrs&>(*attrs).allowzero = true;  // a symbol may be 0 at run time
  return op.build(std::move(attrs));
}

}  // namespace weft
