// attention: template attention, up to 4 elements along i2i
#include "kernels/core/launch.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/core/fast.cuh"
#include "kernels/attention/simt.cuh"

namespace weft {

constexpr int kThreads = 128;
typedef SimtAttention<64, 64, 32, 2, 8, 2, 2, 1> Tile0;
static_assert(Tile0::kThreads == kThreads && Tile0::kBytesStages <= 78592 && TileResult<Tile0>::kBytes <= 78592, "not of the launch");

template <bool kWideQ, bool kWideK, bool kWideV, int V, class Index>
WEFT_FN void run0(const f32* p0, const f32* p1, const f32* p2, const f32* p3, f32* p4) {
  extern __shared__ uint4 shared[];
  typedef Tile0 Tile;
  const Index rows = 128, keys = 128, batches = 4 * 12;
  const Index tiles = (rows + Tile::kBM - 1) / Tile::kBM, items = tiles * batches;
  const Index width = gridDim.x / Tile::kRanks, mine = blockIdx.x / Tile::kRanks;
  // Where later rows see more keys, their tiles take the longest: they come first, and every other round runs backwards.
  for (Index from = 0, back = 0; from < items; from += width, back ^= 1) {
    const Index item = from + (back ? width - 1 - mine : mine);
    if (item >= items) continue;
    Index rest_i0 = remainder<Index>(item, batches);
    const Index i2o = remainder<Index>(rest_i0, 12);
    rest_i0 = quotient<Index>(rest_i0, 12);
    const Index i0 = rest_i0;
    const Index row0 = (tiles - 1 - quotient<Index>(item, batches)) * Tile::kBM;
    const auto q = lines<kWideQ>(rows, 64,
        [&](Index line, int c) -> const f32* {
          const Index i1 = line;
          return p0 + (i64(i0) * 98304ll + i64(i1) * 768ll + i64(i2o) * 64ll + i64(c));
        },
        [&](Index line, int c) -> f32 {
          const Index i1 = line;
          const f32 t0 = value(load_const(p0 + (i64(i0) * 98304ll + i64(i1) * 768ll + i64(i2o) * 64ll + i64(c))));
          return t0;
        });
    const auto k = lines<kWideK>(keys, 64,
        [&](Index line, int c) -> const f32* {
          const Index r0 = line;
          return p1 + (i64(i0) * 98304ll + i64(i2o) * 64ll + i64(c) + i64(r0) * 768ll);
        },
        [&](Index line, int c) -> f32 {
          const Index r0 = line;
          const f32 t0 = value(load_const(p1 + (i64(i0) * 98304ll + i64(i2o) * 64ll + i64(c) + i64(r0) * 768ll)));
          return t0;
        });
    const auto v = lines<kWideV>(keys, 64,
        [&](Index line, int c) -> const f32* {
          const Index r0 = line;
          return p3 + (i64(i0) * 98304ll + i64(c) + i64(i2o) * 64ll + i64(r0) * 768ll);
        },
        [&](Index line, int c) -> f32 {
          const Index r0 = line;
          const f32 t0 = value(load_const(p3 + (i64(i0) * 98304ll + i64(c) + i64(i2o) * 64ll + i64(r0) * 768ll)));
          return t0;
        });
    Index begin = 0, end = keys, all_begin = 0, all_end = keys;
    attend_tile<Tile>(shared, q, k, v, scores(rows, begin, end, all_begin, all_end, 1.0f,
        [&](Index row, Index key, f32 dot) -> f32 {
          const Index i1 = row;
          const f32 t0 = dot;
          const f32 t1 = 0.25f;
          const f32 t2 = t0 * t1;
          const f32 t3 = value(load_const(p2 + (i64(i0) * 128ll + i64(key))));
          const f32 t4 = t2 + t3;
          return t4;
        },
        [&](Index row, Index key, f32 dot) -> f32 {
          const Index i1 = row;
          const f32 t0 = dot;
          const f32 t1 = 0.25f;
          const f32 t2 = t0 * t1;
          const f32 t3 = value(load_const(p2 + (i64(i0) * 128ll + i64(key))));
          const f32 t4 = t2 + t3;
          return t4;
        }), row0);
    const int rank = Tile::kRanks > 1 ? cluster_rank() : 0;
    for (int i = rank * kThreads + threadIdx.x; i < Tile::kBM * (64 / V); i += kThreads * Tile::kRanks) {
      const int line = i / (64 / V), column = i % (64 / V) * V;
      const Index row = row0 + line;
      if (row >= rows) break;
      const Index i1 = row;
      f32 sums[V];
      results_of<Tile>(sums, shared, line, column);
       {
        Pack<f32, V> y4;
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = sums[l];
          y4.v[l] = t0;
        }
        store<V>(p4 + (i64(i0) * 98304ll + i64(i1) * 768ll + i64(column) + i64(i2o) * 64ll), y4);
      }
    }
    if constexpr (Tile::kRanks > 1) cluster_sync();  // others have read this block's results
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) kernel(const f32* p0, const f32* p1, const f32* p2, const f32* p3, f32* p4, const i64* dims) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  if (aligned(p0, 16) && aligned(p1, 16) && aligned(p3, 16) && aligned(p4, 16)) {
    run0<true, true, true, 4, int>(p0, p1, p2, p3, p4);
  } else {
    run0<false, false, false, 1, i64>(p0, p1, p2, p3, p4);
  }
}

}  // namespace weft
