#include "passes/layout/tensor_cores.h"

#include "ir/ops/conv.h"

namespace weft {

bool multiplies_on_tensor_cores(DType a, DType b, const Target& target) {
  auto both = [&](DType one, DType other) { return (a == one || a == other) && (b == one || b == other); };
  auto has = [&](Gpu::Tensor needs) { return target.backend == Backend::cuda && target.gpu.has(needs); };
  if (both(DType::i8, DType::u8)) return has(Gpu::int8_mma);
  if (both(DType::f8e4m3fn, DType::f8e5m2)) return has(Gpu::fp8_mma);
  return a == b && ((a == DType::f16 && has(Gpu::f16_mma)) || (a == DType::bf16 && has(Gpu::bf16_mma)));
}

bool runs_on_tensor_cores(const Op& conv, const Target& target) {
  const Type &x = conv.operands[0]->type, &w = conv.operands[1]->type;
  const bool tf32 = conv.attr<ConvAttrs>().tf32 && target.backend == Backend::cuda && target.gpu.has(Gpu::tf32_mma);
  if (!tf32 && !multiplies_on_tensor_cores(x.dtype, w.dtype, target)) return false;
  return conv.attr<ConvAttrs>().group == 1 && w.is_ranked() && w.rank() >= 3 && w.shape[1].is_const();
}

}  // namespace weft
