// add relu: template loops, up to 4 elements along i0
#include "kernels/core/launch.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/core/fast.cuh"

namespace weft {

constexpr int kThreads = 256;
constexpr int kUnroll = 2;

template <int V, class Index>
WEFT_FN void run(const f32* p0, const f32* p1, f32* p2) {
  const Index points = 67108864 / V;
  constexpr int kStep = kThreads * kUnroll;
  for (Index from = (Index)blockIdx.x * kStep + threadIdx.x; from < points; from += (Index)gridDim.x * kStep) {
    Pack<f32, V> x0[kUnroll];
    Pack<f32, V> x1[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const Index at = min<Index>(from + u * kThreads, points - 1);
      const Index i0 = at * V;
      x0[u] = load<V>(p0 + i0);
      x1[u] = load<V>(p1 + i0);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const Index at = from + u * kThreads;
      if (at < points) {
        const Index i0 = at * V;
        Pack<f32, V> y2;
        const f32 t3 = 0.0f;
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = value(x0[u].v[l]);
          const f32 t1 = value(x1[u].v[l]);
          const f32 t2 = t0 + t1;
          const f32 t4 = max(t2, t3);
          y2.v[l] = t4;
        }
        store<V>(p2 + i0, y2);
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) kernel(const f32* p0, const f32* p1, f32* p2, const i64* dims) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  if (aligned(p0, 16) && aligned(p1, 16) && aligned(p2, 16)) {
    run<4, int>(p0, p1, p2);
  } else {
    run<1, int>(p0, p1, p2);
  }
}

}  // namespace weft
