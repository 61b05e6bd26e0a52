#include "codegen/cpu/quantised_weights.h"

#include <algorithm>

namespace weft {

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
  const auto scaled = scaled_elements(sp, f);
  if (!scaled || scaled->elements != f.operand) return std::nullopt;
  std::optional<QuantisedWeights> w{{*scaled}};
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
