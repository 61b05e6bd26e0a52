// A tile of a product of matrices by warpgroups (wgmma, sm_90a): as multiply_tile of kernels/gemm/mma.cuh, whose factors, fills
// and tile of sums it shares.
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

// sum += A B of 64 x kN sums and 16 steps along K: a and b describe where the factors lie, kTransA and kTransB that their
// neighbours are along the rows.
#define WEFT_SUMS_8(c, i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), "+f"(c[i + 6]), "+f"(c[i + 7])
#define WEFT_SUMS_32(c, i) WEFT_SUMS_8(c, i), WEFT_SUMS_8(c, i + 8), WEFT_SUMS_8(c, i + 16), WEFT_SUMS_8(c, i + 24)
#define WEFT_SUMS_64(c, i) WEFT_SUMS_32(c, i), WEFT_SUMS_32(c, i + 32)
#define WEFT_SUMS_96(c, i) WEFT_SUMS_64(c, i), WEFT_SUMS_32(c, i + 64)
#define WEFT_SUMS_128(c, i) WEFT_SUMS_64(c, i), WEFT_SUMS_64(c, i + 64)
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
#define WEFT_WGMMA(n, regs, type, a_at, b_at, ta_at, tb_at) \
  asm volatile("{.reg .pred p; setp.eq.u32 p, 0, 0; wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type \
               " {" WEFT_NAMES_##regs "}, %" #a_at ", %" #b_at ", p, 1, 1, %" #ta_at ", %" #tb_at ";}" \
               : WEFT_SUMS_##regs(sum, 0) : "l"(a), "l"(b), "n"((int)kTransA), "n"((int)kTransB))
template <class T, int kN, bool kTransA, bool kTransB>
WEFT_FN void warpgroup_multiply(f32 (&sum)[kN / 2], u64 a, u64 b) {
  static_assert(kN == 64 || kN == 128 || kN == 192 || kN == 256, "not a width of this function");
  if constexpr (same<T, f16>) {
    if constexpr (kN == 64) WEFT_WGMMA(64, 32, "f16", 32, 33, 34, 35);
    else if constexpr (kN == 128) WEFT_WGMMA(128, 64, "f16", 64, 65, 66, 67);
    else if constexpr (kN == 192) WEFT_WGMMA(192, 96, "f16", 96, 97, 98, 99);
    else WEFT_WGMMA(256, 128, "f16", 128, 129, 130, 131);
  } else {
    if constexpr (kN == 64) WEFT_WGMMA(64, 32, "bf16", 32, 33, 34, 35);
    else if constexpr (kN == 128) WEFT_WGMMA(128, 64, "bf16", 64, 65, 66, 67);
    else if constexpr (kN == 192) WEFT_WGMMA(192, 96, "bf16", 96, 97, 98, 99);
    else WEFT_WGMMA(256, 128, "bf16", 128, 129, 130, 131);
  }
}
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

// kRows x 64 elements of 16 bits; neighbours along the rows lie in chunks of 64 rows. 1024-byte aligned.
template <class T, int kRows, bool kAlongK>
struct SwizzledTile {
  static constexpr bool along_k = kAlongK;
  static constexpr int kDepth = 64, length = kAlongK ? kDepth : kRows, lines = kAlongK ? kRows : kDepth, elements = kRows * kDepth;
  WEFT_FN static int place(int row, int k) {
    const int line = kAlongK ? row : k + row / 64 * kDepth, at = kAlongK ? k : row % 64;
    return line * 64 + ((at / 8) ^ (line % 8)) * 8 + at % 8;
  }
  // The descriptor of 16 steps from k on, of rows from `row` on, a multiple of 64.
  WEFT_FN static u64 describe(const T* tile, int row, int k) {
    constexpr u64 kEight = 1024 / 16, kChunk = kDepth * 128 / 16, kSwizzle128 = (u64)1 << 62;
    const u32 at = shared_address(tile) + (u32)(row * 128 + (kAlongK ? k * 2 : k * 128));
    return (u64)((at & 0x3ffff) >> 4) | kChunk << 16 | kEight << 32 | kSwizzle128;
  }
};

// --- the tile of sums -------------------------------------------------------------------------------------------------

template <class T, int kM, int kN, int kStageCount, int kRankCount, bool kAAlongK, bool kBAlongK>
struct WarpgroupShape {
  static constexpr int kBM = kM, kBN = kN, kBK = 64, kStages = kStageCount, kSlices = 1, kRanks = kRankCount, kThreads = kM / 64 * 128;
  static constexpr bool kWarpgroups = true;
  typedef T Element;
  typedef f32 Value;
  typedef SwizzledTile<T, kBM, kAAlongK> TileA;
  typedef SwizzledTile<T, kBN, kBAlongK> TileB;
  static constexpr int kStageElements = TileA::elements + TileB::elements;
  static constexpr int kLineC = kBN + 8;
  static constexpr int kBytesC = kBM * kLineC * 4, kBytesStages = kStageElements * kStages * 2;
  static constexpr int kSharedBytes = kBytesC > kBytesStages ? kBytesC : kBytesStages;
  // Steps whose products may be under way while the next one's begin: a block alone on its multiprocessor has no other that
  // fills the gap.
  static constexpr int kBehind = kStages > 3 ? 1 : 0, kAhead = kStages - 1 - kBehind;
};

template <class S, class A, class B, class Index>
WEFT_FN void multiply_tile_by_warpgroups(void* shared, const A& a, const B& b, Index m0, Index n0) {
  typedef typename S::Element T;
  const StageFill<S, A, B, Index> fill(a, b, m0, n0);
  const int group = (int)threadIdx.x / 128 * 64;
  f32 sum[S::kBN / 2] = {};
  __syncthreads();  // what was in shared memory before has been read
#pragma unroll
  for (int s = 0; s < S::kAhead; ++s) {
    if (s < fill.steps) fill((T*)shared, s, s);
    copy_async_commit();
  }
  int slot = 0, next_slot = S::kAhead % S::kStages;
#pragma unroll 1
  for (Index step = 0; step < fill.steps; ++step) {
    warpgroup_wait<S::kBehind>();
    copy_async_wait<S::kAhead - 1>();
    fence_for_async_reads();
    __syncthreads();
    const T* at_a = (T*)shared + slot * S::kStageElements;
    const T* at_b = at_a + S::TileA::elements;
    warpgroup_begin();
#pragma unroll
    for (int k = 0; k < S::kBK; k += 16)
      warpgroup_multiply<T, S::kBN, !S::TileA::along_k, !S::TileB::along_k>(sum, S::TileA::describe(at_a, group, k), S::TileB::describe(at_b, 0, k));
    warpgroup_commit();
    const Index next = step + S::kAhead;
    if (next < fill.steps) fill((T*)shared, next, next_slot);
    copy_async_commit();
    slot = slot + 1 == S::kStages ? 0 : slot + 1;
    next_slot = next_slot + 1 == S::kStages ? 0 : next_slot + 1;
  }
  warpgroup_wait<0>();
  copy_async_wait<0>();
  __syncthreads();
#pragma unroll
  for (int j = 0; j < S::kBN / 8; ++j) put_sums<S>((f32*)shared, (int)threadIdx.x / 32 * 16, j * 8, sum + j * 4);
  __syncthreads();
  if constexpr (S::kRanks > 1) cluster_sync();
}

}  // namespace weft
