// A tile of a product of matrices without tensor cores, for any type that multiplies: f32 stays f32.
//
// A block of kThreadsM x kThreadsN threads computes kBM x kBN sums, each thread kTM x kTN of them. While one step along K is
// multiplied, the next one comes: by cp.async where the values (of 4 or 8 bytes) lie in memory as they are, else through
// registers. kSlices > 1 gives each step's K to that many groups of threads, whose sums are joined at the end, and
// kRanks > 1 a share of all steps to each block of a cluster (f32 alone: others' sums are read as floats). A factor is
// given by simt_elements or by simt_values; elements outside its extents count as zero.
#pragma once

#include "kernels/core/memory.cuh"
#include "kernels/core/scalar.cuh"
#include "kernels/gemm/tiles.cuh"

namespace weft {

// along_k: neighbours in memory are along K, else along the rows.
template <bool kAlongK, class Index, class At, class Inside>
struct SimtElements {
  static constexpr bool along_k = kAlongK, direct = true;
  Index rows, depth;
  At at;          // where an element lies
  Inside inside;  // a guard
};
template <bool kAlongK, class Index, class At, class Inside>
WEFT_FN SimtElements<kAlongK, Index, At, Inside> simt_elements(Index rows, Index depth, At at, Inside inside) { return {rows, depth, at, inside}; }

template <bool kAlongK, class Index, class Value>
struct SimtValues {
  static constexpr bool along_k = kAlongK, direct = false;
  Index rows, depth;
  Value value;
};
template <bool kAlongK, class Index, class Value>
WEFT_FN SimtValues<kAlongK, Index, Value> simt_values(Index rows, Index depth, Value value) { return {rows, depth, value}; }

template <class C, int kM, int kN, int kK, int kSumsM, int kSumsN, int kSliceCount, int kRankCount>
struct SimtShape {
  typedef C Value;
  static constexpr int kBM = kM, kBN = kN, kBK = kK, kTM = kSumsM, kTN = kSumsN, kSlices = kSliceCount, kRanks = kRankCount;
  static constexpr int kThreadsM = kBM / kTM, kThreadsN = kBN / kTN, kThreads = kThreadsM * kThreadsN * kSlices;
  static constexpr int kLineA = kBM + 4, kLineB = kBN + 4, kLineC = kBN + 4;
  static constexpr int kSlot = kBK * (kLineA + kLineB);  // values of one step of both factors
  static constexpr int kBytesC = kBM * kLineC * kSlices * (int)sizeof(C), kBytesSlots = 2 * kSlot * (int)sizeof(C);
  static constexpr int kSharedBytes = kBytesC > kBytesSlots ? kBytesC : kBytesSlots;
};

// A thread's share of kRows x kBK elements, from row0 and k0 on; then its way to shared memory, K by K.
template <int kThreads, int kRows, int kBK>
struct SimtShare {
  static constexpr int count = kRows * kBK, each = (count + kThreads - 1) / kThreads;
  template <bool kAlongK> WEFT_FN static int row_of(int q) { return kAlongK ? q / kBK : q % kRows; }
  template <bool kAlongK> WEFT_FN static int k_of(int q) { return kAlongK ? q % kBK : q / kRows; }

  // To shared memory, behind the threads' backs.
  template <class C, class Hook, class Index>
  WEFT_FN static void copy(C* tile, int line, const Hook& hook, Index row0, Index k0) {
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const int q = i * kThreads + (int)threadIdx.x, r = row_of<Hook::along_k>(q), d = k_of<Hook::along_k>(q);
      const Index row = row0 + r, k = k0 + d;
      const bool inside = row < hook.rows && k < hook.depth && hook.inside(row, k);
      if (count % kThreads == 0 || q < count) copy_async_element(tile + d * line + r, inside ? hook.at(row, k) : hook.at(0, 0), inside);
    }
  }
  template <class C, class Hook, class Index>
  WEFT_FN static void fetch(C (&v)[each], const Hook& hook, Index row0, Index k0) {
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const int q = i * kThreads + (int)threadIdx.x;
      const Index row = row0 + row_of<Hook::along_k>(q), k = k0 + k_of<Hook::along_k>(q);
      v[i] = (count % kThreads == 0 || q < count) && row < hook.rows && k < hook.depth ? hook.value(row, k) : (C)0;
    }
  }
  template <bool kAlongK, class C>
  WEFT_FN static void put(C* tile, const C (&v)[each], int line) {
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const int q = i * kThreads + (int)threadIdx.x;
      if (count % kThreads == 0 || q < count) tile[k_of<kAlongK>(q) * line + row_of<kAlongK>(q)] = v[i];
    }
  }
};

