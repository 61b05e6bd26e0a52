// product: template gemm, up to 4 elements along i1
#include "kernels/core/launch.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/core/fast.cuh"
#include "kernels/gemm/mma.cuh"

namespace weft {

constexpr int kThreads = 256;
typedef MmaShape<f32, f32, 16, 64, 128, 1, 1, 8, 3, 1, true, false> Tile0;
static_assert(Tile0::kThreads == kThreads && Tile0::kSharedBytes <= 135936, "not of the launch");
typedef MmaShape<f32, f32, 64, 64, 32, 2, 2, 2, 3, 1, true, false> Tile1;
static_assert(Tile1::kThreads == kThreads && Tile1::kSharedBytes <= 135936, "not of the launch");
typedef MmaShape<f32, f32, 128, 128, 16, 2, 4, 1, 4, 1, true, false> Tile2;
static_assert(Tile2::kThreads == kThreads && Tile2::kSharedBytes <= 135936, "not of the launch");

struct Acc0 { f32 a0; };
WEFT_FN Acc0 join0(const Acc0& a, const Acc0& b) {
  const f32 t0 = a.a0;
  const f32 t1 = b.a0;
  const f32 t2 = t0 + t1;
  return {t2};
}

template <class Tile, bool kWideA, bool kWideB, int V, class Index>
WEFT_FN void run(const f32* p0, const f32* p1, f32* p2, i64 n0) {
  extern __shared__ uint4 shared[];
  const Index rows_a = Index(n0), rows_b = 384;
  const Index depth = 256;
  const Index tiles_m = (rows_a + Tile::kBM - 1) / Tile::kBM, tiles_n = (rows_b + Tile::kBN - 1) / Tile::kBN;
  const Index tiles = tiles_m * tiles_n;
  for (Index i = blockIdx.x; i < tiles; i += gridDim.x) {
    const TilePlace place = place_tile((i32)remainder<Index>(i, tiles), (i32)tiles_m, (i32)tiles_n);
    const Index first_m = (Index)place.m * Tile::kBM, first_n = (Index)place.n * Tile::kBN;
    struct RowA { Index i0; };
    const auto a = mma_factor<true, kWideA, true>(rows_a, depth, 1ll,
        [&](Index row) -> RowA {
          const Index i0 = row;
          return {i0};
        },
        [&](const RowA& at, Index k0, int k) -> const f32* {
          const Index r0 = k0;
          return p0 + (i64(at.i0) * 256ll + i64((r0 + k)));
        },
        [](const RowA&, Index, int) { return true; });
    struct RowB { Index i1; };
    const auto b = mma_factor<false, kWideB, true>(rows_b, depth, 384ll,
        [&](Index row) -> RowB {
          const Index i1 = row;
          return {i1};
        },
        [&](const RowB& at, Index k0, int k) -> const f32* {
          const Index r0 = k0;
          return p1 + (i64(at.i1) + i64((r0 + k)) * 384ll);
        },
        [](const RowB&, Index, int) { return true; });
    multiply_tile<Tile>(shared, a, b, first_m, first_n);
    for (int q = threadIdx.x; q < Tile::kBM * (Tile::kBN / V); q += kThreads) {
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
  }
}

template <class Index>
WEFT_FN void plain(const f32* p0, const f32* p1, f32* p2, i64 n0) {
  const Index points = Index(n0) * 384;
  for (Index at = (Index)blockIdx.x * kThreads + threadIdx.x; at < points; at += (Index)gridDim.x * kThreads) {
    Index rest_i0 = at;
    const Index i1 = remainder<Index>(rest_i0, 384);
    rest_i0 = quotient<Index>(rest_i0, 384);
    const Index i0 = rest_i0;
    Acc0 acc0{0.0f};
#pragma unroll 4
    for (Index r0 = 0; r0 < 256; ++r0) {
      const f32 t0 = value(load_const(p0 + (i0 * 256 + r0)));
      const f32 t1 = value(load_const(p1 + (i1 + r0 * 384)));
      const f32 t2 = round_tf32(t0);
      const f32 t3 = round_tf32(t1);
      acc0.a0 = fma(t2, t3, acc0.a0);
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
  const i64 n0 = dims[0];
  const bool small = n0 >= 0 && n0 < 1073741824ll && quotient<i64>(n0 + 15ll, 16ll) * 12ll < 1073741824ll;
  if (small && aligned(p0, 16) && aligned(p1, 16) && aligned(p2, 16)) {
    if (n0 <= 16) run<Tile0, true, true, 4, int>(p0, p1, p2, n0);
    else if (quotient<i64>(n0 + 127ll, 128ll) * 3ll < 132) run<Tile1, true, true, 4, int>(p0, p1, p2, n0);
    else run<Tile2, true, true, 4, int>(p0, p1, p2, n0);
  } else {
    plain<i64>(p0, p1, p2, n0);
  }
}

}  // namespace weft
