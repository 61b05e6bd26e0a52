// OpDef: the const record of an op. An op is a row in ir/ops/ops.def and a function `OpDef def_<name>()` in
// ir/ops/<file>.cpp that returns attributes, infer, verify, eval, cost and its scalar body.
#pragma once

#include <span>

#include "ir/core/module.h"
#include "ir/core/scalar.h"

namespace weft {

enum class Family : uint8_t {
  meta,         // constant, shape, size, identity-like bookkeeping
  pointwise,    // has a scalar body
  reduce,       // reductions along axes, arg-reductions
  norm,         // softmax and normalisations: several passes over rows
  move,         // elements are copied, none is computed
  contraction,  // matmul, convolution, einsum
  pool,
  scan,         // cumulative ops
  sort,         // top-k, unique, nms
  attention,
  rnn,
  resample,     // resize, grid sample, roi align
  signal,
  quantize,
  random,
  control,
  sequence,     // sequences, optionals, maps, strings: host values
  collective,
  fused,
};

enum Trait : uint32_t {
  kCommutative = 1,
  kNondeterministic = 2,  // random, dropout in training: never folded or merged
  kViewLike = 4,          // same elements in the same row-major order (reshape, squeeze, ...)
  kHostOnly = 8,          // strings, sequences, data-dependent structure: a host call
  kIdempotent = 16,       // f(f(x)) == f(x)
  kDataDependent = 32,    // result dims depend on element values
};

struct InferContext : Facts {
  explicit InferContext(Module& m) : Facts(&m.symbols), module(m) {}
  Module& module;
  // A fresh symbol for a dim that depends on data.
  Dim fresh(const char* prefix = "u") { return module.fresh_symbol(prefix); }
};

struct Cost {
  Dim flops = 0;
  Dim bytes = 0;  // operands read once plus results written once
};

struct HostValue;
struct EvalCall;
struct ShardingRule;
struct LocalOp;

struct OpDef {
  const char* onnx = nullptr;  // op type in ONNX's default domain, null for ours
  Family family = Family::meta;
  uint32_t traits = 0;
  int min_operands = 0;
  int max_operands = 0;        // -1: variadic
  std::unique_ptr<Attrs> (*attrs)() = make_attrs<NoAttrs>;
  // Sets the type (and `known`) of every result from operand types, `known` values and attributes.
  Status (*infer)(Op&, InferContext&) = nullptr;
  // Rules beyond operand counts and what infer checks.
  Status (*verify)(const Op&) = nullptr;
  Result<std::vector<HostValue>> (*eval)(EvalCall&) = nullptr;
  Cost (*cost)(const Op&) = nullptr;  // null: bytes of operands and results, one flop per result element
  // Body of a pointwise op: inputs are the operands' elements after broadcasting.
  void (*scalar)(const Op&, ScalarProgram&) = nullptr;
  // How ranks may share the op out (ir/ops/sharding.h); null: each computes all of it. And what a rank then computes; null: the
  // same op over the rank's operands.
  Result<ShardingRule> (*shard)(const Op&) = nullptr;
  Result<std::vector<Value*>> (*localize)(LocalOp&) = nullptr;
};

const OpDef& op_def(OpKind k);
inline const OpDef& op_def(const Op& op) { return op_def(op.kind); }
inline bool has_trait(const Op& op, Trait t) { return (op_def(op).traits & t) != 0; }
// The op whose OpDef::onnx is `type`, if any.
std::optional<OpKind> op_from_onnx(std::string_view type);
// Whether the build holds a definition (all rows do, in a linked program).
Cost op_cost(const Op& op);

// Constant lookups for infer and passes: contents of an operand that is a `constant` op (or has known values).
const Constant* constant_of(const Value* v);
std::optional<std::vector<int64_t>> const_ints(const Value* v);       // fully constant integers
std::optional<std::vector<double>> const_floats(const Value* v, int64_t limit = 4096);
const std::vector<Dim>* known_of(const Value* v);                      // symbolic contents, null if unknown

struct ConstantAttrs : AttrsOf<ConstantAttrs> {
  ConstantRef value;
  void fields(FieldVisitor& v) { v.field("value", value); }
};

}  // namespace weft
