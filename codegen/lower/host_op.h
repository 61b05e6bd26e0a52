// One op on its way to a host call.
#pragma once

#include "codegen/lower/lowering.h"
#include "ir/base/text.h"
#include "ir/ops/common.h"

namespace weft {

class HostOp {
 public:
  HostOp(Lowering& lowering, Op& op) : l(lowering), op(op) {}

  void set(const std::string& name, int64_t v) { text(name, std::to_string(v)); }
  void set(const std::string& name, double v) { text(name, number_text(v)); }
  // Operand i; with a name, the attribute of that name says which input it is.
  Status input(int i, const char* name = nullptr) {
    if (!op.operand(i)) return {};
    TRY_ASSIGN(int t, l.tensor(op.operands[i]));
    if (name) set(name, static_cast<int64_t>(inputs_.size()));
    inputs_.push_back(t);
    return {};
  }
  void output(int i, const char* name = nullptr) {
    if (i >= op.num_results()) return;
    const Value* r = op.result(i);
    int t = l.tensors.count(r) ? l.tensors[r] : l.new_tensor(r);
    if (name) set(name, static_cast<int64_t>(outputs_.size()));
    outputs_.push_back(t);
  }
  Status call(const std::string& name) { return l.call(name, inputs_, outputs_, attributes_); }
  Result<int64_t> axis(int64_t given, int operand = 0) {
    TRY_ASSIGN(int a, normalize_axis(given, op.operands[operand]->type.rank()));
    set("axis", static_cast<int64_t>(a));
    return a;
  }

  Lowering& l;
  Op& op;

 private:
  void text(const std::string& name, const std::string& v) { attributes_ += (attributes_.empty() ? "" : " ") + name + "=" + v; }
  std::vector<int> inputs_, outputs_;
  std::string attributes_;
};

// Resampling, regions, deform_conv, det, max_unpool (host_sample.cpp): whether the op is one that runs as a call, and the
// call.
bool sampled_on_host(const Op& op);
Status sample_call(HostOp& h);

}  // namespace weft
