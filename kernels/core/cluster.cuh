// Blocks of a cluster (sm_90), in one dimension: their barrier, and loads from each other's shared memory.
#pragma once

#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"

namespace weft {

WEFT_FN int cluster_rank() {
  u32 r;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  return (int)r;
}
// All threads of all blocks; what they wrote to shared memory before is visible afterwards.
WEFT_FN void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// V neighbours where `p` points, in the shared memory of the block with this rank.
template <int V>
WEFT_FN Pack<f32, V> load_cluster(const f32* p, int rank) {
  u32 at = (u32)__cvta_generic_to_shared(p);
  Pack<f32, V> r;
  asm volatile("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(at) : "r"(rank));
  if constexpr (V % 4 == 0) {
#pragma unroll
    for (int l = 0; l < V; l += 4)
      asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(r.v[l]), "=f"(r.v[l + 1]), "=f"(r.v[l + 2]), "=f"(r.v[l + 3]) : "r"(at + 4 * l));
  } else {
#pragma unroll
    for (int l = 0; l < V; ++l) asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(r.v[l]) : "r"(at + 4 * l));
  }
  return r;
}

// Any value of whole words.
template <class T>
WEFT_FN T load_cluster(const T* p, int rank) {
  static_assert(sizeof(T) % 4 == 0, "not of whole words");
  constexpr int n = (int)sizeof(T) / 4;
  u32 at = (u32)__cvta_generic_to_shared(p), w[n];
  asm volatile("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(at) : "r"(rank));
#pragma unroll
  for (int k = 0; k < n; ++k) asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(w[k]) : "r"(at + 4 * k));
  T r;
  ::memcpy(&r, w, sizeof r);
  return r;
}
// The blocks' values at the same place of shared memory, joined in the order of ranks, for the threads of rank 0 that `want` it.
// All threads of the cluster must come.
template <int kRanks, int V, class T, class Join>
WEFT_FN void reduce_cluster(T (&v)[V], const T* shared, bool want, Join join) {
  cluster_sync();
  if (want && cluster_rank() == 0) {
#pragma unroll
    for (int r = 1; r < kRanks; ++r)
#pragma unroll
      for (int l = 0; l < V; ++l) v[l] = join(v[l], load_cluster(shared + l, r));
  }
  cluster_sync();  // before others' memory goes or changes
}

// The blocks' values, one of each block, joined in the order of ranks, for all threads. `shared` holds nothing else. All threads
// of the cluster must come.
template <int kRanks, class T, class Join>
WEFT_FN T reduce_ranks(T v, T* shared, Join join) {
  if (threadIdx.x == 0) *shared = v;
  cluster_sync();
  v = reduce_lanes<kRanks>(load_cluster(shared, (int)threadIdx.x % kRanks), join);
  cluster_sync();  // before others' memory goes or changes
  return v;
}

}  // namespace weft
