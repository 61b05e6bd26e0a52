// softmax of long rows: template rows, up to 4 elements along i1
#include "kernels/core/launch.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/core/fast.cuh"
#include "kernels/core/cluster.cuh"

namespace weft {

constexpr int kThreads = 512;
constexpr int kRanks = 8;  // blocks that share a row

struct Acc0 { f32 a0; };
WEFT_FN Acc0 join0(const Acc0& a, const Acc0& b) {
  const f32 t0 = a.a0;
  const f32 t1 = b.a0;
  const f32 t2 = max(t0, t1);
  return {t2};
}

struct Acc1 { f32 a0; };
WEFT_FN Acc1 join1(const Acc1& a, const Acc1& b) {
  const f32 t0 = a.a0;
  const f32 t1 = b.a0;
  const f32 t2 = t0 + t1;
  return {t2};
}

// S: accesses of a thread along a row, all of them; 0: as many as it takes. G: threads of a row.
template <int V, int S, int G, class Index>
WEFT_FN void run(const f32* p0, f32* p1, i64 n0) {
  const Index points = Index(n0), steps = 128256 / V;
  const Index lane = threadIdx.x % G + cluster_rank() * G;
  for (Index from = ((Index)blockIdx.x / kRanks) * (kThreads / G); from < points; from += ((Index)gridDim.x / kRanks) * (kThreads / G)) {
    const bool live = from + (Index)threadIdx.x / G < points;
    const Index i0 = (live ? from + (Index)threadIdx.x / G : points - 1);
    Pack<f32, V> all_row0[S > 0 ? S : 1];
    if (S > 0 && steps > 0) {
#pragma unroll
      for (int step = 0; step < S; ++step) {
        const Index q = min<Index>(lane + step * (G * kRanks), steps - 1);
        const Index i1 = q * V;
        all_row0[step] = load_const<V>(p0 + (i0 * 128256 + i1));
      }
    }
    Acc0 acc0{-as_f32(0x7f800000u)};
#pragma unroll (S > 0 ? S : 4)
    for (Index step = 0, q = lane; S > 0 ? step < S : q < steps; ++step, q += (G * kRanks)) {
      if (S == 0 || q < steps) {
        const Index i1 = q * V;
        const Pack<f32, V> row0 = S > 0 ? all_row0[step] : load_const<V>(p0 + (i0 * 128256 + i1));
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = value(row0.v[l]);
          const f32 t1 = cast<f32>(t0);
          acc0 = join0(acc0, Acc0{t1});
        }
      }
    }
    __shared__ Acc0 shared0[kThreads / 32];
    acc0 = reduce_group<G>(acc0, shared0, [](const Acc0& a, const Acc0& b) { return join0(a, b); });
    __shared__ Acc0 mine0;
    acc0 = reduce_ranks<kRanks>(acc0, &mine0, [](const Acc0& a, const Acc0& b) { return join0(a, b); });
    Acc1 acc1{0.0f};
#pragma unroll (S > 0 ? S : 4)
    for (Index step = 0, q = lane; S > 0 ? step < S : q < steps; ++step, q += (G * kRanks)) {
      if (S == 0 || q < steps) {
        const Index i1 = q * V;
        const Pack<f32, V> row0 = S > 0 ? all_row0[step] : load_const<V>(p0 + (i0 * 128256 + i1));
        const f32 t2 = acc0.a0;
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = value(row0.v[l]);
          const f32 t1 = cast<f32>(t0);
          const f32 t3 = t1 - t2;
          const f32 t4 = exp(t3);
          acc1 = join1(acc1, Acc1{t4});
        }
      }
    }
    __shared__ Acc1 shared1[kThreads / 32];
    acc1 = reduce_group<G>(acc1, shared1, [](const Acc1& a, const Acc1& b) { return join1(a, b); });
    __shared__ Acc1 mine1;
    acc1 = reduce_ranks<kRanks>(acc1, &mine1, [](const Acc1& a, const Acc1& b) { return join1(a, b); });
#pragma unroll (S > 0 ? S : 4)
    for (Index step = 0, q = lane; S > 0 ? step < S : q < steps; ++step, q += (G * kRanks)) {
      if (S == 0 || q < steps) {
        const Index i1 = q * V;
        const Pack<f32, V> row0 = S > 0 ? all_row0[step] : load_const<V>(p0 + (i0 * 128256 + i1));
        Pack<f32, V> y1;
        const f32 t2 = acc0.a0;
        const f32 t5 = acc1.a0;
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = value(row0.v[l]);
          const f32 t1 = cast<f32>(t0);
          const f32 t3 = t1 - t2;
          const f32 t4 = exp(t3);
          const f32 t6 = t4 / t5;
          const f32 t7 = cast<f32>(t6);
          y1.v[l] = t7;
        }
        if (live) store<V>(p1 + (i0 * 128256 + i1), y1);
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) kernel(const f32* p0, f32* p1, const i64* dims) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  const i64 n0 = dims[0];
  const bool small = n0 >= 0 && max<i64>(1ll, n0) < 1073741824ll && n0 * 128256ll + 128256ll < 1073741824ll;
  if (small && aligned(p0, 16) && aligned(p1, 16)) {
    run<4, 8, 512, int>(p0, p1, n0);
  } else {
    run<1, 0, 512, i64>(p0, p1, n0);
  }
}

}  // namespace weft
