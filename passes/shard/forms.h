// What the passes of sharding share: the rule of an op, and how mesh axes cut the factors of an op whose results are sharded.
#pragma once

#include <map>

#include "ir/ops/sharding.h"

namespace weft {

// The op's rule; one without factors where it has none, holds graphs, its operands' ranks are not known, or data decide a dim
// of its results.
ShardingRule rule_of(const Op& op);
// Computed from constants and symbols alone: every rank has it, and cutting it costs nothing.
bool is_fixed(const Value* v);
// Whether an axis of `size` ranks can cut factor f: it leads, and is a multiple. `assume`: symbolic ones are taken for multiples;
// that they are is checked when they have values.
bool can_cut(const ShardingRule& rule, int f, int64_t size, bool assume = false);
// Which factor an axis cuts, given where it stands in the results' shardings; -1: none. In results that wait for a sum it
// cuts the first factor that is summed and can be cut.
int factor_of_axis(const ShardingRule& rule, const Op& op, const std::string& axis, int64_t size);
// Dims of one rank's part of a value of these dims.
Shape local_shape(const Shape& dims, const Sharding& s, const Mesh& mesh);
// Not cut at all.
Sharding whole(const Mesh& mesh, int rank);

}  // namespace weft
