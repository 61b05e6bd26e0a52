// ai.onnx.ml TreeEnsemble: all trees are walked at once. A table says for each node which feature it compares, how, and
// where to go; leaves follow the nodes in it and lead to themselves, so a fixed number of steps ends at the leaves.
#include <algorithm>
#include <cmath>
#include <limits>

#include "frontend/onnx/rules/rules.h"
#include "ir/ops/move.h"
#include "ir/ops/norm.h"

namespace weft {

namespace {

enum Mode : int64_t { kLeq, kLt, kGte, kGt, kEq, kNeq, kMember, kModes };

struct Forest {
  std::vector<int64_t> roots, features, modes, yes, no, missing;  // per node, then per leaf
  std::vector<double> splits;
  std::vector<std::vector<double>> members;                       // per node and leaf: what a kMember node looks for
  int64_t nodes = 0, leaves = 0, steps = 0;
};

std::vector<double> numbers(Node& n, const char* name) {
  int id = n.constant_attr(name);
  bool ok = true;
  std::vector<double> v;
  if (id >= 0) v = constant_floats(n.build.module().constants[id], int64_t{1} << 26, &ok);
  if (!ok) n.fail(unsupported(n.describe() + " with `" + name + "` of that size"));
  return v;
}

// Ids of children in the table: leaves stand behind the nodes.
Status place_children(Node& n, Forest& f, const char* ids, const char* leaf, std::vector<int64_t>& out) {
  out = n.ints_attr(ids);
  std::vector<int64_t> is_leaf = n.ints_attr(leaf);
  if (static_cast<int64_t>(out.size()) != f.nodes || is_leaf.size() != out.size())
    return invalid(n.describe() + ": the lists of nodes differ in length");
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t limit = is_leaf[i] ? f.leaves : f.nodes;
    if (out[i] < 0 || out[i] >= limit) return invalid(n.describe() + ": a child does not exist");
    if (is_leaf[i]) out[i] += f.nodes;
  }
  for (int64_t i = 0; i < f.leaves; ++i) out.push_back(f.nodes + i);
  return {};
}

// Sets of members, separated by NaN, in the order of the nodes that test them.
Status read_members(Node& n, Forest& f) {
  f.members.resize(f.nodes + f.leaves);
  std::vector<double> values = numbers(n, "membership_values");
  size_t at = 0;
  for (int64_t i = 0; i < f.nodes; ++i) {
    if (f.modes[i] != kMember) continue;
    for (; at < values.size() && !std::isnan(values[at]); ++at) f.members[i].push_back(values[at]);
    ++at;
  }
  return {};
}

// How many steps lead to leaves everywhere.
Status count_steps(const Node& n, Forest& f) {
  constexpr int64_t kMost = 1000;
  std::vector<int64_t> level = f.roots;
  for (; !level.empty(); ++f.steps) {
    if (f.steps >= std::min(kMost, f.nodes)) return unsupported(n.describe() + " whose trees have circles or are deeper than 1000");
    std::vector<int64_t> next;
    for (int64_t i : level)
      for (int64_t child : {f.yes[i], f.no[i]})
        if (child < f.nodes) next.push_back(child);
    std::sort(next.begin(), next.end());
    next.erase(std::unique(next.begin(), next.end()), next.end());
    level = std::move(next);
  }
  return {};
}

Result<Forest> read_forest(Node& n) {
  Forest f;
  f.roots = n.ints_attr("tree_roots");
  f.features = n.ints_attr("nodes_featureids");
  f.splits = numbers(n, "nodes_splits");
  for (double m : numbers(n, "nodes_modes")) f.modes.push_back(static_cast<int64_t>(m));
  f.missing = n.ints_attr("nodes_missing_value_tracks_true");
  n.ignore("nodes_hitrates");
  f.nodes = static_cast<int64_t>(f.features.size());
  f.leaves = static_cast<int64_t>(n.ints_attr("leaf_targetids").size());
  if (f.missing.empty()) f.missing.assign(f.nodes, 0);
  bool even = f.splits.size() == f.features.size() && f.modes.size() == f.features.size() && f.missing.size() == f.features.size();
  if (!even || f.nodes == 0 || f.leaves == 0) return invalid(n.describe() + ": the lists of nodes differ in length");
  TRY(place_children(n, f, "nodes_truenodeids", "nodes_trueleafs", f.yes));
  TRY(place_children(n, f, "nodes_falsenodeids", "nodes_falseleafs", f.no));
  for (int64_t m : f.modes)
    if (m < 0 || m >= kModes) return invalid(n.describe() + ": mode " + std::to_string(m));
  for (int64_t r : f.roots)
    if (r < 0 || r >= f.nodes) return invalid(n.describe() + ": a root does not exist");
  TRY(read_members(n, f));
  TRY(count_steps(n, f));
  for (std::vector<int64_t>* list : {&f.features, &f.modes, &f.missing}) list->resize(f.nodes + f.leaves);
  f.splits.resize(f.nodes + f.leaves);
  return f;
}

// The walk itself: x[N, F] and node ids [N, trees].
struct Walk {
  Node& n;
  const Forest& f;
  Value* x;

