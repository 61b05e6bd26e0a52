// ShardingRule: how an op can be shared out between ranks. The dims of its operands and results are products of factors,
// outermost first, and ranks may share out a factor: each tensor that has it is then cut along the dim that it leads, and
// tensors without it are given whole.
//
//   contract "bmk,bkn->bmn"          operands [[b],[m],[k]], [[b],[k],[n]]   results [[b],[m],[n]]     k is a sum
//   reshape [s, 4096] -> [s,32,128]  operands [[s],[h,d]]                    results [[s],[h],[d]]
//
// A dim without factors stays whole. Parts of a dim are equal: where ranks do not divide it, those at its end hold its last
// element again and again (`part_of`), which is as good as any other one for what works on each alone. An op without a rule is
// computed by every rank. The rules of ops stand beside them.
#pragma once

#include "ir/base/mesh.h"
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
    parallel,             // results have it, or do not depend on how it is cut
    sum, max, min, prod,  // results lack it: what the ranks make of their parts waits for this reduction
    whole,                // never cut: it stands behind one that is
    joined,               // results lack it, and what the op's localize makes is the same on all ranks already
  };
  struct Factor {
    Dim size;
    Role role = Role::parallel;
    Dim exchanged = 0;  // elements that localize has reduced or gathered among ranks that cut it
    bool even = false;  // cut only by ranks that divide it: an attribute counts it, or the op counts its elements
  };
  using Dims = std::vector<std::vector<int>>;  // per dim of a tensor its factors
  std::vector<Factor> factors;
  std::vector<Dims> operands, results;         // an absent operand's is empty
  Dim batch = 0;                               // of the model; 0: none. See part_of

  // A rule with a list for each dim of the op's operands and results, all of them whole.
  explicit ShardingRule(const Op& op);
  int add(Dim size, Role role = Role::parallel, bool even = false);
  // A factor that is the innermost one of a dim of each of these tensors. Tensors are numbered: operands from 0, results from
  // kResult. Absent tensors are passed over, and so are dims of 1, which are broadcast, unless all are.
  static constexpr int kResult = 1000;
  struct Place {
    int tensor, dim;
  };
  int share(const Op& op, const std::vector<Place>& places, Role role = Role::parallel, Dim exchanged = 0);

  // The dim of a tensor that factor f leads, perhaps behind others of size 1; -1: none.
  int dim_of(const Dims& dims, int f) const;
  // Whether f can be shared out: it is not whole, and no tensor has it behind a factor that is larger than 1.
  bool leads(int f) const;
};

// The collective reduction of a role: "sum", "max", "min", "prod"; null: its results wait for none.
const char* pending_reduction(ShardingRule::Role role);

// How much of a dim each of `ranks` has: n / ranks rounded up; where n is a number of samples times something, whole samples, so
// that the elements of a sample stay together.
Dim part_of(const Dim& n, int64_t ranks, const Dim& batch);
bool is_multiple(const Dim& n, int64_t of);

// One rank's part of a factor: number `index` of `count` equal ones, which these axes of the mesh count.
struct FactorPart {
  ShardingRule::Role role = ShardingRule::Role::parallel;
  Dim index = 0;
  int64_t count = 1;
  std::vector<std::string> axes;
  Dim first = 0;          // its first element
  Dim size = 0, own = 0;  // its elements, of which these are not repetitions
  Dim whole = 0;          // all ranks' elements
  bool ragged() const { return !(own == size); }
};

// An op as one rank computes it.
struct LocalOp {
  const Op& whole;
  std::vector<Value*> operands;   // the rank's parts
  std::vector<Shape> results;     // dims of the rank's results; a localize may leave dims of 1 out or in
  std::vector<FactorPart> parts;  // parallel to the rule's factors
  const Mesh& mesh;
  Builder& b;

  bool cuts(size_t f) const { return f < parts.size() && parts[f].count > 1; }
  // The op over the rank's operands, with these attributes (null: its own).
  Result<std::vector<Value*>> build(std::unique_ptr<Attrs> attrs = nullptr) const;

  Value* dims(std::vector<Dim> values) const;     // an i64 vector
  Value* number(const Dim& d, DType t) const;     // a scalar
  Value* cast(Value* v, DType t) const;
  Value* wide(Value* v) const;                    // what sums are made in: narrow floats as f32
  Value* part_of_mean(Value* v) const;            // a mean of means: each rank's counts as much as its part does
  Value* on_first_rank(Value* v) const;           // of those that add up their results: v on the first one, else zeros. Null stays so
  // Collectives of the ranks that differ along these axes of the mesh.
  Value* all_reduce(Value* v, const std::vector<std::string>& axes, const char* reduction) const;
  Value* all_gather(Value* v, const std::vector<std::string>& axes, int dim) const;
  // A reduction op along these axes, which stay as dims of 1, and over the ranks that cut them.
  Value* reduce(OpKind kind, Value* v, const std::vector<int64_t>& dims, const std::vector<std::string>& axes, const char* reduction) const;
};

// Indices into a dim of `all` elements, of which a rank has `rows` from number `first` on: which of them it has, and those in
// its own counting (others: `otherwise`).
struct LocalIndices {
  Value *mine, *local;
};
LocalIndices local_indices(const LocalOp& op, Value* indices, const Dim& all, const Dim& first, const Dim& rows, const Dim& otherwise = 0);

// --- rules of families ----------------------------------------------------------------------------------------------

// Dims of results, with those of the operands that broadcast to them.
Result<ShardingRule> shard_pointwise(const Op& op);
// The first `operands` operands (-1: all) and the results have the same dims, of which these stay whole; other operands do.
ShardingRule shard_alike(const Op& op, const std::vector<int>& whole, int operands = -1);
// A factor for each list, which leads all of these dims.
ShardingRule shard_places(const Op& op, const std::vector<std::vector<ShardingRule::Place>>& factors);
// Dims [0, count) of operand 0 and of the results; those of other operands that broadcast to operand 0.
ShardingRule shard_leading(const Op& op, int count);
// The same elements in the same order.
Result<ShardingRule> shard_view(const Op& op);
// Rebuilds an op whose operand 1 says the dims of its result.
Result<std::vector<Value*>> localize_to_shape(LocalOp& op);

}  // namespace weft
