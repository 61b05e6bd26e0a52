// product: template gemm, up to 4 elements along i1
#include "kernels/core/launch.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/core/fast.cuh"
#include "kernels/gemm/simt.cuh"

namespace weft {

constexpr int kThreads = 128;
typedef SimtShape<f32, 64, 64, 16, 8, 4, 1, 2> Tile;
static_assert(Tile::kThreads == kThreads && Tile::kSharedBytes <= 17408, "not of the launch");

struct Acc0 { f32 a0; };
WEFT_FN Acc0 join0(const Acc0& a, const Acc0& b) {
  const f32 t0 = a.a0;
  const f32 t1 = b.a0;
  const f32 t2 = t0 + t1;
  return {t2};
}

template <class Tile, int V, class Index>
WEFT_FN void run(const f32* p0, const f32* p1, f32* p2) {
  extern __shared__ uint4 shared[];
  const Index rows_a = 512, rows_b = 384;
  const Index depth = 256;
  const Index tiles_m = (rows_a + Tile::kBM - 1) / Tile::kBM, tiles_n = (rows_b + Tile::kBN - 1) / Tile::kBN;
  const Index tiles = tiles_m * tiles_n;
  for (Index i = blockIdx.x / Tile::kRanks; i < tiles; i += gridDim.x / Tile::kRanks) {
    const TilePlace place = place_tile((i32)remainder<Index>(i, tiles), (i32)tiles_m, (i32)tiles_n);
    const Index first_m = (Index)place.m * Tile::kBM, first_n = (Index)place.n * Tile::kBN;
    const auto a = simt_elements<true>(rows_a, depth,
        [&](Index row, Index k) -> const f32* {
          const Index i0 = row;
          const Index r0 = k;
          return p0 + (i64(i0) * 256ll + i64(r0));
        },
        [](Index, Index) { return true; });
    const auto b = simt_elements<true>(rows_b, depth,
        [&](Index row, Index k) -> const f32* {
          const Index i1 = row;
          const Index r0 = k;
          return p1 + (i64(i1) * 256ll + i64(r0));
        },
        [](Index, Index) { return true; });
    multiply_tile<Tile>(shared, a, b, first_m, first_n);
    const int rank = cluster_rank();
    for (int q = rank * kThreads + threadIdx.x; q < Tile::kBM * (Tile::kBN / V); q += kThreads * Tile::kRanks) {
      const int row = q / (Tile::kBN / V), column = q % (Tile::kBN / V) * V;
      const Index m = first_m + row, n = first_n + column;
      if (m >= rows_a || n >= rows_b) continue;
      const Index i0 = m;
      const Index i1 = (n / V) * V;
      f32 sums[V];
      sums_of<Tile>(sums, shared, row, column);
      {
        Pack<f32, V> y2;
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = sums[l];
          y2.v[l] = t0;
        }
        store<V>(p2 + (i64(i0) * 384ll + i64(i1)), y2);
      }
    }
    cluster_sync();  // others have read this block's sums
  }
}

template <class Index>
WEFT_FN void plain(const f32* p0, const f32* p1, f32* p2) {
  const Index points = 512 * 384;
  for (Index at = (Index)blockIdx.x * kThreads + threadIdx.x; at < points; at += (Index)gridDim.x * kThreads) {
    Index rest_i0 = at;
    const Index i1 = remainder<Index>(rest_i0, 384);
    rest_i0 = quotient<Index>(rest_i0, 384);
    const Index i0 = rest_i0;
    Acc0 acc0{0.0f};
#pragma unroll 4
    for (Index r0 = 0; r0 < 256; ++r0) {
      const f32 t0 = value(load_const(p0 + (i0 * 256 + r0)));
      const f32 t1 = value(load_const(p1 + (i1 * 256 + r0)));
      acc0.a0 = fma(t0, t1, acc0.a0);
    }
    {
      const f32 t0 = acc0.a0;
      *(p2 + (i0 * 384 + i1)) = t0;
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) kernel(const f32* p0, const f32* p1, f32* p2, const i64* dims) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  if (aligned(p2, 16)) {
    run<Tile, 4, int>(p0, p1, p2);
  } else {
    plain<i64>(p0, p1, p2);
  }
}

}  // namespace weft
