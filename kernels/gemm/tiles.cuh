// What the tiles of products of matrices have in common: the order in which blocks take them, and their sums.
#pragma once

#include "kernels/core/cluster.cuh"
#include "kernels/core/scalar.cuh"

namespace weft {

struct TilePlace {
  i32 m, n;
};

// Tiles in bands of 8 along M, column by column: blocks that run at once share rows of both factors in the cache.
WEFT_FN TilePlace place_tile(i32 i, i32 tiles_m, i32 tiles_n) {
  constexpr i32 kBand = 8;
  const i32 first = i / (kBand * tiles_n) * kBand, rest = i % (kBand * tiles_n);
  const i32 height = tiles_m - first < kBand ? tiles_m - first : kBand;
  return {first + rest % height, rest / height};
}

// Which of a tile's steps along K are this block's, of its cluster of kRanks.
template <int kRanks, class Index>
struct StepShare {
  Index first = 0, steps;
  WEFT_FN explicit StepShare(Index all) : steps(all) {
    if constexpr (kRanks > 1) {
      const Index share = (all + kRanks - 1) / kRanks;
      first = share * (Index)cluster_rank();
      steps = min<Index>(share, all > first ? all - first : 0);
    }
  }
};

// V neighbouring sums of a tile of shape S, over all slices and ranks; n is a multiple of V.
template <class S, int V>
WEFT_FN void sums_of(typename S::Value (&sum)[V], const void* shared, int m, int n) {
  typedef typename S::Value C;
  constexpr int W = V % 4 == 0 ? 4 : V % 2 == 0 ? 2 : 1;
#pragma unroll
  for (int i = 0; i < S::kRanks * S::kSlices; ++i) {
    const C* c = (const C*)shared + (i % S::kSlices * S::kBM + m) * S::kLineC + n;
#pragma unroll
    for (int l = 0; l < V; l += W) {
      Pack<C, W> x;
      if constexpr (S::kRanks > 1) x = load_cluster<W>(c + l, i / S::kSlices);
      else x = *(const Pack<C, W>*)(c + l);
#pragma unroll
      for (int k = 0; k < W; ++k) sum[l + k] = i == 0 ? x.v[k] : sum[l + k] + x.v[k];
    }
  }
}

}  // namespace weft
