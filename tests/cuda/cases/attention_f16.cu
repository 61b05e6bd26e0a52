// attention: template attention, up to 8 elements along i3
#include "kernels/core/launch.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/core/fast.cuh"
#include "kernels/attention/mma.cuh"

namespace weft {

constexpr int kThreads = 128;
typedef MmaAttention<f16, 128, 128, 16, 1, 1, 4, 3, 8> Tile0;
static_assert(Tile0::kThreads == kThreads && Tile0::kBytesStages <= 108800 && TileResult<Tile0>::kBytes <= 108800, "not of the launch");
typedef MmaAttention<f16, 128, 128, 32, 2, 4, 1, 3, 1> Tile1;
static_assert(Tile1::kThreads == kThreads && Tile1::kBytesStages <= 108800 && TileResult<Tile1>::kBytes <= 108800, "not of the launch");

template <bool kWideQ, bool kWideK, bool kWideV, int V, class Index>
WEFT_FN void run0(const f16* p0, const f16* p1, const f16* p2, f16* p3, i64 n0, i64 n1) {
  extern __shared__ uint4 shared[];
  typedef Tile0 Tile;
  const Index rows = 4 * Index(n0), keys = Index(n0) + Index(n1), batches = 8;
  const Index tiles = (rows + Tile::kBM - 1) / Tile::kBM, items = tiles * batches;
  const Index width = gridDim.x / Tile::kRanks, mine = blockIdx.x / Tile::kRanks;
  // Where later rows see more keys, their tiles take the longest: they come first, and every other round runs backwards.
  for (Index from = 0, back = 0; from < items; from += width, back ^= 1) {
    const Index item = from + (back ? width - 1 - mine : mine);
    if (item >= items) continue;
    const Index i1o = remainder<Index>(item, batches);
    const Index row0 = (tiles - 1 - quotient<Index>(item, batches)) * Tile::kBM;
    const auto q = lines<kWideQ>(rows, 128,
        [&](Index line, int c) -> const f16* {
          Index rest_i1i = line;
          const Index s_i2 = remainder<Index>(rest_i1i, Index(n0));
          rest_i1i = quotient<Index>(rest_i1i, Index(n0));
          const Index i1i = rest_i1i;
          return p0 + (i64(i1i) * n0 * 128ll + i64(i1o) * n0 * 512ll + i64(s_i2) * 128ll + i64(c));
        },
        [&](Index line, int c) -> f32 {
          Index rest_i1i = line;
          const Index s_i2 = remainder<Index>(rest_i1i, Index(n0));
          rest_i1i = quotient<Index>(rest_i1i, Index(n0));
          const Index i1i = rest_i1i;
          const f32 t0 = value(load_const(p0 + (i64(i1i) * n0 * 128ll + i64(i1o) * n0 * 512ll + i64(s_i2) * 128ll + i64(c))));
          const f32 t1 = cast<f32>(t0);
          return t1;
        });
    const auto k = lines<kWideK>(keys, 128,
        [&](Index line, int c) -> const f16* {
          const Index r0 = line;
          return p1 + (i64(i1o) * n0 * 128ll + i64(i1o) * n1 * 128ll + i64(c) + i64(r0) * 128ll);
        },
        [&](Index line, int c) -> f32 {
          const Index r0 = line;
          const f32 t0 = value(load_const(p1 + (i64(i1o) * n0 * 128ll + i64(i1o) * n1 * 128ll + i64(c) + i64(r0) * 128ll)));
          const f32 t1 = cast<f32>(t0);
          return t1;
        });
    const auto v = lines<kWideV>(keys, 128,
        [&](Index line, int c) -> const f16* {
          const Index r0 = line;
          return p2 + (i64(i1o) * n0 * 128ll + i64(i1o) * n1 * 128ll + i64(c) + i64(r0) * 128ll);
        },
        [&](Index line, int c) -> f32 {
          const Index r0 = line;
          const f32 t0 = value(load_const(p2 + (i64(i1o) * n0 * 128ll + i64(i1o) * n1 * 128ll + i64(c) + i64(r0) * 128ll)));
          const f32 t1 = cast<f32>(t0);
          return t1;
        });
    Index begin = 0, end = keys, all_begin = 0, all_end = keys;
    Index first = row0, last = min<Index>(row0 + Tile::kBM, rows) - 1;
    if (quotient<Index>(first, Index(n0)) == quotient<Index>(last, Index(n0))) {
      first = remainder<Index>(first, Index(n0)), last = remainder<Index>(last, Index(n0));
    } else {
      first = 0, last = Index(n0) - 1;
    }
    const auto limit0 =
        [&](Index at) -> i64 {
          const i64 t0 = i64(at) + n1;
          return t0;
        };
    end = (Index)min<i64>(end, (limit0(last) + 1ll));
    all_end = (Index)min<i64>(all_end, (limit0(first) + 1ll));
    attend_tile<Tile>(shared, q, k, v, scores(rows, begin, end, all_begin, all_end, 0.088388346f,
        [&](Index row, Index key, f32 dot) -> f32 {
          Index rest_i1i = row;
          const Index s_i2 = remainder<Index>(rest_i1i, Index(n0));
          rest_i1i = quotient<Index>(rest_i1i, Index(n0));
          const Index i1i = rest_i1i;
          const f32 t0 = dot;
          const i64 t1 = i64(s_i2) + n1;
          const i64 t2 = i64(key);
          const bool t3 = t2 <= t1;
          const f32 t4 = -as_f32(0x7f800000u);
          const f32 t5 = t3 ? t0 : t4;
          return t5;
        },
        [&](Index row, Index key, f32 dot) -> f32 {
          Index rest_i1i = row;
          const Index s_i2 = remainder<Index>(rest_i1i, Index(n0));
          rest_i1i = quotient<Index>(rest_i1i, Index(n0));
          const Index i1i = rest_i1i;
          const f32 t0 = dot;
          return t0;
        }), row0);
    const int rank = Tile::kRanks > 1 ? cluster_rank() : 0;
    for (int i = rank * kThreads + threadIdx.x; i < Tile::kBM * (128 / V); i += kThreads * Tile::kRanks) {
      const int line = i / (128 / V), column = i % (128 / V) * V;
      const Index row = row0 + line;
      if (row >= rows) break;
      Index rest_i1i = row;
      const Index s_i2 = remainder<Index>(rest_i1i, Index(n0));
      rest_i1i = quotient<Index>(rest_i1i, Index(n0));
      const Index i1i = rest_i1i;
      f32 sums[V];
      results_of<Tile>(sums, shared, line, column);
       {
        Pack<f16, V> y3;
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = sums[l];
          const f32 t1 = value(narrow_fast<f16>(t0));
          y3.v[l] = narrow_fast<f16>(t0);
        }
        store<V>(p3 + (i64(i1i) * n0 * 128ll + i64(i1o) * n0 * 512ll + i64(s_i2) * 128ll + i64(column)), y3);
      }
    }
    if constexpr (Tile::kRanks > 1) cluster_sync();  // others have read this block's results
  }
}

