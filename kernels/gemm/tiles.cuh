// What the tiles of products of matrices have in common: the order in which blocks take them, and their sums.
#pragma once

#include "kernels/core/memory.cuh"

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

// V neighbouring sums of a tile of shape S, over all slices; n is a multiple of V.
template <class S, int V>
WEFT_FN void sums_of(typename S::Value (&sum)[V], const void* shared, int m, int n) {
  typedef typename S::Value C;
  constexpr int W = V % 4 == 0 ? 4 : V % 2 == 0 ? 2 : 1;
#pragma unroll
  for (int s = 0; s < S::kSlices; ++s) {
    const C* c = (const C*)shared + (s * S::kBM + m) * S::kLineC + n;
#pragma unroll
    for (int l = 0; l < V; l += W) {
      const Pack<C, W> x = *(const Pack<C, W>*)(c + l);
#pragma unroll
      for (int k = 0; k < W; ++k) sum[l + k] = s == 0 ? x.v[k] : sum[l + k] + x.v[k];
    }
  }
}

}  // namespace weft
