// Weights of contractions are laid out as the kernel walks them once, when the model is loaded, instead of in every run.
#include <algorithm>

#include "codegen/cpu/contraction_shape.h"
#include "codegen/cuda/gemm_shape.h"
#include "codegen/lower/lowering.h"

namespace weft {

// Marks the operands whose memory never changes.
void Lowering::mark_constant(KernelSpec& spec, const std::vector<int>& ids) const {
  if (commands == &out.plan.prepare.commands) return;
  for (SpecOperand& o : spec.operands) {
    Storage s = out.plan.buffers[out.plan.tensors[ids[o.ptr]].buffer].storage;
    o.constant = !o.write && (s == Storage::constant || s == Storage::prepared);
  }
}

// Sizes become params, so that one kernel prepares all weights of a kind. 0 and 1 stay: they say how memory is walked.
static std::vector<Dim> generalise(KernelSpec& s) {
  std::vector<Dim> values;
  auto lift = [&](Dim& d) {
    if (!d.is_const() || d.is(0) || d.is(1)) return;
    s.params.push_back("n" + std::to_string(values.size()));
    values.push_back(d);
    d = Dim::symbol(s.params.back());
  };
  for (size_t k = 0; k + 1 < s.axes.size(); ++k) lift(s.axes[k].extent);  // the last one is the tile
  for (SpecOperand& o : s.operands) {
    for (Dim& d : o.strides) lift(d);
    lift(o.offset);
    for (SpecGuard& g : o.guards) lift(g.hi);
  }
  return values;
}

// Moves the last command to right behind the one that wrote this tensor, which need not be kept for long then.
static void place_behind_writer(const Plan& p, std::vector<Command>& commands, int tensor) {
  size_t at = commands.size() - 1;
  auto writes = [&](const Command& c) {
    bool found = false;
    for_each_access(c, [&](int t, Access a) { found = found || (a != Access::read && p.tensors[t].buffer == p.tensors[tensor].buffer); });
    return found || !c.regions.empty();
  };
  while (at > 0 && !writes(commands[at - 1])) --at;
  std::rotate(commands.begin() + static_cast<long>(at), commands.end() - 1, commands.end());
}

// What the stages' bodies read of an operand has its type.
static void retype_loads(KernelSpec& spec, int operand) {
  for (SpecStage& st : spec.stages)
    for (ScalarInst& x : st.body.insts)
      if (x.prim == Prim::input && st.inputs[x.index].kind == StageInput::Kind::load && st.inputs[x.index].operand == operand)
        x.type = spec.operands[operand].dtype;
}

Status Lowering::use_prepared(KernelSpec& spec, std::vector<int>& ids, int operand, KernelSpec copy, const Shape& dims) {
  SpecOperand& o = spec.operands[operand];
  int source = ids[o.ptr];
  // Equal forms of one tensor are made once.
  auto [it, fresh] = prepared_factors.emplace(std::to_string(source) + " " + print_spec(copy), -1);
  if (fresh) {
    int t = temp(plan().tensors[source].name + ".prepared", copy.operands.back().dtype, dims);
    plan().buffers[plan().tensors[t].buffer].storage = Storage::prepared;
    it->second = t;
    auto* saved = std::exchange(commands, &plan().prepare.commands);
    collapse_axes(copy);
    std::vector<Dim> sizes = generalise(copy);
    Status s = launch(std::move(copy), {source, t}, sizes);
    commands = saved;
    TRY(s);
    place_behind_writer(plan(), plan().prepare.commands, source);
  }
  bool shared = std::count_if(spec.operands.begin(), spec.operands.end(), [&](const SpecOperand& x) { return x.ptr == o.ptr; }) > 1;
  if (shared) {
    o.ptr = spec.num_ptrs++;
    ids.push_back(it->second);
  } else {
    ids[o.ptr] = it->second;
  }
  return {};
}

Status Lowering::prepare_factors(KernelSpec& spec, std::vector<int>& ids) {
  if (target.backend == Backend::cuda) {
    auto packed = pack_weights(spec, target);
    if (!packed) return {};
    TRY(use_prepared(spec, ids, packed->operand, std::move(packed->copy), packed->dims));
    SpecOperand& o = spec.operands[packed->operand];
    packed->as_read.ptr = o.ptr;
    o = packed->as_read;
    retype_loads(spec, packed->operand);
    return {};
  }
  for (int factor : contraction_factors(spec)) {
    Shape dims;
    auto copy = prepare_factor(spec, factor, &dims);
    if (!copy) continue;
    const DType form = copy->operands.back().dtype;
    TRY(use_prepared(spec, ids, factor, std::move(*copy), dims));
    SpecOperand& o = spec.operands[factor];
    o.tile = factor_tile(spec, factor);
    o.dtype = form;
    retype_loads(spec, factor);
  }
  for (SpecOperand& o : spec.operands) o.constant = false;
  return {};
}

}  // namespace weft
