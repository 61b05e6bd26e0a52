// Control flow: attributes, and what infer needs for isolated bodies. A body sees its inputs only; whatever else it reads
// of the surrounding graph is a capture, an explicit trailing operand and body input.
#pragma once

#include <functional>
#include <set>

#include "ir/core/op_def.h"

namespace weft {

// if_else(cond, captures...): graphs[0] is the branch for true, graphs[1] the other; both take the captures.

// loop(trip_count?, cond?, carried..., captures...) -> carried..., scan outputs...
// graphs[0]: (iteration i64[], cond bool[], carried..., captures...) -> cond, carried..., scan outputs...
// Runs while there are iterations left (no trip_count: always) and cond is true (absent: true). A scan output is stacked
// along a new first dim.
struct LoopAttrs : AttrsOf<LoopAttrs> {
  int64_t num_carried = 0;
  void fields(FieldVisitor& v) { v.field("num_carried", num_carried); }
};

// scan(carried..., scan inputs..., captures...) -> carried..., scan outputs...
// graphs[0]: (carried..., slices..., captures...) -> carried..., slices... Lists shorter than the inputs or outputs count
// as zeros; a direction of 1 runs backward.
struct ScanAttrs : AttrsOf<ScanAttrs> {
  int64_t num_carried = 0, num_scan_inputs = 0;
  std::vector<int64_t> scan_input_axes, scan_input_directions, scan_output_axes, scan_output_directions;
  void fields(FieldVisitor& v) {
    v.field("num_carried", num_carried);
    v.field("num_scan_inputs", num_scan_inputs);
    v.field("scan_input_axes", scan_input_axes);
    v.field("scan_input_directions", scan_input_directions);
    v.field("scan_output_axes", scan_output_axes);
    v.field("scan_output_directions", scan_output_directions);
  }
};

// reject() -> a value of `type` that never comes to be: who gets here is told `text` (kInvalidModel). It stands in a branch
// that the dims rule out.
struct RejectAttrs : AttrsOf<RejectAttrs> {
  std::string text;
  Type type;
  void fields(FieldVisitor& v) {
    v.field("text", text);
    v.field("type", type);
  }
};
// Fills an empty branch with results of the other one's types. Error when those are no tensors of numbers of known rank.
Status become_reject(Graph& branch, const Graph& other, const std::string& text, const std::vector<std::string>& provenance);

// --- infer over bodies ------------------------------------------------------------------------------------------------

// Gives a body's inputs their types and infers it again when one of them changed.
class BodyInputs {
 public:
  explicit BodyInputs(Graph& body) : body_(body) {}
  Graph& body() const { return body_; }
  const Type& type(int i) const { return body_.inputs[i]->type; }
  void set(int i, const Type& type, std::shared_ptr<const std::vector<Dim>> known = nullptr);
  void pass(int i, const Value& v) { set(i, v.type, v.known); }
  // forget: no symbol of an earlier inference survives. Needed where an input may have lost a fact.
  Status infer(bool forget = false);

 private:
  Graph& body_;
  bool changed_ = false;
};

// Symbols in the operands' types and contents: all that the surrounding graph shares with a body.
std::set<std::string> shared_symbols(const Op& op);

// The dim to use in place of one that does not hold.
using OtherDim = std::function<Dim(int)>;
// A type that holds for values of either type. Inside sequences a dim that differs becomes the varying dim (sequence.h).
Result<Type> join_types(const Type& a, const Type& b, const OtherDim& other);
// A symbol for a result's dim that only the run knows; it joins `shared`.
Dim outer_dim(const Op& op, int result, int dim, std::set<std::string>& shared, InferContext& cx);
// A body's result type as seen from outside: dims that mention symbols of the body alone are replaced.
Type escape_type(const Type& t, const std::set<std::string>& shared, const OtherDim& other);

// Values that go round: operand first_operand + k enters body input first_input + k and comes back from body output
// first_output + k.
struct Carried {
  int count = 0, first_operand = 0, first_input = 0, first_output = 0;
};
// Finds types that hold in every iteration and infers the body with them: a dim that does not come back as it went in
// becomes a symbol of the body. Error when a value comes back with another dtype or kind.
Status infer_carried(const Op& op, BodyInputs& inputs, const Carried& carried, InferContext& cx);
// A type for one body input whose dims where `varies` holds differ between iterations; keeps the body's own symbols.
Type iteration_type(const BodyInputs& inputs, int input, Type t, const std::function<bool(const Dim&)>& varies, const std::set<std::string>& shared,
                    InferContext& cx);

// One operand or body output is absent or is not of the right kind.
Status need_body(const Op& op, size_t graphs);
// Stacks values of equal dims along a new dim; none: `empty` gives the dims of one.
struct Tensor;
Result<Tensor> stack_slices(const std::vector<Tensor>& slices, int axis, bool reversed, DType t, const std::vector<int64_t>& empty);
// Concrete dims of a type under the dims that the operands have; what they do not decide is 0.
std::vector<int64_t> dims_under(const Type& t, const SymbolValues& values);
SymbolValues symbol_values(const Op& op, const std::vector<const HostValue*>& in);
// flops and bytes of everything in a body, once.
Cost body_cost(const Graph& body);

}  // namespace weft