template <bool kWideQ, bool kWideK, bool kWideV, int V, class Index>
WEFT_FN void run1(const f16* p0, const f16* p1, const f16* p2, f16* p3, i64 n0, i64 n1) {
  extern __shared__ uint4 shared[];
  typedef Tile1 Tile;
  const Index rows = Index(n0), keys = Index(n0) + Index(n1), batches = 8 * 4;
  const Index tiles = (rows + Tile::kBM - 1) / Tile::kBM, items = tiles * batches;
  const Index width = gridDim.x / Tile::kRanks, mine = blockIdx.x / Tile::kRanks;
  // Where later rows see more keys, their tiles take the longest: they come first, and every other round runs backwards.
  for (Index from = 0, back = 0; from < items; from += width, back ^= 1) {
    const Index item = from + (back ? width - 1 - mine : mine);
    if (item >= items) continue;
    Index rest_i1o = remainder<Index>(item, batches);
    const Index i1i = remainder<Index>(rest_i1o, 4);
    rest_i1o = quotient<Index>(rest_i1o, 4);
    const Index i1o = rest_i1o;
    const Index row0 = (tiles - 1 - quotient<Index>(item, batches)) * Tile::kBM;
    const auto q = lines<kWideQ>(rows, 128,
        [&](Index line, int c) -> const f16* {
          const Index s_i2 = line;
          return p0 + (i64(i1i) * n0 * 128ll + i64(i1o) * n0 * 512ll + i64(s_i2) * 128ll + i64(c));
        },
        [&](Index line, int c) -> f32 {
          const Index s_i2 = line;
          const f32 t0 = value(load_const(p0 + (i64(i1i) * n0 * 128ll + i64(i1o) * n0 * 512ll + i64(s_i2) * 128ll + i64(c))));
          const f32 t1 = cast<f32>(t0);
          return t1;
        });
    const auto k = lines<kWideK>(keys, 128,
        [&](Index line, int c) -> const f16* {
          const Index r0 = line;
          return p1 + (i64(i1o) * n0 * 128ll + i64(i1o) * n1 * 128ll + i64(c) + i64(r0) * 128ll);
        },
        [&](Index line, int c) -> f32 {
          const Index r0 = line;
          const f32 t0 = value(load_const(p1 + (i64(i1o) * n0 * 128ll + i64(i1o) * n1 * 128ll + i64(c) + i64(r0) * 128ll)));
          const f32 t1 = cast<f32>(t0);
          return t1;
        });
    const auto v = lines<kWideV>(keys, 128,
        [&](Index line, int c) -> const f16* {
          const Index r0 = line;
          return p2 + (i64(i1o) * n0 * 128ll + i64(i1o) * n1 * 128ll + i64(c) + i64(r0) * 128ll);
        },
        [&](Index line, int c) -> f32 {
          const Index r0 = line;
          const f32 t0 = value(load_const(p2 + (i64(i1o) * n0 * 128ll + i64(i1o) * n1 * 128ll + i64(c) + i64(r0) * 128ll)));
          const f32 t1 = cast<f32>(t0);
          return t1;
        });
    Index begin = 0, end = keys, all_begin = 0, all_end = keys;
    Index first = row0, last = min<Index>(row0 + Tile::kBM, rows) - 1;
    const auto limit0 =
        [&](Index at) -> i64 {
          const i64 t0 = i64(at) + n1;
          return t0;
        };
    end = (Index)min<i64>(end, (limit0(last) + 1ll));
    all_end = (Index)min<i64>(all_end, (limit0(first) + 1ll));
    attend_tile<Tile>(shared, q, k, v, scores(rows, begin, end, all_begin, all_end, 0.088388346f,
        [&](Index row, Index key, f32 dot) -> f32 {
          const Index s_i2 = row;
          const f32 t0 = dot;
          const i64 t1 = i64(s_i2) + n1;
          const i64 t2 = i64(key);
          const bool t3 = t2 <= t1;
          const f32 t4 = -as_f32(0x7f800000u);
          const f32 t5 = t3 ? t0 : t4;
          return t5;
        },
        [&](Index row, Index key, f32 dot) -> f32 {
          const Index s_i2 = row;
          const f32 t0 = dot;
          return t0;
        }), row0);
    const int rank = Tile::kRanks > 1 ? cluster_rank() : 0;
    for (int i = rank * kThreads + threadIdx.x; i < Tile::kBM * (128 / V); i += kThreads * Tile::kRanks) {
      const int line = i / (128 / V), column = i % (128 / V) * V;
      const Index row = row0 + line;
      if (row >= rows) break;
      const Index s_i2 = row;
      f32 sums[V];
      results_of<Tile>(sums, shared, line, column);
       {
        Pack<f16, V> y3;
#pragma unroll
        for (int l = 0; l < V; ++l) {
          const f32 t0 = sums[l];
          const f32 t1 = value(narrow_fast<f16>(t0));
          y3.v[l] = narrow_fast<f16>(t0);
        }
        store<V>(p3 + (i64(i1i) * n0 * 128ll + i64(i1o) * n0 * 512ll + i64(s_i2) * 128ll + i64(column)), y3);
      }
    }
    if constexpr (Tile::kRanks > 1) cluster_sync();  // others have read this block's results
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) kernel(const f16* p0, const f16* p1, const f16* p2, f16* p3, const i64* dims) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  const i64 n0 = dims[0];
  const i64 n1 = dims[1];
  const bool small = n1 >= 0 && n0 >= 0 && n0 * 4ll + 128ll < 1073741824ll && n0 + n1 + 128ll < 1073741824ll && n0 * 32ll + 8ll < 1073741824ll;
  if (small && aligned(p0, 16) && aligned(p1, 16) && aligned(p2, 16) && aligned(p3, 16)) {
    if (n0 * 4ll <= Tile0::kBM) run0<true, true, true, 8, int>(p0, p1, p2, p3, n0, n1);
    else run1<true, true, true, 8, int>(p0, p1, p2, p3, n0, n1);
  } else {
    run0<false, false, false, 1, i64>(p0, p1, p2, p3, n0, n1);
  }
}

}  // namespace weft
