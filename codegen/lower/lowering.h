// The state of one lowering, shared by the files that lower particular ops.
//
// Symbols: `bound` holds those that have a value where commands go now. Inputs bind theirs; a dim that only data decide is
// a symbol that a command sets (data_dims.cpp, host calls, control flow). A tensor whose size depends on such a symbol
// lies in a dynamic buffer that is allocated once its size is known; everything else lies in the arena.
// Sub-byte elements lie one a byte inside the plan, under the type of carrier_type(); inputs and outputs are packed.
#pragma once

#include <map>
#include <set>

#include "codegen/backend.h"
#include "codegen/lower/lower.h"
#include "codegen/lower/spec_builder.h"
#include "codegen/split_reduction.h"
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
  std::set<const Op*> live;                    // ops that must run, for elements or for symbols of their result dims
  std::set<std::string> bound;                 // symbols with a value
  std::set<std::string> early;                 // those of them that inputs bind
  std::map<const Value*, std::vector<Dim>> contents_read;
  std::map<const Value*, int> placed;          // parts of concats: their tensor inside the result
  std::vector<std::pair<int, int>> in_place;   // (tensor read, tensor written) by a launch that may use one memory for both
  std::map<std::string, Dim> sizes;            // products of input dims that variants are selected by, set at the start
  std::vector<Command> at_start;               // sets of these, and checks of dims that inputs decide: before everything else
  std::set<int> unallocated;                   // buffers whose `alloc` is still to come
  std::vector<Command>* commands = nullptr;    // where commands go now
  std::vector<std::string> nodes;              // provenance of what is being lowered
  std::vector<Error> problems;
  std::unique_ptr<Graph> scratch;              // of ops and values that stand for parts of others
  bool preparing = false;                      // commands go to the prepare region
  std::map<const std::vector<Command>*, std::set<std::string>> checked;  // conditions that a list of commands checks

  const Tuning* tuning = nullptr;
  bool ordered_sums = false;

  Lowering(Module& module, const Target& t) : m(module), target(t) {}
  Plan& plan() { return out.plan; }

  Status graph(Graph& g);                      // every live op, in order
  Status op(Op& op);

  // --- tensors (tensors.cpp)
  int new_tensor(const Value* v, Storage storage = Storage::arena);             // dense row-major, a buffer of its own
  int temp(const std::string& name, DType t, const Shape& dims);                // a tensor with no Value
  // The bytes of `source` from byte_offset on under other dims and strides; for a Value, or for none (null).
  int alias(const Value* v, int source, Shape dims, std::vector<Dim> strides, Dim byte_offset);
  Result<int> tensor(const Value* v);          // materialises constants and known values on demand
  int result(const Value* v);                  // where an op is to write v: made unless it exists, and allocated
  void allocate(int tensor);                   // `alloc` of its buffer, where that is still to come
  bool late(const Dim& d) const;               // depends on a symbol that no input binds
  Placement placement(int tensor) const;
  bool dense(int tensor) const;

  // --- dims that data decide (data_dims.cpp)
  // The elements of a small tensor as Dims: known ones, or symbols that `read` commands set. Floats count truncated.
  Result<std::vector<Dim>> contents(const Value* v);
  // Makes the operands known that decide shapes, and sets the symbols of result dims that follow from them.
  Status know_shapes(Op& op);
  void set_symbol(const std::string& symbol, const Dim& value);
  Dim named(const Dim& value);                 // as a symbol of its own: products of long sums grow without bound
  void check_positive(const Dim& condition, const std::string& text);           // a run-time Error unless condition > 0
  void check_assumed(const Op& op);            // what infer took for granted, as far as its symbols have values
  bool is_bound(const Dim& d) const;
  Graph* scratch_graph();

  // --- kernels
  // Builds one kernel that computes `outputs` (their tensors are made unless they exist) from `inputs`.
  Status kernel(const std::string& title, const std::vector<const Value*>& inputs, const std::vector<const Value*>& outputs);
  // Chooses, deduplicates and launches a spec: one kernel, or variants for parts of the ranges of dims (variants.cpp).
  // tensors: per pointer; dims: per param.
  Status launch(KernelSpec spec, std::vector<int> tensor_ids, std::vector<Dim> dims);
  Status launch_chosen(KernelSpec spec, std::vector<int> tensor_ids, const std::vector<Dim>& dims);
  Status launch_split(const SplitReduction& split, const std::vector<int>& tensor_ids, const std::vector<Dim>& dims);
  // Constant factors of a contraction become tensors of the prepare region (prepare_factors.cpp).
  void mark_constant(KernelSpec& spec, const std::vector<int>& tensor_ids) const;
  Status prepare_factors(KernelSpec& spec, std::vector<int>& tensor_ids);
  // An operand is read in another form, which `copy` makes of its tensor.
  Status use_prepared(KernelSpec& spec, std::vector<int>& tensor_ids, int operand, KernelSpec copy, const Shape& dims);
  Command& command(CommandKind k);
  void copy(int from, int to);                 // moves.cpp
  void fill(int to, double value);
  // A call of kernels/host/host.def. Unbound symbols in the outputs' dims get their values from it.
  Status call(const std::string& name, const std::vector<int>& inputs, const std::vector<int>& outputs, const std::string& attributes = "");

  // --- per-op rules in other files; each returns true when it handled the op
  Result<bool> view(Op& op);
  Result<bool> host(Op& op);
  Result<bool> control(Op& op);
  Result<bool> collective(Op& op);
  Result<bool> open_axes(Op& op);              // reductions along axes that only data know (open_axes.cpp)
  Status check_indices(const Op& op);          // an index out of range is an Error, before a kernel or call uses it
};

// Operands that only decide shapes or axes: not read at run time when their contents are known.
bool is_shape_operand(const Op& op, int index);
// What needs to run for the values that these outputs of g and the needed symbols depend on.
void find_live(Graph& g, const std::vector<Value*>& outputs, Lowering& l);
// Gives the parts of concats their places in the results, and the operands of views those of their results, so that what
// computes them writes them there.
void plan_places(Lowering& l, Graph& g);
// Whether the op runs as a host call, which wants dense results.
bool runs_on_host(const Op& op);
// How elements lie inside a plan: a sub-byte type's as one byte each.
DType carrier_type(DType t);

}  // namespace weft
