// SpecBuilder: turns a connected piece of a Graph into one KernelSpec by asking, for each output element, which elements of
// the inputs it is made of. Every op has a rule that says how its result at an index follows from its operands
// (rules.def); elementwise ops use their scalar body. Reductions become stages. What cannot be expressed as one kernel
// is an Error kUnsupported, so a fusion that goes too far is refused, never wrong.
#pragma once

#include <functional>
#include <map>

#include "codegen/kernel_spec.h"
#include "ir/core/module.h"

namespace weft {

// Where a value lies: element strides over module symbols and an element offset.
struct Placement {
  DType dtype = DType::f32;
  Shape dims;
  std::vector<Dim> strides;
};
std::vector<Dim> dense_strides(const Shape& dims);

using Index = std::vector<Dim>;

class SpecBuilder {
 public:
  // `place` gives the placement of the values that the region reads and writes.
  SpecBuilder(std::string title, std::function<Placement(const Value*)> place);

  // Values read from outside; every other value must come from an op with a rule. Pointer numbers are given in order of
  // first use: inputs() and outputs() list the values to pass.
  void add_input(const Value* v) { external_[v] = true; }
  bool is_external(const Value* v) const { return external_.count(v) != 0; }
  // Stores `v`. All outputs share one domain: the dims of the first, or 1 where a later one is reduced.
  Status add_output(const Value* v);
  Result<KernelSpec> finish();

  // The symbols behind spec.params, in order (the launch's dims).
  const std::vector<std::string>& symbols() const { return symbols_; }
  // The values behind the pointers, in order.
  const std::vector<const Value*>& pointers() const { return pointers_; }

  bool clamp_indices = false;  // ones out of range are found out later: till then they must do no harm

  // --- for rules --------------------------------------------------------------------------------------------
  ScalarProgram& program() { return cx_->body; }
  // The instruction that holds v at idx, in the current stage's program.
  Result<int> emit(const Value* v, const Index& idx);
  S at(int id) { return {&program(), id}; }
  // An i64 expression over axes as an instruction.
  int index_value(const Dim& d);
  // An instruction's (integer) value as a symbol for index maps of the same stage.
  Dim as_index(int id) { return Dim::symbol("$" + std::to_string(id)); }
  // Emits `inner` so that it reads nothing unless all guards hold; then the result is `fill`.
  Result<int> guarded(std::vector<SpecGuard> guards, double fill, DType t, const std::function<Result<int>()>& inner);

  struct Reduction {
    ScalarProgram combine;
    std::vector<double> init;
  };
  static Reduction sum(DType t);
  static Reduction product(DType t);
  static Reduction maximum(DType t);
  static Reduction minimum(DType t);
  // Reduces body(row index symbols) over fresh (or equal existing) row axes. Returns the accumulators in the current
  // stage. `key` makes equal reductions one stage.
  Result<std::vector<int>> reduce(const std::string& key, const Shape& extents, const Reduction& r,
      const std::function<Result<std::vector<int>>(const Index&)>& body);
  // Reduces along existing output axes: idx[axes] become row axes of the domain where they are plain axes.
  Result<std::vector<int>> reduce_along(const std::string& key, const Shape& dims, const std::vector<int>& axes, const Index& idx, const Reduction& r,
                                        const std::function<Result<std::vector<int>>(const Index&)>& body);
  // The sum of body(inner index) over an axis of its own, for each element of the row: within the body of `attend`.
  Result<int> inner_sum(const Dim& extent, DType t, const std::function<Result<int>(const Dim&)>& body);
  // The values of body(row index) -> {score, value}, weighed by the softmax of their scores along a row of that extent.
  Result<int> attend(const std::string& key, const Dim& extent, const std::function<Result<std::vector<int>>(const Dim&)>& body);
  static std::string key_of(const Op& op, const char* what, const Index& idx);
  // Simplified with what is known of the axes' ranges.
  Dim simplify(const Dim& d) const;
  Error refuse(const Op& op, const std::string& why) const;

 private:
  struct StageContext {
    ScalarProgram body;
    std::vector<StageInput> inputs;
    std::map<std::string, int> memo;  // value and index -> instruction
  };
  int add_input_slot(StageInput in, DType t);
  int load(const Value* v, const Index& idx);
  int indirect_value(const Dim& d);
  int pointer(const Value* v);
  Result<Index> row_index(const Shape& extents);
  // Builds a stage of its own; returns its number.
  Result<int> stage(SpecStage::Kind kind, const Reduction& r, const std::function<Result<std::vector<int>>()>& body);
  // The stage's results as instructions of the current one.
  std::vector<int> results_of(int stage);

  KernelSpec spec_;
  std::function<Placement(const Value*)> place_;
  std::map<const Value*, bool> external_;
  std::vector<const Value*> pointers_;
  std::vector<std::string> symbols_;
  std::vector<SpecGuard> guards_;
  double guard_fill_ = 0;
  std::map<std::string, int> stages_by_key_;
  Shape domain_;
  std::unique_ptr<StageContext> cx_;
};

// The rule of an op, or null: its result at idx as an instruction of r.program().
using Rule = Result<int> (*)(SpecBuilder& r, const Op& op, int result, const Index& idx);
Rule rule_of(OpKind k);
// Whether a region can hold the op.
bool has_rule(const Op& op);

}  // namespace weft
