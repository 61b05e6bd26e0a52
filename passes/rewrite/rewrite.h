// What passes that replace ops share. A rule stands at the last op of its pattern: it looks at the op and its operands,
// builds what comes instead before the op, and lets the op's users read that. Ops that nothing uses then go at once, so
// that later rules see true use counts.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "ir/core/builder.h"
#include "passes/pass_manager.h"

namespace weft {

// Whether the rule replaced or changed the op. It must not erase ops.
using RewriteRule = std::function<bool(Op&)>;
// Offers every op that is in use to the rule, once: those of entries and of prepare, bodies before the op that holds them.
bool rewrite_ops(Module& m, const RewriteRule& rule);
bool rewrite_graph(Graph& g, const RewriteRule& rule);

// No result is used.
bool is_dead(const Op& op);
// Users of op's results read `with` (one value per result; null: that result must be unused). False, with nothing done,
// where a type would change. Origins and names pass on.
bool replace_op(Op& op, const std::vector<Value*>& with);
inline bool replace_op(Op& op, Value* with) { return replace_op(op, std::vector<Value*>{with}); }
// Same dtype and dims; layouts may differ.
bool same_type(const Type& a, const Type& b);

// Builds before `at` with the origins of all `ops`.
Builder build_before(Op& at, const std::vector<Op*>& ops = {});
template <class A>
std::unique_ptr<Attrs> attrs_of(A a) {
  return std::make_unique<A>(std::move(a));
}
// As Builder::op, but null where inference refuses; the op is then not built.
Value* try_build(Builder& b, OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr);

// A constant or a prepared tensor, which has no place in time.
inline bool is_ready_made(const Op& op) { return op.kind == OpKind::constant || op.kind == OpKind::prepared; }
// Puts the graph's ops in this order; those that are ready made stand before who reads them first.
void put_in_order(Graph& g, const std::vector<Op*>& order);

// Dims [from, to) of v as i64[to - from].
Value* dims_of(Builder& b, Value* v, int from, int to);
// A reshape of v in which `dims` stand in place of the `count` dims from `axis` on; the others stay, symbolic ones, too.
Value* regroup_dims(Builder& b, Value* v, int axis, int count, const std::vector<int64_t>& dims);

// v's op if it has this kind, else null.
Op* def_of(const Value* v, OpKind kind);
// v is read by one operand and is no output.
bool has_one_use(const Value* v);
// v is a constant, a prepared tensor, or computed from such alone.
bool depends_on_constants(const Value* v);
// The one number that a constant holds: one element, or a splat of rank 0 or 1. Splats of higher rank stand for weights,
// which nobody may look into; integers may be.
std::optional<double> uniform_value(const Value* v);
bool is_uniform(const Value* v, double x);
// For an op of two operands: the one that is uniform, and the other one.
struct WithNumber {
  Value* other = nullptr;
  double number = 0;
  int index = 0;  // of the constant
};
std::optional<WithNumber> with_number(const Op& op);

}  // namespace weft
