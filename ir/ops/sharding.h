// ShardingRule: how an op can be shared out between ranks. The dims of its operands and results are products of factors,
// outermost first, and ranks may share out a factor: each tensor that has it is then cut along the dim that it leads, and
// tensors without it are given whole.
//
//   contract "bmk,bkn->bmn"          operands [[b],[m],[k]], [[b],[k],[n]]   results [[b],[m],[n]]     k is a sum
//   reshape [s, 4096] -> [s,32,128]  operands [[s],[h,d]]                    results [[s],[h],[d]]
//
// A dim without factors stays whole. An op without a rule is computed by every rank. The rules of ops stand beside them.
#pragma once

#include "ir/core/builder.h"

namespace weft {

// dims(): i64[n], the values of expressions; symbols of ranks (rank.tp) are allowed.
struct DimsAttrs : AttrsOf<DimsAttrs> {
  Shape values;
  void fields(FieldVisitor& v) { v.field("values", values); }
};

// Whether the op is `dims` of nothing but numbers and the rank's coordinates: known when a rank loads its weights.
bool depends_on_rank_alone(const Op& op);

struct ShardingRule {
  enum class Role : uint8_t {
    parallel,  // results have it
    sum,       // results lack it: what the ranks make of their parts must be added up
  };
  struct Factor {
    Dim size;
    Role role = Role::parallel;
  };
  using Dims = std::vector<std::vector<int>>;  // per dim of a tensor its factors
  std::vector<Factor> factors;
  std::vector<Dims> operands, results;         // an absent operand's is empty

  // A rule with a list for each dim of the op's operands and results, all of them whole.
  explicit ShardingRule(const Op& op);
  int add(Dim size, Role role = Role::parallel);
  // A factor that is the innermost one of a dim of each of these tensors. Tensors are numbered: operands from 0, results from
  // kResult. Absent tensors are passed over, and so are dims of 1, which are broadcast, unless all are.
  static constexpr int kResult = 1000;
  struct Place {
    int tensor, dim;
  };
  int share(const Op& op, const std::vector<Place>& places, Role role = Role::parallel);

  // The dim of a tensor that factor f leads, perhaps behind others of size 1; -1: none.
  int dim_of(const Dims& dims, int f) const;
  // Whether f can be shared out: no tensor has it behind a factor that is larger than 1.
  bool leads(int f) const;
};

// One rank's part of a factor: number `index` of `count` equal ones.
struct FactorPart {
  Dim index = 0;
  int64_t count = 1;
};

// An op as one rank computes it.
struct LocalOp {
  const Op& whole;
  std::vector<Value*> operands;   // the rank's parts
  std::vector<Shape> results;     // dims of the rank's results
  std::vector<FactorPart> parts;  // parallel to the rule's factors
  Builder& b;

  // The op over the rank's operands, with these attributes (null: its own).
  Result<std::vector<Value*>> build(std::unique_ptr<Attrs> attrs = nullptr) const;
  Value* dims(std::vector<Dim> values) const;  // an i64 vector
  Value* on_first_rank(Value* v, const Dim& index) const;  // v where index is 0, else zeros
};

// --- rules of families ----------------------------------------------------------------------------------------------

// Dims of results, with those of the operands that broadcast to them.
Result<ShardingRule> shard_pointwise(const Op& op);
// All operands and results have the same dims, of which these stay whole.
ShardingRule shard_alike(const Op& op, const std::vector<int>& whole);
// The same elements in the same order.
Result<ShardingRule> shard_view(const Op& op);
// Rebuilds an op whose operand 1 says the dims of its result.
Result<std::vector<Value*>> localize_to_shape(LocalOp& op);

}  // namespace weft