  Value* at(const std::vector<int64_t>& table, Value* id) { return n.gather(n.ints(table), id, 0); }
  Value* at(const std::vector<double>& table, Value* id) { return n.gather(float_vector(n, table, n.dtype(x)), id, 0); }

  // Whether x's element is one of its node's members.
  Value* is_member(Value* v, Value* id) {
    size_t most = 1;
    for (auto& m : f.members) most = std::max(most, m.size());
    std::vector<double> table;
    for (auto& m : f.members) {
      table.insert(table.end(), m.begin(), m.end());
      table.resize(table.size() + most - m.size(), std::numeric_limits<double>::quiet_NaN());
    }
    Value* rows = n.reshape(float_vector(n, table, n.dtype(x)), {f.nodes + f.leaves, static_cast<int64_t>(most)});
    Value* hits = n.op(OpKind::equal, {n.unsqueeze(v, {2}), n.gather(rows, id, 0)});
    return n.op(OpKind::greater, {n.reduce_sum(n.cast(hits, DType::i64), {2}, false), n.int_scalar(0)});
  }
  Value* compare(int64_t mode, Value* v, Value* split, Value* id) {
    switch (mode) {
      case kLeq: return n.op(OpKind::less_or_equal, {v, split});
      case kLt: return n.op(OpKind::less, {v, split});
      case kGte: return n.op(OpKind::greater_or_equal, {v, split});
      case kGt: return n.op(OpKind::greater, {v, split});
      case kEq: return n.op(OpKind::equal, {v, split});
      case kNeq: return n.op(OpKind::not_, {n.op(OpKind::equal, {v, split})});
      default: return is_member(v, id);
    }
  }
  Value* step(Value* id) {
    GatherAttrs columns;
    columns.axis = 1;
    Value* v = n.op(OpKind::gather_elements, {x, at(f.features, id)}, columns);
    Value *split = at(f.splits, id), *mode = at(f.modes, id), *taken = nullptr;
    for (int64_t m = 0; m < kModes; ++m) {
      if (std::find(f.modes.begin(), f.modes.begin() + f.nodes, m) == f.modes.begin() + f.nodes) continue;
      Value* here = compare(m, v, split, id);
      taken = taken ? n.op(OpKind::where, {n.op(OpKind::equal, {mode, n.int_scalar(m)}), here, taken}) : here;
    }
    Value* lost = n.op(OpKind::and_, {n.op(OpKind::is_nan, {v}), n.cast(at(f.missing, id), DType::b1)});
    return n.op(OpKind::where, {n.op(OpKind::or_, {taken, lost}), at(f.yes, id), at(f.no, id)});
  }
  // Which leaf, counted from 0, each sample ends at in each tree.
  Value* leaves() {
    Value* id = n.expand(n.ints(f.roots), n.concat({n.dim_of(x, 0), n.ints({static_cast<int64_t>(f.roots.size())})}, 0));
    for (int64_t k = 0; k < f.steps; ++k) id = step(id);
    return n.sub(id, n.int_scalar(f.nodes));
  }
};

// Leaf weights [N, trees] added up per target: [N, targets].
Value* aggregated(Node& n, Value* weights, Value* targets, int64_t count, int64_t function, int64_t trees) {
  if (function < 0 || function > 1) n.fail(unsupported(n.describe() + " that takes minima or maxima"));
  Value* chosen = n.op(OpKind::equal, {n.unsqueeze(targets, {2}), n.op(OpKind::range, {n.int_scalar(0), n.int_scalar(count), n.int_scalar(1)})});
  Value* sum = n.reduce_sum(n.mul(n.unsqueeze(weights, {2}), n.cast(chosen, n.dtype(weights))), {1}, false);
  return function == 0 ? n.div(sum, n.scalar(n.dtype(weights), static_cast<double>(trees))) : sum;
}

}  // namespace

Values rule_tree_ensemble(Node& n) {
  TRY_ASSIGN(Forest f, read_forest(n));
  Value* x = n.need(0);
  if (n.rank(x) != 2 || !is_float(n.dtype(x))) return invalid(n.describe() + " takes samples of features");
  std::vector<int64_t> targets = n.ints_attr("leaf_targetids");
  std::vector<double> weights = numbers(n, "leaf_weights");
  if (weights.size() != targets.size()) return invalid(n.describe() + ": the lists of leaves differ in length");
  int64_t count = n.int_attr("n_targets", 1), function = n.int_attr("aggregate_function", 1), post = n.int_attr("post_transform", 0);
  if (count < 1 || count > 1 << 24) return invalid(n.describe() + " with " + std::to_string(count) + " targets");
  Walk walk{n, f, x};
  Value* leaf = walk.leaves();
  Value* y = aggregated(n, walk.at(weights, leaf), walk.at(targets, leaf), count, function, static_cast<int64_t>(f.roots.size()));
  if (post == 1) y = n.op(OpKind::softmax, {y}, SoftmaxAttrs());
  else if (post == 2) y = n.op(OpKind::sigmoid, {y});
  else if (post != 0) n.fail(unsupported(n.describe() + " with post_transform " + std::to_string(post)));
  return n.done(y);
}

}  // namespace weft
