// Functions of floats whose results are rounded to 16 bits or less: errors of a few units in the last place of a float, over the
// whole range, for a third of the instructions.
#pragma once

#include "kernels/core/convert.cuh"

namespace weft {

// Relative error |a| 2^-23.
WEFT_FN f32 exp_fast(f32 a) {
  f32 r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a * 1.4426950408889634f));
  return r;
}
WEFT_FN f32 div_fast(f32 a, f32 b) {
  f32 r;
  asm("div.full.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
WEFT_FN f32 sigmoid_fast(f32 a) { return div_fast(1.0f, 1.0f + exp_fast(-a)); }
// (1 - e) / (1 + e) with e = exp(-2 |a|), and where that cancels the first terms of the series.
WEFT_FN f32 tanh_fast(f32 a) {
  const f32 x = ::fabsf(a), e = exp_fast(-2.0f * x), far = div_fast(1.0f - e, 1.0f + e);
  const f32 near = ::fmaf(x * x * x, -0.33333333f, x);
  return ::copysignf(x < 0.03f ? near : far, a);
}

// `narrow` of a float, with one NaN for all.
template <class T> WEFT_FN T narrow_fast(f32 v) {
  T r;
  if constexpr (same<T, f16>) asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
#if __CUDA_ARCH__ >= 800
  else if constexpr (same<T, bf16>) asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
#endif
  else r = narrow<T>(v);
  return r;
}

}  // namespace weft
