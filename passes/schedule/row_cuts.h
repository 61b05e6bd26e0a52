// RowCuts: which ops of a sharded graph can be computed in halves of rows, around products that wait for sums over ranks. Which
// dims are rows, ops' sharding rules say: a half is a part like a rank's, but that the same rank computes both. Rows are the
// outermost dim, so that halves of a tensor lie one behind the other.
#pragma once

#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "passes/shard/forms.h"

namespace weft {

constexpr int kHalves = 2;

inline bool is_product(const Op& op) { return op_def(op).family == Family::contraction; }
inline bool waits_for_sum(const Op& op) { return op.num_results() == 1 && !op.result()->sharding.partial.empty(); }

class RowCuts {
 public:
  struct Cut {
    ShardingRule rule;
    int factor;
  };

  // The products that wait for sums, what lies behind them up to the next products, and what lies between these.
  RowCuts(Graph& g, const Mesh& mesh);

  bool empty() const { return cut_.empty(); }
  // Null: it stays whole.
  const Cut* of(const Op* op) const {
    auto it = cut_.find(op);
    return it == cut_.end() ? nullptr : &it->second;
  }
  int rows_of(const Value* v) const { return rows_.at(v); }  // the dim that is cut

 private:
  int outermost(const Value& v) const;
  void spread_from(Op& op);
  bool take(Op& op, const Value& v, int d);
  bool agrees(const Op& op, const Cut& c) const;
  bool drop_exchanging();
  std::unordered_set<const Op*> around_sums() const;
  void keep_what_lies_around();
  template <class F>
  void for_each_next(const Op& op, bool forward, F&& f) const;

  Graph& g_;
  const Mesh& mesh_;
  std::unordered_map<const Op*, Cut> cut_;
  std::unordered_map<const Value*, int> rows_;
  std::vector<const Value*> spread_;  // whose neighbours have not been looked at
};

}  // namespace weft
