#include "passes/layout/tensor_cores.h"

#include "ir/ops/conv.h"

namespace weft {

bool runs_on_tensor_cores(const Op& conv, const Target& target) {
  const Type &x = conv.operands[0]->type, &w = conv.operands[1]->type;
  const bool tf32 = conv.attr<ConvAttrs>().tf32 && target.gpu.has(Gpu::tf32_mma);
  if (!tf32 && !target.gpu.multiplies(x.dtype, w.dtype)) return false;
  return conv.attr<ConvAttrs>().group == 1 && w.is_ranked() && w.rank() >= 3 && w.shape[1].is_const();
}

}  // namespace weft
