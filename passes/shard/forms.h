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
bool is_fixed(const Op& op);  // all of its results, of which it has some
// Whether an axis of `size` ranks can cut factor f: it leads, and is a multiple or may be ragged; then every dim that it leads
// is cut into the same parts by itself as by its factors.
bool can_cut(const ShardingRule& rule, int f, int64_t size);
// The factor's part becomes what there is.
void cut(ShardingRule& rule, int f, int64_t size);
// Which factor an axis cuts, given where it stands in the results' shardings; -1: none. In results that wait for a reduction,
// or are joined already, it cuts the first factor of that role that can be cut.
int factor_of_axis(const ShardingRule& rule, const Op& op, const std::string& axis, int64_t size);
// Writes into the shardings of the op's results that this axis cuts factor f.
void note_cut(const Op& op, const ShardingRule& rule, int f, const std::string& axis);
// What the mesh cuts of an op's factors, whose sizes in the rule are one rank's.
struct Cuts {
  ShardingRule rule;
  std::vector<FactorPart> parts;
};
Cuts cuts_of(const Op& op, const Mesh& mesh);
// The form of a tensor with these dims.
Sharding form_of(const Cuts& c, const ShardingRule::Dims& dims, const Mesh& mesh);
// Whether these dims follow from those of the graph's inputs; else data decide one of them.
bool inputs_decide(const Graph& g, const Shape& dims);
// The first dim of the graph's first ranked input, where it is a symbol; else 0.
Dim batch_of(const Graph& g);
// Dims of one rank's part of a value of these dims.
Shape local_shape(const Shape& dims, const Sharding& s, const Mesh& mesh, const Dim& batch);
// Not cut at all.
Sharding whole(const Mesh& mesh, int rank);

}  // namespace weft
