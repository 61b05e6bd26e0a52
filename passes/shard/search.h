// The search for how ranks along one axis of a mesh share out a graph.
#pragma once

#include "passes/shard/cost.h"
#include "passes/shard/forms.h"

namespace weft {

// An op, and what the axis may do with it.
struct ShardNode {
  const Op* op;
  ShardingRule rule;            // with the sizes that axes before left
  std::vector<int> cuts;        // factors that the axis may cut, or -1
  std::vector<double> seconds;  // the op's own time, parallel
};
// A state's input -> the output that takes its place: both have one form, which is free to choose.
using StatePairs = std::map<const Value*, const Value*>;

// Which factor each node cuts (-1: none), as far as found the fastest in all.
std::vector<int> search_axis(const std::vector<ShardNode>& nodes, const Graph& g, const StatePairs& pairs, const ShardingCosts& costs, const LinkGroup& links);

}  // namespace weft
