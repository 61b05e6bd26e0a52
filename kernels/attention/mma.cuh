// The engine of attention on tensor cores (sm_80 and later): f16 or bf16 queries, keys and values, float sums. Each warp has
// 16 * kTilesM rows; weights go from the sums of the first product to the factors of the second in registers.
#pragma once

#include "kernels/attention/tile.cuh"
#include "kernels/gemm/mma.cuh"

namespace weft {

template <class T, int kHeadSize, int kColumnSize, int kKeyBlock, int kTilesM, int kWarps, int kSliceCount, int kStageCount, int kRankCount>
struct MmaAttention {
  typedef T Element;
  static constexpr int kHead = (kHeadSize + 15) / 16 * 16, kColumns = (kColumnSize + 15) / 16 * 16, kKeys = kKeyBlock;
  static constexpr int kBM = 16 * kTilesM * kWarps, kSlices = kSliceCount, kStages = kStageCount, kRanks = kRankCount;
  static constexpr int kThreads = 32 * kWarps * kSlices, kLanes = 4;
  // Lines are padded by 16 bytes, so that eight of them lie in different banks.
  static constexpr int kLineK = kHead + 8, kLineV = kColumns + 8;
  static constexpr int kNK = kKeys / 8, kNC = kColumns / 8;
  static constexpr int kRowsEach = 2 * kTilesM, kKeysEach = 2 * kNK, kColumnsEach = 2 * kNC;
  static constexpr int kBytesStages = 2 * (kBM * kLineK + kStages * kSlices * kKeys * (kLineK + kLineV));

  f32 s[kTilesM][kNK][4], o[kTilesM][kNC][4], top[kRowsEach], sum[kRowsEach];

  WEFT_FN static int lane() { return (int)threadIdx.x % 32; }
  WEFT_FN static int slice() { return (int)threadIdx.x / (32 * kWarps); }
  WEFT_FN static int warp_row() { return (int)threadIdx.x / 32 % kWarps * 16 * kTilesM; }
  WEFT_FN static int row_of(int r) { return warp_row() + r / 2 * 16 + lane() / 4 + r % 2 * 8; }
  WEFT_FN static int key_of(int c) { return c / 2 * 8 + lane() % 4 * 2 + c % 2; }
  WEFT_FN static int column_of(int c) { return key_of(c); }
  WEFT_FN f32& score(int r, int c) { return s[r / 2][c / 2][r % 2 * 2 + c % 2]; }
  WEFT_FN f32& result(int r, int c) { return o[r / 2][c / 2][r % 2 * 2 + c % 2]; }
  WEFT_FN static f32 power_of_two(f32 x) { return exp2_fast(x); }

  WEFT_FN void clear() {
#pragma unroll
    for (int r = 0; r < kRowsEach; ++r) {
      top[r] = -as_f32(0x7f800000u);
      sum[r] = 0.0f;
#pragma unroll
      for (int c = 0; c < kColumnsEach; ++c) result(r, c) = 0.0f;
    }
  }

  WEFT_FN void multiply(const T* queries, const T* keys) {
#pragma unroll
    for (int i = 0; i < kTilesM; ++i)
#pragma unroll
      for (int j = 0; j < kNK; ++j)
#pragma unroll
        for (int l = 0; l < 4; ++l) s[i][j][l] = 0.0f;
#pragma unroll
    for (int c = 0; c < kHead; c += 16) {
      u32 a[kTilesM][4];
#pragma unroll
      for (int i = 0; i < kTilesM; ++i) load_matrices<false>(a[i], queries + (warp_row() + i * 16 + lane() % 16) * kLineK + c + lane() / 16 * 8);
#pragma unroll
      for (int j = 0; j < kNK / 2; ++j) {
        u32 b[4];
        load_matrices<false>(b, keys + (j * 16 + lane() % 8 + lane() / 16 * 8) * kLineK + c + lane() / 8 % 2 * 8);
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
          multiply_16x8<T, T>(s[i][2 * j], a[i], b[0], b[1]);
          multiply_16x8<T, T>(s[i][2 * j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }

  WEFT_FN void weigh(const T* values) {
#pragma unroll
    for (int k = 0; k < kNK / 2; ++k) {
      u32 a[kTilesM][4];
#pragma unroll
      for (int i = 0; i < kTilesM; ++i)
#pragma unroll
        for (int l = 0; l < 4; ++l) a[i][l] = pack_pair<T>(s[i][2 * k + l / 2][l % 2 * 2], s[i][2 * k + l / 2][l % 2 * 2 + 1]);
#pragma unroll
      for (int j = 0; j < kNC / 2; ++j) {
        u32 b[4];
        load_matrices<true>(b, values + (k * 16 + lane() % 16) * kLineV + j * 16 + lane() / 16 * 8);
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
          multiply_16x8<T, T>(o[i][2 * j], a[i], b[0], b[1]);
          multiply_16x8<T, T>(o[i][2 * j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }
};

}  // namespace weft
