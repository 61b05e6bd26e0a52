// Repeated blocks of a graph, as a model's layers are: ops that are alike, offered the same choices, and connected alike.
#pragma once

#include "passes/shard/search.h"

namespace weft {

// Nodes [begin, begin + period * count) are `count` times the same block. count 0: there is none of three blocks or more.
struct Repeats {
  size_t begin = 0, period = 0, count = 0;
  size_t end() const { return begin + period * count; }
  bool operator==(const Repeats&) const = default;
};

// The one that covers most nodes. pairs: a state in every block has its own.
Repeats find_repeats(const std::vector<ShardNode>& nodes, const StatePairs& pairs);

}  // namespace weft
