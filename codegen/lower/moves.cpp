// Copies and fills: commands that the host's runtime knows; on a GPU kernels like all others.
#include "codegen/lower/lowering.h"

namespace weft {

namespace {

// A spec that walks a tensor's elements.
class Walk {
 public:
  Walk(const Lowering& l, const Shape& dims) : lowering_(l) {
    for (size_t k = 0; k < dims.size(); ++k) {
      SpecAxis a;
      a.name = "i" + std::to_string(k);
      a.extent = param(dims[k]);
      spec.axes.push_back(std::move(a));
    }
  }
  int operand(int tensor, int ptr, bool write) {
    const PlanTensor& t = lowering_.out.plan.tensors[tensor];
    SpecOperand o;
    o.name = t.name;
    o.ptr = ptr;
    o.dtype = t.dtype;
    o.write = write;
    for (size_t k = 0; k < t.dims.size(); ++k) {
      o.index.push_back(Dim::symbol(spec.axes[k].name));
      o.strides.push_back(param(t.strides[k]));
    }
    spec.operands.push_back(std::move(o));
    return static_cast<int>(spec.operands.size()) - 1;
  }

  KernelSpec spec;
  std::vector<Dim> values;  // of params

 private:
  Dim param(const Dim& d) {
    if (d.is_const()) return d;
    for (size_t k = 0; k < values.size(); ++k)
      if (values[k] == d) return Dim::symbol(spec.params[k]);
    spec.params.push_back("v" + std::to_string(values.size()));
    values.push_back(d);
    return Dim::symbol(spec.params.back());
  }
  const Lowering& lowering_;
};

void run(Lowering& l, Walk& w, std::vector<int> tensors) {
  Status s = l.launch(std::move(w.spec), std::move(tensors), w.values);
  if (!s.ok()) l.problems.push_back(std::move(s.error()));
}

}  // namespace

void Lowering::copy(int from, int to) {
  if (target.backend != Backend::cuda) {
    command(CommandKind::copy).tensors = {from, to};
    return;
  }
  Walk w(*this, plan().tensors[to].dims);
  w.spec.title = "copy";
  w.spec.num_ptrs = 2;
  SpecStage st;
  StageInput in;
  in.operand = w.operand(from, 0, false);
  st.inputs.push_back(in);
  st.body.outputs = {st.body.input(0, plan().tensors[from].dtype)};
  st.stores = {w.operand(to, 1, true)};
  w.spec.stages.push_back(std::move(st));
  run(*this, w, {from, to});
}

void Lowering::fill(int to, double value) {
  if (target.backend != Backend::cuda) {
    Command& c = command(CommandKind::fill);
    c.tensors = {to};
    c.scalar = value;
    return;
  }
  Walk w(*this, plan().tensors[to].dims);
  w.spec.title = "fill";
  w.spec.num_ptrs = 1;
  SpecStage st;
  DType t = plan().tensors[to].dtype;
  st.body.outputs = {is_float(t) ? st.body.constant(t, value) : st.body.constant_int(t, static_cast<int64_t>(value))};
  st.stores = {w.operand(to, 0, true)};
  w.spec.stages.push_back(std::move(st));
  run(*this, w, {to});
}

}  // namespace weft
