// row by matrix: template loops, up to 4 elements along i1
#include "kernels/core/launch.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/core/fast.cuh"
#include "kernels/core/cluster.cuh"

namespace weft {

constexpr int kThreads = 256;
constexpr int kUnroll = 4;
constexpr int kGroup = 16;  // threads that share a point's rows
constexpr int kColumns = kThreads / kGroup;
constexpr int kRanks = 8;  // blocks that share a point's rows
constexpr int kStep = kGroup * kRanks;

struct Acc0 { f32 a0; };
WEFT_FN Acc0 join0(const Acc0& a, const Acc0& b) {
  const f32 t0 = a.a0;
  const f32 t1 = b.a0;
  const f32 t2 = t0 + t1;
  return {t2};
}

template <int V, class Index>
WEFT_FN void run(const bf16* p0, const bf16* p1, bf16* p2, const bf16* p3) {
  const Index points = 4096 / V;
  const int column = threadIdx.x % kColumns, part = threadIdx.x / kColumns + cluster_rank() * kGroup;
  for (Index from = (Index)(blockIdx.x / kRanks) * kColumns; from < points; from += (Index)(gridDim.x / kRanks) * kColumns) {
    const bool live = from + column < points;
    const Index at = live ? from + column : points - 1;
    const Index i1 = at * V;
    Acc0 acc0[V];
#pragma unroll
    for (int l = 0; l < V; ++l) acc0[l] = Acc0{0.0f};
    {
      Index row = part;
      for (; row < 4096 - (kUnroll - 1) * kStep; row += kUnroll * kStep) {
        bf16 x0[kUnroll];
        Pack<bf16, V> x1[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
          const Index r0 = (row + u * kStep);
          x0[u] = load_const(p0 + r0);
          x1[u] = load_const<V>(p1 + (i1 + r0 * 4096));
        }
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
          const Index r0 = (row + u * kStep);
          const f32 t0 = value(x0[u]);
          const f32 t2 = cast<f32>(t0);
#pragma unroll
          for (int l = 0; l < V; ++l) {
            const f32 t1 = value(x1[u].v[l]);
            const f32 t3 = cast<f32>(t1);
            acc0[l].a0 = fma(t2, t3, acc0[l].a0);
          }
        }
      }
#pragma unroll 1
      for (; row < 4096; row += kStep) {
        const Index r0 = row;
        const f32 t0 = value(load_const(p0 + r0));
        const Pack<bf16, V> x1 = load_const<V>(p1 + (i1 + r0 * 4096));
        const f32 t2 = cast<f32>(t0);
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t1 = value(x1.v[l]);
          const f32 t3 = cast<f32>(t1);
          acc0[l].a0 = fma(t2, t3, acc0[l].a0);
        }
      }
    }
    __shared__ Acc0 shared0[kThreads * V];
    reduce_columns<kGroup, kColumns>(acc0, shared0, [](const Acc0& a, const Acc0& b) { return join0(a, b); });
    reduce_cluster<kRanks>(acc0, shared0 + column * V, part == 0, [](const Acc0& a, const Acc0& b) { return join0(a, b); });
    {
      Pack<bf16, V> y2;
      const Pack<bf16, V> x1 = load<V>(p3 + i1);
#pragma unroll
      for (int l = 0; l < V; ++l) {
        const f32 t0 = acc0[l].a0;
        const f32 t1 = value(x1.v[l]);
        const f32 t2 = cast<f32>(t1);
        const f32 t3 = t0 + t2;
        const f32 t4 = value(narrow_fast<bf16>(t3));
        y2.v[l] = narrow_fast<bf16>(t3);
      }
      if (live && part == 0) store<V>(p2 + i1, y2);
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) kernel(const bf16* p0, const bf16* p1, bf16* p2, const bf16* p3, const i64* dims) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  if (aligned(p1, 8) && aligned(p2, 8) && aligned(p3, 8)) {
    run<4, int>(p0, p1, p2, p3);
  } else {
    run<1, int>(p0, p1, p2, p3);
  }
}

}  // namespace weft
