// A tile of a product of matrices by warpgroups (wgmma, sm_90a): as multiply_tile of kernels/gemm/mma.cuh, whose factors, fills
// and tile of sums it shares.
//
// Elements of 8 bits are read along K alone. Tensor cores add floats of 8 bits with few bits: their sums of each step (128 along K)
// are added up in f32.
//
// Each warpgroup computes 64 rows of the tile, all its columns at once. Both factors lie in shared memory in rows of 128 bytes
// whose 16-byte units are exchanged by the row's number in its eight (PTX ISA, "Matrix Descriptor Format", 128-byte swizzle), so
// that writes by cp.async and reads by the tensor cores meet no bank twice.
#pragma once

#include "kernels/gemm/mma.cuh"

namespace weft {

// --- instructions -----------------------------------------------------------------------------------------------------

// What this thread wrote to shared memory is visible to the tensor cores once a barrier has been passed.
WEFT_FN void fence_for_async_reads() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
WEFT_FN void warpgroup_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
WEFT_FN void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most N committed groups are under way.
template <int N>
WEFT_FN void warpgroup_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// sum = A B + (more ? sum : 0) of 64 x kN sums and 32 bytes along K: a and b describe where the factors lie, kTransA and kTransB that
// their neighbours are along the rows.
#define WEFT_SUMS_8(kind, c, i) \
  kind(c[i]), kind(c[i + 1]), kind(c[i + 2]), kind(c[i + 3]), kind(c[i + 4]), kind(c[i + 5]), kind(c[i + 6]), kind(c[i + 7])
#define WEFT_SUMS_32(kind, c, i) WEFT_SUMS_8(kind, c, i), WEFT_SUMS_8(kind, c, i + 8), WEFT_SUMS_8(kind, c, i + 16), WEFT_SUMS_8(kind, c, i + 24)
#define WEFT_SUMS_64(kind, c, i) WEFT_SUMS_32(kind, c, i), WEFT_SUMS_32(kind, c, i + 32)
#define WEFT_SUMS_96(kind, c, i) WEFT_SUMS_64(kind, c, i), WEFT_SUMS_32(kind, c, i + 64)
#define WEFT_SUMS_128(kind, c, i) WEFT_SUMS_64(kind, c, i), WEFT_SUMS_64(kind, c, i + 64)
#define WEFT_NAMES_32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WEFT_NAMES_64 WEFT_NAMES_32 ", " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WEFT_NAMES_96 WEFT_NAMES_64 ", " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define WEFT_NAMES_128 WEFT_NAMES_96 ", " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define WEFT_WGMMA(n, regs, steps, sums, kind, types, a_at, b_at, more_at, how) \
  asm volatile("{.reg .pred p; setp.ne.b32 p, %" #more_at ", 0; wgmma.mma_async.sync.aligned.m64n" #n "k" steps "." sums "." types \
               " {" WEFT_NAMES_##regs "}, %" #a_at ", %" #b_at ", p" how ";}" \
               : WEFT_SUMS_##regs(kind, sum, 0) : "l"(a), "l"(b), "r"((int)more), "n"((int)kTransA), "n"((int)kTransB))
#define WEFT_WIDTHS(steps, sums, kind, types, how) \
  if constexpr (kN == 64) WEFT_WGMMA(64, 32, steps, sums, kind, types, 32, 33, 34, how(35, 36)); \
  else if constexpr (kN == 128) WEFT_WGMMA(128, 64, steps, sums, kind, types, 64, 65, 66, how(67, 68)); \
  else if constexpr (kN == 192) WEFT_WGMMA(192, 96, steps, sums, kind, types, 96, 97, 98, how(99, 100)); \
  else WEFT_WGMMA(256, 128, steps, sums, kind, types, 128, 129, 130, how(131, 132))
#define WEFT_HALVES(ta_at, tb_at) ", 1, 1, %" #ta_at ", %" #tb_at
#define WEFT_SMALL_FLOATS(ta_at, tb_at) ", 1, 1"
#define WEFT_INTEGERS(ta_at, tb_at) ""
template <class A, class B, int kN, bool kTransA, bool kTransB>
WEFT_FN void warpgroup_multiply(typename SumOf<A>::type (&sum)[kN / 2], u64 a, u64 b, bool more) {
  static_assert(kN == 64 || kN == 128 || kN == 192 || kN == 256, "not a width of this function");
  static_assert(sizeof(A) == 2 || !(kTransA || kTransB), "elements of 8 bits lie along K");
  if constexpr (same<A, f16>) { WEFT_WIDTHS("16", "f32", "+f", "f16.f16", WEFT_HALVES); }
  else if constexpr (same<A, bf16>) { WEFT_WIDTHS("16", "f32", "+f", "bf16.bf16", WEFT_HALVES); }
  else if constexpr (same<A, i8> && same<B, i8>) { WEFT_WIDTHS("32", "s32", "+r", "s8.s8", WEFT_INTEGERS); }
  else if constexpr (same<A, i8>) { WEFT_WIDTHS("32", "s32", "+r", "s8.u8", WEFT_INTEGERS); }
  else if constexpr (same<A, u8> && same<B, i8>) { WEFT_WIDTHS("32", "s32", "+r", "u8.s8", WEFT_INTEGERS); }
  else if constexpr (same<A, u8>) { WEFT_WIDTHS("32", "s32", "+r", "u8.u8", WEFT_INTEGERS); }
  else if constexpr (same<A, f8e4m3fn> && same<B, f8e4m3fn>) { WEFT_WIDTHS("32", "f32", "+f", "e4m3.e4m3", WEFT_SMALL_FLOATS); }
  else if constexpr (same<A, f8e4m3fn>) { WEFT_WIDTHS("32", "f32", "+f", "e4m3.e5m2", WEFT_SMALL_FLOATS); }
  else if constexpr (same<B, f8e4m3fn>) { WEFT_WIDTHS("32", "f32", "+f", "e5m2.e4m3", WEFT_SMALL_FLOATS); }
  else { WEFT_WIDTHS("32", "f32", "+f", "e5m2.e5m2", WEFT_SMALL_FLOATS); }
}
#undef WEFT_HALVES
#undef WEFT_SMALL_FLOATS
#undef WEFT_INTEGERS
#undef WEFT_WIDTHS
#undef WEFT_WGMMA
#undef WEFT_NAMES_128
#undef WEFT_NAMES_96
#undef WEFT_NAMES_64
#undef WEFT_NAMES_32
#undef WEFT_SUMS_128
#undef WEFT_SUMS_96
#undef WEFT_SUMS_64
#undef WEFT_SUMS_32
#undef WEFT_SUMS_8

// --- a factor's tile in shared memory ---------------------------------------------------------------------------------

// kRows x 128 bytes along K. Neighbours along the rows, of 16 bits, lie in chunks of 64 rows. 1024-byte aligned.
template <class T, int kRows, bool kAlongK>
struct SwizzledTile {
  typedef T Element;
  static constexpr bool along_k = kAlongK || sizeof(T) == 1;
  static constexpr int rows = kRows, depth = 128 / (int)sizeof(T), elements = kRows * depth;
  static constexpr int kLine = depth, kUnit = 16 / (int)sizeof(T);  // a line's elements, and those that are exchanged together
  WEFT_FN static int place(int row, int k) {
    const int line = along_k ? row : k + row / kLine * depth, at = along_k ? k : row % kLine;
    return line * kLine + ((at / kUnit) ^ (line % 8)) * kUnit + at % kUnit;
  }
  // The descriptor of 32 bytes from k on, of rows from `row` on, a multiple of 64.
  WEFT_FN static u64 describe(const T* tile, int row, int k) {
    constexpr u64 kEight = 1024 / 16, kChunk = depth * 128 / 16, kSwizzle128 = (u64)1 << 62;
    const u32 at = shared_address(tile) + (u32)(row * 128 + (along_k ? k * (int)sizeof(T) : k * 128));
    return (u64)((at & 0x3ffff) >> 4) | kChunk << 16 | kEight << 32 | kSwizzle128;
  }
};

// --- the tile of sums -------------------------------------------------------------------------------------------------

template <class A, class B, int kM, int kN, int kStageCount, int kRankCount, bool kAAlongK, bool kBAlongK>
struct WarpgroupShape {
  static_assert(sizeof(A) == sizeof(B), "factors of different widths");
  static constexpr int kBM = kM, kBN = kN, kBK = 128 / (int)sizeof(A), kStages = kStageCount, kSlices = 1, kRanks = kRankCount, kThreads = kM / 64 * 128;
  static constexpr bool kWarpgroups = true, kOfWeights = false;
  typedef typename SumOf<A>::type Value;
  typedef SwizzledTile<A, kBM, kAAlongK> TileA;
  typedef SwizzledTile<B, kBN, kBAlongK> TileB;
  static constexpr int kStageElements = TileA::elements + TileB::elements;
  static constexpr int kLineC = kBN + 8;
  static constexpr int kBytesC = kBM * kLineC * 4, kBytesStages = kStageElements * kStages * (int)sizeof(A);
  static constexpr int kSharedBytes = kBytesC > kBytesStages ? kBytesC : kBytesStages;
  static constexpr bool kPartSums = sizeof(A) == 1 && same<Value, f32>;
  // Steps whose products may be under way while the next one's begin: a block alone on its multiprocessor has no other that
  // fills the gap.
  static constexpr int kBehind = kStages > 3 && !kPartSums ? 1 : 0, kAhead = kStages - 1 - kBehind;
};

template <class S, class A, class B, class Index>
WEFT_FN void multiply_tile_by_warpgroups(void* shared, const A& a, const B& b, Index m0, Index n0) {
  typedef typename S::TileA::Element T;
  typedef typename S::TileB::Element TB;
  typedef typename S::Value C;
  constexpr int kSums = S::kBN / 2, kSteps = 32 / (int)sizeof(T);
  StageFill<S, A, B, Index> fill(a, b, m0, n0);
  const int group = (int)threadIdx.x / 128 * 64;
  C sum[kSums] = {};
  C total[S::kPartSums ? kSums : 1] = {};
  auto add_part = [&] {
    if constexpr (S::kPartSums) {
#pragma unroll
      for (int i = 0; i < kSums; ++i) total[i] += sum[i];
    }
  };
  __syncthreads();  // what was in shared memory before has been read
#pragma unroll
  for (int s = 0; s < S::kAhead; ++s) {
    if (s < fill.steps) fill((T*)shared, s, s);
    fill.finish();
    copy_async_commit();
  }
  int slot = 0, next_slot = S::kAhead % S::kStages;
#pragma unroll 1
  for (Index step = 0; step < fill.steps; ++step) {
    warpgroup_wait<S::kBehind>();
    add_part();
    copy_async_wait<S::kAhead - 1>();
    fence_for_async_reads();
    __syncthreads();
    const T* at_a = (T*)shared + slot * S::kStageElements;
    const TB* at_b = (const TB*)(at_a + S::TileA::elements);
    warpgroup_begin();
#pragma unroll
    for (int k = 0; k < S::kBK; k += kSteps)
      warpgroup_multiply<T, TB, S::kBN, !S::TileA::along_k, !S::TileB::along_k>(
          sum, S::TileA::describe(at_a, group, k), S::TileB::describe(at_b, 0, k), !S::kPartSums || k > 0);
    warpgroup_commit();
    fill.finish();
    const Index next = step + S::kAhead;
    if (next < fill.steps) fill((T*)shared, next, next_slot);
    copy_async_commit();
    slot = slot + 1 == S::kStages ? 0 : slot + 1;
    next_slot = next_slot + 1 == S::kStages ? 0 : next_slot + 1;
  }
  warpgroup_wait<0>();
  add_part();
  copy_async_wait<0>();
  __syncthreads();
#pragma unroll
  for (int j = 0; j < S::kBN / 8; ++j) {
    const C* part = sum + j * 4;
    if constexpr (S::kPartSums) part = total + j * 4;
    put_sums<S>((C*)shared, (int)threadIdx.x / 32 * 16, j * 8, part);
  }
  __syncthreads();
  if constexpr (S::kRanks > 1) cluster_sync();
}

}  // namespace weft
