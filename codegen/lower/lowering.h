// The state of one lowering, shared by the files that lower particular ops.
#pragma once

#include <map>
#include <set>

#include "codegen/backend.h"
#include "codegen/lower/lower.h"
#include "codegen/lower/spec_builder.h"
#include "ir/core/op_def.h"

namespace weft {

struct Lowering {
  Module& m;
  const Target& target;
  Lowered out;
  std::map<const Value*, int> tensors;         // value -> plan tensor
  std::map<Hash, int> kernels;
  std::map<int, int> constant_slots;           // module constant -> plan constant
  std::map<std::string, int> prepared_factors; // tensor and form -> the prepared tensor
  std::set<const Value*> needed;               // values whose elements are needed at run time
  std::vector<Command>* commands = nullptr;    // where commands go now
  std::vector<std::string> nodes;              // provenance of what is being lowered
  std::vector<Error> problems;

  Lowering(Module& module, const Target& t) : m(module), target(t) {}
  Plan& plan() { return out.plan; }

  Status graph(Graph& g);                      // every needed op, in order
  Status op(Op& op);

  // --- tensors
  int new_tensor(const Value* v, Storage storage = Storage::arena);             // dense row-major, a buffer of its own
  int temp(const std::string& name, DType t, const Shape& dims);                // an arena tensor with no Value
  int alias(const Value* v, int source, Shape dims, std::vector<Dim> strides, Dim byte_offset);
  Result<int> tensor(const Value* v);          // materialises constants and known values on demand
  Placement placement(int tensor) const;
  bool dense(int tensor) const;

  // --- kernels
  // Builds one kernel that computes `outputs` (their tensors are made unless they exist) from `inputs`.
  Status kernel(const std::string& title, const std::vector<const Value*>& inputs, const std::vector<const Value*>& outputs);
  // Chooses, deduplicates and launches a spec. tensors: per pointer; symbols: per param.
  Status launch(KernelSpec spec, std::vector<int> tensor_ids, const std::vector<std::string>& symbols);
  // Constant factors of a contraction become tensors of the prepare region (prepare_factors.cpp).
  void mark_constant(KernelSpec& spec, const std::vector<int>& tensor_ids) const;
  Status prepare_factors(KernelSpec& spec, std::vector<int>& tensor_ids);
  Command& command(CommandKind k);

  // --- per-op rules in other files; each returns true when it handled the op
  Result<bool> view(Op& op);
  Result<bool> host(Op& op);
  Result<bool> control(Op& op);
};

// Operands that only decide shapes or axes: not read at run time when their contents are known.
bool is_shape_operand(const Op& op, int index);

}  // namespace weft