// The sums of the tile at (m0, n0), in shared memory afterwards: element (m, n) of slice s at (s * kBM + m) * kLineC + n. All
// threads must come.
template <class S, class A, class B, class Index>
WEFT_FN void multiply_tile(void* shared, const A& a, const B& b, Index m0, Index n0) {
  typedef typename S::Value C;
  typedef SimtShare<S::kThreads, S::kBM, S::kBK> ShareA;
  typedef SimtShare<S::kThreads, S::kBN, S::kBK> ShareB;
  C* const slots = (C*)shared;
  const int slice = (int)threadIdx.x / (S::kThreadsM * S::kThreadsN), mine = (int)threadIdx.x % (S::kThreadsM * S::kThreadsN);
  const int tm = mine / S::kThreadsN * 4, tn = mine % S::kThreadsN * 4;
  // Fours of rows and columns lie apart, so that a warp's accesses spread over all banks.
  constexpr int far_m = 4 * S::kThreadsM, far_n = 4 * S::kThreadsN;
  C sum[S::kTM][S::kTN] = {};
  C next_a[ShareA::each], next_b[ShareB::each];
  auto start = [&](Index k0, C* slot) {
    if constexpr (A::direct) ShareA::copy(slot, S::kLineA, a, m0, k0);
    else ShareA::fetch(next_a, a, m0, k0);
    if constexpr (B::direct) ShareB::copy(slot + S::kBK * S::kLineA, S::kLineB, b, n0, k0);
    else ShareB::fetch(next_b, b, n0, k0);
    if constexpr (A::direct || B::direct) copy_async_commit();
  };
  auto finish = [&](C* slot) {
    if constexpr (!A::direct) ShareA::template put<A::along_k>(slot, next_a, S::kLineA);
    if constexpr (!B::direct) ShareB::template put<B::along_k>(slot + S::kBK * S::kLineA, next_b, S::kLineB);
    if constexpr (A::direct || B::direct) copy_async_wait<0>();
    __syncthreads();
  };
  __syncthreads();  // what was in shared memory before has been read
  const StepShare<S::kRanks, Index> share((a.depth + S::kBK - 1) / S::kBK);
  const Index begin = share.first * S::kBK, end = min<Index>(a.depth, begin + share.steps * S::kBK);
  start(begin, slots);
  finish(slots);
  int slot = 0;
#pragma unroll 1
  for (Index k0 = begin; k0 < end; k0 += S::kBK) {
    const bool more = k0 + S::kBK < end;
    if (more) start(k0 + S::kBK, slots + (slot ^ 1) * S::kSlot);
    constexpr int each = S::kBK / S::kSlices;
    const C* at_a = slots + slot * S::kSlot + slice * each * S::kLineA + tm;
    const C* at_b = slots + slot * S::kSlot + S::kBK * S::kLineA + slice * each * S::kLineB + tn;
#pragma unroll
    for (int k = 0; k < each; ++k) {
      C va[S::kTM], vb[S::kTN];
#pragma unroll
      for (int i = 0; i < S::kTM; i += 4) *(Pack<C, 4>*)(va + i) = *(const Pack<C, 4>*)(at_a + k * S::kLineA + i / 4 * far_m);
#pragma unroll
      for (int j = 0; j < S::kTN; j += 4) *(Pack<C, 4>*)(vb + j) = *(const Pack<C, 4>*)(at_b + k * S::kLineB + j / 4 * far_n);
#pragma unroll
      for (int i = 0; i < S::kTM; ++i)
#pragma unroll
        for (int j = 0; j < S::kTN; ++j) sum[i][j] = fma(va[i], vb[j], sum[i][j]);
    }
    slot ^= 1;
    if (more) finish(slots + slot * S::kSlot);
  }
  __syncthreads();
  C* const out = (C*)shared + slice * S::kBM * S::kLineC;
#pragma unroll
  for (int i = 0; i < S::kTM; ++i)
#pragma unroll
    for (int j = 0; j < S::kTN; ++j)
      out[(tm + i / 4 * far_m + i % 4) * S::kLineC + tn + j / 4 * far_n + j % 4] = sum[i][j];
  __syncthreads();
  if constexpr (S::kRanks > 1) cluster_sync();
}

}  // namespace weft
