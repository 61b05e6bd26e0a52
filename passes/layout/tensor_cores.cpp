#include "passes/layout/tensor_cores.h"

#include "ir/ops/conv.h"

namespace weft {

bool runs_on_tensor_cores(const Op& conv, const Target& target) {
  const Type &x = conv.operands[0]->type, &w = conv.operands[1]->type;
  const bool tf32 = conv.attr<ConvAttrs>().tf32;
  const Gpu::Tensor needs = tf32 ? Gpu::tf32_mma : x.dtype == DType::f16 ? Gpu::f16_mma : Gpu::bf16_mma;
  if (target.backend != Backend::cuda || (!tf32 && x.dtype != DType::f16 && x.dtype != DType::bf16) || !target.gpu.has(needs)) return false;
  return w.dtype == x.dtype && conv.attr<ConvAttrs>().group == 1 && w.is_ranked() && w.rank() >= 3 && w.shape[1].is_const();
}

}  // namespace weft
