// column sum: template loops, up to 2 elements along i1
#include "kernels/core/launch.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/core/fast.cuh"

namespace weft {

constexpr int kThreads = 256;
constexpr int kUnroll = 4;
constexpr int kGroup = 16;  // threads that share a point's rows
constexpr int kColumns = kThreads / kGroup;
constexpr int kStep = kGroup;

struct Acc0 { f32 a0; };
WEFT_FN Acc0 join0(const Acc0& a, const Acc0& b) {
  const f32 t0 = a.a0;
  const f32 t1 = b.a0;
  const f32 t2 = t0 + t1;
  return {t2};
}

template <int V, class Index>
WEFT_FN void run(const f32* p0, f32* p1) {
  const Index points = 2048 / V;
  const int column = threadIdx.x % kColumns, part = threadIdx.x / kColumns;
  for (Index from = (Index)(blockIdx.x) * kColumns; from < points; from += (Index)(gridDim.x) * kColumns) {
    const bool live = from + column < points;
    const Index at = live ? from + column : points - 1;
    const Index i1 = at * V;
    Acc0 acc0[V];
#pragma unroll
    for (int l = 0; l < V; ++l) acc0[l] = Acc0{0.0f};
    {
      Index row = part;
      for (; row < 256 - (kUnroll - 1) * kStep; row += kUnroll * kStep) {
        Pack<f32, V> x0[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
          const Index i0 = (row + u * kStep);
          x0[u] = load_const<V>(p0 + (i0 * 2048 + i1));
        }
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
          const Index i0 = (row + u * kStep);
#pragma unroll
          for (int l = 0; l < V; ++l) {
            const f32 t0 = value(x0[u].v[l]);
            acc0[l] = join0(acc0[l], Acc0{t0});
          }
        }
      }
#pragma unroll 1
      for (; row < 256; row += kStep) {
        const Index i0 = row;
        const Pack<f32, V> x0 = load_const<V>(p0 + (i0 * 2048 + i1));
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = value(x0.v[l]);
          acc0[l] = join0(acc0[l], Acc0{t0});
        }
      }
    }
    __shared__ Acc0 shared0[kThreads * V];
    reduce_columns<kGroup, kColumns>(acc0, shared0, [](const Acc0& a, const Acc0& b) { return join0(a, b); });
    {
      Pack<f32, V> y1;
#pragma unroll
      for (int l = 0; l < V; ++l) {
        const f32 t0 = acc0[l].a0;
        y1.v[l] = t0;
      }
      if (live && part == 0) store<V>(p1 + i1, y1);
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) kernel(const f32* p0, f32* p1, const i64* dims) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  if (aligned(p0, 8) && aligned(p1, 8)) {
    run<2, int>(p0, p1);
  } else {
    run<1, int>(p0, p1);
  }
}

}  // namespace weft
