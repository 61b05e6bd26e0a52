// Reductions over threads of values of any plain type with a function that joins two: over groups of neighbouring threads, or
// over the parts of columns. All threads of a group get the result, always joined in the same order.
#pragma once

#include "kernels/core/types.cuh"

namespace weft {

// The value that the lane with this number, all of whose bits but those of `mask` are the caller's, has.
template <class T>
WEFT_FN T exchange(T v, int mask) {
  constexpr int n = (sizeof(T) + 3) / 4;
  u32 w[n] = {};
  ::memcpy(w, &v, sizeof v);
#pragma unroll
  for (int k = 0; k < n; ++k) asm volatile("shfl.sync.bfly.b32 %0, %0, %1, 0x1f, 0xffffffff;" : "+r"(w[k]) : "r"(mask));
  ::memcpy(&v, w, sizeof v);
  return v;
}

template <int kLanes, class T, class Join>
WEFT_FN T reduce_lanes(T v, Join join) {
#pragma unroll
  for (int mask = kLanes / 2; mask > 0; mask /= 2) v = join(v, exchange(v, mask));
  return v;
}

// Over groups of kGroup threads (a power of two up to the block). `shared` has an element for each warp of the block; groups
// of more than a warp synchronise the whole block, so that all its threads must come.
template <int kGroup, class T, class Join>
WEFT_FN T reduce_group(T v, T* shared, Join join) {
  v = reduce_lanes<(kGroup < 32 ? kGroup : 32)>(v, join);
  if constexpr (kGroup > 32) {
    constexpr int warps = kGroup / 32;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    __syncthreads();  // what was there before has been read
    if (lane == 0) shared[warp] = v;
    __syncthreads();
    v = reduce_lanes<warps>(shared[warp / warps * warps + lane % warps], join);
  }
  return v;
}

// Over the kParts threads of each column, which are kColumns threads apart; each has V values. `shared` has V elements for
// each thread of the block, all of which must come.
template <int kParts, int kColumns, int V, class T, class Join>
WEFT_FN void reduce_columns(T (&v)[V], T* shared, Join join) {
  T* mine = shared + threadIdx.x * V;
  const int part = threadIdx.x / kColumns;
  __syncthreads();  // what was there before has been read
#pragma unroll
  for (int l = 0; l < V; ++l) mine[l] = v[l];
  __syncthreads();
#pragma unroll
  for (int half = kParts / 2; half > 0; half /= 2) {
    if (part < half) {
#pragma unroll
      for (int l = 0; l < V; ++l) mine[l] = join(mine[l], mine[half * kColumns * V + l]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int l = 0; l < V; ++l) v[l] = shared[threadIdx.x % kColumns * V + l];
}

}  // namespace weft
