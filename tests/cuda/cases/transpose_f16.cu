// transpose f16 with add: template transpose, up to 2 elements along i1
#include "kernels/core/launch.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/core/fast.cuh"

namespace weft {

constexpr int kThreads = 256;

template <int V, class Index>
WEFT_FN void run(const f16* p0, const f16* p1, f16* p2, i64 n0, i64 n1) {
  constexpr int kLanes = 32, kTile = kLanes * V;
  __shared__ alignas(4) f16 tile0[kTile][kTile + 2];
  const Index tiles_r = (Index(n0) + kTile - 1) / kTile, tiles_w = (Index(n1) + kTile - 1) / kTile;
  for (Index i = blockIdx.x; i < tiles_r * tiles_w * 12; i += gridDim.x) {
    const Index first_w = remainder<Index>(i, tiles_w) * kTile, rest = quotient<Index>(i, tiles_w);
    const Index first_r = remainder<Index>(rest, tiles_r) * kTile;
    const Index s_b = quotient<Index>(rest, tiles_r);
    __syncthreads();  // what was in the tiles before has been read
#pragma unroll 4
    for (int q = threadIdx.x; q < kTile * kLanes; q += kThreads) {
      const int across = q / kLanes, along = q % kLanes * V;
      const Index i0 = first_r + along, i1 = first_w + across;
      if (i0 < Index(n0) && i1 < Index(n1)) {
        store<V>(&tile0[across][along], load<V>(p0 + (s_b * Index(n0) * Index(n1) + i0 + i1 * Index(n0))));
      }
    }
    __syncthreads();
#pragma unroll 4
    for (int q = threadIdx.x; q < kTile * kLanes; q += kThreads) {
      const int across = q / kLanes, along = q % kLanes * V;
      const Index i0 = first_r + across, i1 = first_w + along;
      if (i0 < Index(n0) && i1 < Index(n1)) {
        Pack<f16, V> y2;
        const Pack<f16, V> x1 = load<V>(p1 + (s_b * Index(n0) * Index(n1) + i0 * Index(n1) + i1));
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = value(tile0[along + l][across]);
          const f32 t1 = value(x1.v[l]);
          const f32 t2 = t0 + t1;
          y2.v[l] = narrow_fast<f16>(t2);
        }
        store<V>(p2 + (s_b * Index(n0) * Index(n1) + i0 * Index(n1) + i1), y2);
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) kernel(const f16* p0, const f16* p1, f16* p2, const i64* dims) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  const i64 n0 = dims[0];
  const i64 n1 = dims[1];
  const bool small = n1 >= 0 && n0 >= 0 && max<i64>(1ll, n0) * max<i64>(1ll, n1) * 12ll < 1073741824ll && n0 + n0 * n1 * 13ll < 1073741824ll && n0 * n1 * 13ll + n1 < 1073741824ll;
  if (small && aligned(p1, 4) && n0 * n1 % 2 == 0 && n1 % 2 == 0 && aligned(p2, 4) && aligned(p0, 4) && n0 % 2 == 0) {
    run<2, int>(p0, p1, p2, n0, n1);
  } else if (small) {
    run<1, int>(p0, p1, p2, n0, n1);
  } else {
    run<1, i64>(p0, p1, p2, n0, n1);
  }
}

}  // namespace weft
