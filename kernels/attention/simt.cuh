// The engine of attention without tensor cores: all in float. Threads stand as kBM / kTM rows of 8; weights go through
// shared memory from the first product to the second, within a warp.
#pragma once

#include "kernels/attention/tile.cuh"

namespace weft {

template <int kHeadSize, int kColumnSize, int kKeyBlock, int kTM, int kRowsOfThreads, int kSliceCount, int kStageCount, int kRankCount>
struct SimtAttention {
  typedef f32 Element;
  static constexpr int kHead = (kHeadSize + 3) / 4 * 4, kColumns = (kColumnSize + 31) / 32 * 32, kKeys = kKeyBlock;
  static constexpr int kBM = kTM * kRowsOfThreads, kSlices = kSliceCount, kStages = kStageCount, kRanks = kRankCount;
  static constexpr int kThreads = 8 * kRowsOfThreads * kSlices, kLanes = 8;
  // Lines are padded by 16 bytes, so that eight of them lie in different banks.
  static constexpr int kLineK = (kHead + 31) / 32 * 32 + 4, kLineV = kColumns + 4, kLineW = kKeys + 4;
  static constexpr int kRowsEach = kTM, kKeysEach = kKeys / 8, kColumnsEach = kColumns / 8;
  static constexpr int kFloatsStages = kBM * kLineK + kStages * kSlices * kKeys * (kLineK + kLineV);
  static constexpr int kBytesStages = 4 * (kFloatsStages + kSlices * kBM * kLineW);

  f32 s[kTM][kKeysEach], o[kTM][kColumnsEach], top[kTM], sum[kTM];

  WEFT_FN static int across() { return (int)threadIdx.x % 8; }
  WEFT_FN static int down() { return (int)threadIdx.x / 8 % kRowsOfThreads; }
  WEFT_FN static int slice() { return (int)threadIdx.x / (8 * kRowsOfThreads); }
  WEFT_FN static int row_of(int r) { return down() * kTM + r; }
  WEFT_FN static int key_of(int c) { return c * 8 + across(); }
  WEFT_FN static int column_of(int c) { return c / 4 * 32 + across() * 4 + c % 4; }
  WEFT_FN f32& score(int r, int c) { return s[r][c]; }
  WEFT_FN f32& result(int r, int c) { return o[r][c]; }
  WEFT_FN static f32 power_of_two(f32 x) { return exp2f(x); }

  WEFT_FN void clear() {
#pragma unroll
    for (int r = 0; r < kTM; ++r) {
      top[r] = -as_f32(0x7f800000u);
      sum[r] = 0.0f;
#pragma unroll
      for (int c = 0; c < kColumnsEach; ++c) o[r][c] = 0.0f;
    }
  }

  WEFT_FN void multiply(const f32* queries, const f32* keys) {
#pragma unroll
    for (int r = 0; r < kTM; ++r)
#pragma unroll
      for (int c = 0; c < kKeysEach; ++c) s[r][c] = 0.0f;
#pragma unroll 4
    for (int c = 0; c < kHead; c += 4) {
      Pack<f32, 4> q[kTM];
#pragma unroll
      for (int r = 0; r < kTM; ++r) q[r] = load<4>(queries + row_of(r) * kLineK + c);
#pragma unroll
      for (int k = 0; k < kKeysEach; ++k) {
        const Pack<f32, 4> y = load<4>(keys + key_of(k) * kLineK + c);
#pragma unroll
        for (int r = 0; r < kTM; ++r)
#pragma unroll
          for (int l = 0; l < 4; ++l) s[r][k] = __fmaf_rn(q[r].v[l], y.v[l], s[r][k]);
      }
    }
  }

  WEFT_FN void weigh(const f32* values) {
    extern __shared__ uint4 shared[];
    f32* const weights = (f32*)shared + kFloatsStages + slice() * kBM * kLineW;
#pragma unroll
    for (int r = 0; r < kTM; ++r)
#pragma unroll
      for (int c = 0; c < kKeysEach; ++c) weights[row_of(r) * kLineW + key_of(c)] = s[r][c];
    __syncwarp();
#pragma unroll 2
    for (int k = 0; k < kKeys; k += 4) {
      Pack<f32, 4> w[kTM];
#pragma unroll
      for (int r = 0; r < kTM; ++r) w[r] = load<4>(weights + row_of(r) * kLineW + k);
#pragma unroll
      for (int l = 0; l < 4; ++l)
#pragma unroll
        for (int c = 0; c < kColumnsEach; c += 4) {
          const Pack<f32, 4> y = load<4>(values + (k + l) * kLineV + column_of(c));
#pragma unroll
          for (int r = 0; r < kTM; ++r)
#pragma unroll
            for (int n = 0; n < 4; ++n) o[r][c + n] = __fmaf_rn(w[r].v[l], y.v[n], o[r][c + n]);
        }
    }
    __syncwarp();
  }
};

}  // namespace weft
