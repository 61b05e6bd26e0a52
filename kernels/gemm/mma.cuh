// A tile of a product of matrices on tensor cores (mma.sync, sm_80 and later): f16 or bf16 factors, or f32 ones that are rounded
// to tf32 as they are read, or floats of 8 bits (sm_89), each of its own format; float sums. Or integers of 8 bits, signed or not,
// with sums of i32.
//
// A block computes kBM x kBN sums. Steps of kBK along K go through kStages slots of shared memory, filled by cp.async while
// earlier ones are multiplied. kSlices > 1 gives each step's K to that many groups of warps, whose sums are joined at the
// end, and kRanks > 1 a share of all steps to each block of a cluster: for products whose tiles alone do not fill the device.
//
// A factor is given by mma_factor: where its elements are, and a guard beyond its extents; elements outside count as zero.
#pragma once

#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/gemm/tiles.cuh"

namespace weft {

// --- instructions -----------------------------------------------------------------------------------------------------

// Four 8x8 matrices of 16-bit elements, each row of which some lane points at: 16 bytes, or four f32. Lane l gets of each
// matrix 4 bytes of row l / 4, from 4 (l % 4) on.
template <bool kTransposed>
WEFT_FN void load_matrices(u32 (&r)[4], const void* row) {
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

template <class T> constexpr bool is_integer8 = same<T, i8> || same<T, u8>;
template <class T> struct SumOf { typedef f32 type; };
template <> struct SumOf<i8> { typedef i32 type; };
template <> struct SumOf<u8> { typedef i32 type; };

// 32 bytes of K: 16 steps of 16-bit elements, 8 of tf32, 32 of 8-bit ones.
#define WEFT_MMA(steps, sum, kind, a_type, b_type) \
  asm volatile("mma.sync.aligned.m16n8k" steps ".row.col." sum "." a_type "." b_type "." sum \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : kind(c[0]), kind(c[1]), kind(c[2]), kind(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
template <class A, class B>
WEFT_FN void multiply_16x8(typename SumOf<A>::type (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  if constexpr (same<A, f32>) WEFT_MMA("8", "f32", "+f", "tf32", "tf32");
  else if constexpr (same<A, f16>) WEFT_MMA("16", "f32", "+f", "f16", "f16");
  else if constexpr (same<A, bf16>) WEFT_MMA("16", "f32", "+f", "bf16", "bf16");
  else if constexpr (same<A, i8> && same<B, i8>) WEFT_MMA("32", "s32", "+r", "s8", "s8");
  else if constexpr (same<A, i8>) WEFT_MMA("32", "s32", "+r", "s8", "u8");
  else if constexpr (same<A, u8> && same<B, i8>) WEFT_MMA("32", "s32", "+r", "u8", "s8");
  else if constexpr (same<A, u8>) WEFT_MMA("32", "s32", "+r", "u8", "u8");
  else if constexpr (same<A, f8e4m3fn> && same<B, f8e4m3fn>) WEFT_MMA("32", "f32", "+f", "e4m3", "e4m3");
  else if constexpr (same<A, f8e4m3fn>) WEFT_MMA("32", "f32", "+f", "e4m3", "e5m2");
  else if constexpr (same<B, f8e4m3fn>) WEFT_MMA("32", "f32", "+f", "e5m2", "e4m3");
  else WEFT_MMA("32", "f32", "+f", "e5m2", "e5m2");
}
#undef WEFT_MMA

// Two floats as neighbours, the first one lower.
template <class T>
WEFT_FN u32 pack_pair(f32 lo, f32 hi) {
  u32 r;
  if constexpr (same<T, f16>) asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  else asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}

// --- factors ----------------------------------------------------------------------------------------------------------

// along_k: neighbours in memory are along K, else along the rows. wide: accesses of 16 bytes are aligned, and inside as a whole.
// What an address needs of its row is found once, by row_of; at and inside take that and step k0 + k, k0 being the tile's.
// kLinear: a step along K is `stride` elements wherever it is, and all steps are inside.
template <bool kAlongK, bool kWide, bool kLinear, class Index, class RowOf, class At, class Inside>
struct MmaFactor {
  static constexpr bool along_k = kAlongK, wide = kWide, linear = kLinear;
  typedef decltype((*(const RowOf*)nullptr)((Index)0)) Row;
  Index rows, depth;
  i64 stride;
  RowOf row_of;
  At at;
  Inside inside;
};
template <bool kAlongK, bool kWide, bool kLinear, class Index, class RowOf, class At, class Inside>
WEFT_FN MmaFactor<kAlongK, kWide, kLinear, Index, RowOf, At, Inside> mma_factor(Index rows, Index depth, i64 stride, RowOf row_of, At at, Inside inside) {
  return {rows, depth, stride, row_of, at, inside};
}

// --- a factor's tile in shared memory ---------------------------------------------------------------------------------

// kRows x kDepth elements, neighbours along K or along the rows as in memory; along K where they have 8 bits, as tensor cores read
// no others. Lines are padded by 16 bytes, so that eight of
// them lie in different banks; by 32 where four are read, 32 bytes of each: f32 along the rows.
template <class T, int kRows, int kDepth, bool kAlongK>
struct FactorTile {
  typedef T Element;
  static constexpr bool along_k = kAlongK || sizeof(T) == 1;
  static constexpr int rows = kRows, depth = kDepth;
  static constexpr int length = along_k ? kDepth : kRows, lines = along_k ? kRows : kDepth;
  static constexpr int line = length + (along_k ? 16 / (int)sizeof(T) : 8), elements = line * lines;
  WEFT_FN static int place(int row, int k) { return along_k ? row * line + k : k * line + row; }
};

// This thread's share of a factor's tiles from row `row0` on, step after step. Elements outside become zero.
template <int kThreads, class Tile, class Hook, class Index>
struct TileFill {
  typedef typename Tile::Element T;
  static constexpr bool wide = Hook::wide && Hook::along_k == Tile::along_k;
  static constexpr int V = wide ? 16 / (int)sizeof(T) : 1, across = (Hook::along_k ? Tile::depth : Tile::rows) / V;
  static constexpr int count = Tile::rows * Tile::depth / V;
  static constexpr int each = (count + kThreads - 1) / kThreads;
  // What is kept of the accesses, unless there are too many of them: their rows, or where the first step is. Those of a thread
  // may all be of one row, kThreads / across steps from each other.
  static constexpr bool one_row = !Hook::along_k && kThreads % across == 0;
  static constexpr int kept = !wide ? 0 : one_row ? 1 : each;
  typename Hook::Row rows[kept && !Hook::linear ? kept : 1];
  const T* starts[kept && Hook::linear ? kept : 1];

  WEFT_FN static int row_at(int i) {
    const int q = i * kThreads + (int)threadIdx.x;
    return Hook::along_k ? q / across : q % across * V;
  }
  WEFT_FN TileFill(const Hook& hook, Index row0) {
#pragma unroll
    for (int i = 0; i < kept; ++i) {
      const typename Hook::Row row = hook.row_of((Index)(row0 + row_at(i)));
      if constexpr (Hook::linear) starts[i] = hook.at(row, 0, k_at(i));
      else rows[i] = row;
    }
  }
  WEFT_FN static int k_at(int i) {
    const int q = i * kThreads + (int)threadIdx.x;
    return Hook::along_k ? q % across * V : q / across;
  }
  WEFT_FN void finish() const {}
  WEFT_FN void fill(T* tile, const Hook& hook, Index row0, Index k0) const {
#pragma unroll (wide ? 16 : 4)
    for (int i = 0; i < each; ++i) {
      const int q = i * kThreads + (int)threadIdx.x;
      if (count % kThreads != 0 && q >= count) break;
      const int row = row_at(i), k = k_at(i);
      // An access of several elements is inside as a whole: extents are multiples of it.
      const bool inside = row0 + row < hook.rows && k0 + k < hook.depth;
      if constexpr (wide && Hook::linear) {
        const i64 steps = one_row ? k0 + i * (kThreads / across) : k0;
        copy_async(tile + Tile::place(row, k), starts[one_row ? 0 : i] + (Hook::along_k ? steps : steps * hook.stride), inside);
      } else if constexpr (wide) {
        const typename Hook::Row& at = rows[one_row ? 0 : i];
        copy_async(tile + Tile::place(row, k), hook.at(at, k0, k), inside && hook.inside(at, k0, k));
      } else {
        const typename Hook::Row at = hook.row_of((Index)(row0 + row));
        const bool valid = inside && hook.inside(at, k0, k);
        if constexpr (sizeof(T) == 4) copy_async_element(tile + Tile::place(row, k), hook.at(at, k0, k), valid);
        else tile[Tile::place(row, k)] = valid ? *hook.at(at, k0, k) : T{0};
      }
    }
  }
};

// What fills a factor's tile. Others than MmaFactor have their own.
template <int kThreads, class Tile, class Hook, class Index>
struct FillOf {
  typedef TileFill<kThreads, Tile, Hook, Index> type;
};

// Both factors' tiles of a shape S from rows m0 and n0 on: the steps that are this block's, of its cluster's.
template <class S, class A, class B, class Index>
struct StageFill : StepShare<S::kRanks, Index> {
  typedef typename S::TileA::Element T;
  const A& a;
  const B& b;
  const Index m0, n0;
  typename FillOf<S::kThreads, typename S::TileA, A, Index>::type fill_a;
  typename FillOf<S::kThreads, typename S::TileB, B, Index>::type fill_b;
  WEFT_FN StageFill(const A& x, const B& y, Index m, Index n)
      : StepShare<S::kRanks, Index>((x.depth + S::kBK - 1) / S::kBK), a(x), b(y), m0(m), n0(n), fill_a(x, m), fill_b(y, n) {}
  WEFT_FN void operator()(T* stages, Index step, int slot) {
    T* at = stages + slot * S::kStageElements;
    fill_a.fill(at, a, m0, (Index)((this->first + step) * S::kBK));
    fill_b.fill((typename S::TileB::Element*)(at + S::TileA::elements), b, n0, (Index)((this->first + step) * S::kBK));
  }
  // Behind what was loaded through registers; a barrier away from the next step at least.
  WEFT_FN void finish() {
    fill_a.finish();
    fill_b.finish();
  }
};

// --- the tile of sums -------------------------------------------------------------------------------------------------

template <class A, class B, int kM, int kN, int kK, int kWarpsM, int kWarpsN, int kSliceCount, int kStageCount, int kRankCount, bool kAAlongK,
          bool kBAlongK>
struct MmaShape {
  static_assert(sizeof(A) == sizeof(B), "factors of different widths");
  static constexpr int kBM = kM, kBN = kN, kBK = kK, kStages = kStageCount, kSlices = kSliceCount, kRanks = kRankCount;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN * kSlices;
  static constexpr int kWM = kBM / kWarpsM, kWN = kBN / kWarpsN, kMI = kWM / 16, kNI = kWN / 8;
  typedef typename SumOf<A>::type Value;
  typedef FactorTile<A, kBM, kBK, kAAlongK> TileA;
  typedef FactorTile<B, kBN, kBK, kBAlongK> TileB;
  static constexpr bool kWarpgroups = false, kOfWeights = false;
  static constexpr int kStageElements = TileA::elements + TileB::elements;
  static constexpr int kLineC = kBN + 8;  // of the sums in shared memory; pairs of a half warp lie in different banks
  static constexpr int kBytesC = kBM * kLineC * kSlices * 4, kBytesStages = kStageElements * kStages * (int)sizeof(A);
  static constexpr int kSharedBytes = kBytesC > kBytesStages ? kBytesC : kBytesStages;

  // This thread's place.
  WEFT_FN static int warp() { return (int)threadIdx.x / 32 % (kWarpsM * kWarpsN); }
  WEFT_FN static int slice() { return (int)threadIdx.x / (32 * kWarpsM * kWarpsN); }
  WEFT_FN static int warp_m() { return warp() / kWarpsN * kWM; }
  WEFT_FN static int warp_n() { return warp() % kWarpsN * kWN; }
};

// 16 rows of A and 16 of B from `row` on, 32 bytes of K from k on, as mma wants them in registers: A's r[h + 2 * d], B's
// r[2 * h + d], of half h of the rows and half d of K.
template <class Tile, bool kOfA, class T>
WEFT_FN void load_fragment(u32 (&r)[4], const T* tile, int row, int k) {
  const int lane = (int)threadIdx.x % 32;
  constexpr int half = 16 / (int)sizeof(T);  // of K's steps
  if constexpr (Tile::along_k) {
    const int h = kOfA ? lane / 8 % 2 : lane / 16, d = kOfA ? lane / 16 : lane / 8 % 2;
    load_matrices<false>(r, tile + Tile::place(row + lane % 8 + h * 8, k + d * half));
  } else if constexpr (same<T, f32>) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int h = kOfA ? i % 2 : i / 2, d = kOfA ? i / 2 : i % 2;
      r[i] = as_u32(tile[Tile::place(row + lane / 4 + h * 8, k + lane % 4 + d * half)]);
    }
  } else {
    const int h = kOfA ? lane / 8 % 2 : lane / 16, d = kOfA ? lane / 16 : lane / 8 % 2;
    load_matrices<true>(r, tile + Tile::place(row + h * 8, k + lane % 8 + d * half));
  }
  if constexpr (same<T, f32>) {
#pragma unroll
    for (int i = 0; i < 4; ++i) r[i] = as_u32(round_tf32(as_f32(r[i])));
  }
}

template <class S>
WEFT_FN void multiply_stage(typename S::Value (&sum)[S::kMI][S::kNI][4], const typename S::TileA::Element* a, const typename S::TileB::Element* b) {
  typedef typename S::TileA::Element A;
  typedef typename S::TileB::Element B;
  constexpr int kSteps = 32 / (int)sizeof(A);
#pragma unroll
  for (int step = 0; step < S::kBK / kSteps / S::kSlices; ++step) {
    const int k = (step * S::kSlices + S::slice()) * kSteps;
    u32 fa[S::kMI][4], fb[S::kNI / 2][4];
#pragma unroll
    for (int i = 0; i < S::kMI; ++i) load_fragment<typename S::TileA, true>(fa[i], a, S::warp_m() + i * 16, k);
#pragma unroll
    for (int j = 0; j < S::kNI / 2; ++j) load_fragment<typename S::TileB, false>(fb[j], b, S::warp_n() + j * 16, k);
#pragma unroll
    for (int i = 0; i < S::kMI; ++i)
#pragma unroll
      for (int j = 0; j < S::kNI; ++j) multiply_16x8<A, B>(sum[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
  }
}

// A warp's 16 x 8 sums, as mma and wgmma leave them in its lanes, to the tile of sums.
template <class S>
WEFT_FN void put_sums(typename S::Value* out, int m, int n, const typename S::Value* sum) {
  const int lane = (int)threadIdx.x % 32;
  typename S::Value* c = out + (m + lane / 4) * S::kLineC + n + lane % 4 * 2;
  store<2>(c, {sum[0], sum[1]});
  store<2>(c + 8 * S::kLineC, {sum[2], sum[3]});
}

// The sums of the tile at (m0, n0), in shared memory afterwards: element (m, n) of slice s at (s * kBM + m) * kLineC + n.
// All threads of the block, and of its cluster, must come.
template <class S, class A, class B, class Index>
WEFT_FN void multiply_tile(void* shared, const A& a, const B& b, Index m0, Index n0) {
  typedef typename S::TileA::Element T;
  StageFill<S, A, B, Index> fill(a, b, m0, n0);
  typename S::Value sum[S::kMI][S::kNI][4] = {};
  __syncthreads();  // what was in shared memory before has been read
#pragma unroll
  for (int s = 0; s < S::kStages - 1; ++s) {
    if (s < fill.steps) fill((T*)shared, s, s);
    fill.finish();
    copy_async_commit();
  }
  int slot = 0;
#pragma unroll 1
  for (Index step = 0; step < fill.steps; ++step) {
    copy_async_wait<S::kStages - 2>();
    __syncthreads();
    fill.finish();
    const Index next = step + S::kStages - 1;
    if (next < fill.steps) fill((T*)shared, next, slot == 0 ? S::kStages - 1 : slot - 1);
    copy_async_commit();
    const T* at = (T*)shared + slot * S::kStageElements;
    multiply_stage<S>(sum, at, (const typename S::TileB::Element*)(at + S::TileA::elements));
    slot = slot + 1 == S::kStages ? 0 : slot + 1;
  }
  copy_async_wait<0>();
  __syncthreads();
#pragma unroll
  for (int i = 0; i < S::kMI; ++i)
#pragma unroll
    for (int j = 0; j < S::kNI; ++j)
      put_sums<S>((typename S::Value*)shared, S::slice() * S::kBM + S::warp_m() + i * 16, S::warp_n() + j * 8, sum[i][j]);
  __syncthreads();
  if constexpr (S::kRanks > 1) cluster_sync();
}

}  // namespace weft
