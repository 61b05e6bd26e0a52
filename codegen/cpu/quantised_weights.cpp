#include "codegen/cpu/quantised_weights.h"

#include <algorithm>

namespace weft {

namespace {

// What a value was before casts.
int before_casts(const ScalarProgram& p, int v) {
  while (p.insts[v].prim == Prim::cast) v = p.insts[v].args[0];
  return v;
}
// The operand that a value loads; -1: it is no load.
int loaded(const SpecStage& st, int v) {
  const ScalarInst& x = st.body.insts[v];
  return x.prim == Prim::input && st.inputs[x.index].kind == StageInput::Kind::load ? st.inputs[x.index].operand : -1;
}

// (elements - zero) * scale, as far as the values say.
std::optional<QuantisedWeights> match(const KernelSpec& sp, int value) {
  const SpecStage& st = sp.stages[0];
  const ScalarProgram& p = st.body;
  const ScalarInst& product = p.insts[before_casts(p, value)];
  if (product.prim != Prim::mul) return std::nullopt;
  for (int i : {0, 1}) {
    QuantisedWeights w;
    const int scale = before_casts(p, product.args[i]), rest = before_casts(p, product.args[1 - i]);
    w.scale = loaded(st, scale);
    if (!is_float(p.type(scale)) || (w.scale < 0 && p.insts[scale].prim != Prim::constant)) continue;
    if (w.scale < 0) w.fixed_scale = p.insts[scale].f;
    int elements = rest;
    if (const ScalarInst& x = p.insts[rest]; x.prim == Prim::sub) {
      elements = before_casts(p, x.args[0]);
      const int zero = before_casts(p, x.args[1]);
      const ScalarInst& z = p.insts[zero];
      w.zero = loaded(st, zero);
      if (w.zero < 0 && (z.prim != Prim::constant || is_float(z.type))) continue;
      w.fixed_zero = w.zero < 0 ? static_cast<double>(z.i) : 0;
    }
    w.elements = loaded(st, elements);
    if (w.elements < 0 || !is_int(p.type(elements)) || (w.zero >= 0 && !is_int(sp.operands[w.zero].dtype))) continue;
    return w;
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> steps_of(const KernelSpec& sp, int operand, const std::vector<int>& k_axes) {
  const std::set<std::string> walked = axes_of_operand(sp, operand);
  int64_t steps = 1;
  bool inner = true;
  for (size_t k = k_axes.size(); k-- > 0;) {
    const SpecAxis& axis = sp.axes[k_axes[k]];
    const bool walks = walked.count(axis.name) > 0;
    if (!inner && !walks) return std::nullopt;
    inner = inner && !walks;
    if (inner) steps *= axis.extent.value();
  }
  return steps;
}

std::optional<QuantisedWeights> quantised_weights(const KernelSpec& sp, const ProductFactor& f, const std::vector<int>& k_axes) {
  if (f.plain || f.operand < 0 || sp.stages[0].body.type(sp.stages[0].body.outputs[0]) != DType::f32) return std::nullopt;
  auto w = match(sp, f.arg);
  if (!w || w->elements != f.operand) return std::nullopt;
  const SpecOperand& elements = sp.operands[w->elements];
  w->bits = elements.tile ? static_cast<int>(sp.config.bits) : bit_width(elements.dtype);
  w->is_signed = is_signed_int(elements.dtype);
  if (w->bits > 8 || (w->zero >= 0 && !sp.operands[w->zero].tile && bit_width(sp.operands[w->zero].dtype) > 8)) return std::nullopt;
  for (int o : f.loads)
    if (!sp.operands[o].constant && !sp.operands[o].tile) return std::nullopt;
  w->group = 1;
  for (int a : k_axes) {
    if (!sp.axes[a].extent.is_const()) return std::nullopt;
    w->group *= sp.axes[a].extent.value();
  }
  for (int o : w->beside()) {
    auto steps = steps_of(sp, o, k_axes);
    if (!steps) return std::nullopt;
    w->group = std::min(w->group, *steps);
  }
  constexpr int64_t kMost = 64;
  const int64_t inner = sp.axes[k_axes.back()].extent.value();
  if (inner % w->per_word() != 0) return std::nullopt;
  for (int64_t n = w->per_word(); n <= kMost; n += w->per_word())
    if (w->group % n == 0) w->chunk = n;
  return w->chunk ? w : std::nullopt;
}

}  // namespace weft
