// Products with quantised weights (sm_80 and later): f16 or bf16 rows of A, and rows of B that are integers of 4 or 8 bits or
// floats of 8, of which (element - zero) * scale is the factor. A scale holds for a chunk of 16 bytes at least.
//
// Weights lie as a warp reads them: of 16 rows each step of four chunks along K is 1024 bytes, namely the four chunks of row 0,
// those of row 1, …, so that a step is two accesses of a whole warp, and steps along K follow one another. Elements of 4 bits
// are not negative (i4: 8 more than they are), and lie so in a word of eight that masks give neighbours: element 2 j in bits
// 4 j to 4 j + 3, element 2 j + 1 in those 16 bits higher.
//
// multiply_tile_of_weights is for few rows of A, where reading the weights is what takes time: kSlices groups of warps share
// K, each warp has 16 rows of B, and each lane turns whole chunks of two of them into fragments of mma.sync. Within a product
// the order of K does not matter, as long as it is the same for both factors: a lane's chunk is what its registers hold of
// K in as many instructions as that takes. Where a scale holds for a warp's whole step, sums are scaled instead of elements,
// which then are not rounded to A's type in between. For more rows of A, WeightFill puts the factor into shared memory for
// multiply_tile.
#pragma once

#include "kernels/gemm/mma.cuh"

namespace weft {

// --- elements to factors ------------------------------------------------------------------------------------------------------

template <class W> constexpr bool is_4bit = same<W, i4> || same<W, u4>;
template <class W> constexpr bool has_sign = same<W, i4> || same<W, i8>;
template <class W> constexpr bool is_float8 = same<W, f8e4m3fn> || same<W, f8e5m2>;
// Elements of 16 bytes, and of a word.
template <class W> constexpr int kChunkOf = is_4bit<W> ? 32 : 16;
template <class W> constexpr int kWordOf = is_4bit<W> ? 8 : 4;

// Of two T's in a word; each rounded once.
template <class T>
WEFT_FN u32 subtract_pair(u32 a, u32 b) {
  u32 r;
  if constexpr (same<T, f16>) asm("sub.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  else asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(b), "r"(0xbf80bf80u), "r"(a));  // a - b
  return r;
}
template <class T>
WEFT_FN u32 multiply_pair(u32 a, u32 b) {
  u32 r;
  if constexpr (same<T, f16>) asm("mul.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  else asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(0x80008000u));  // a b - 0
  return r;
}

// What is added to every element so that it is not negative.
template <class W> constexpr int kShiftOf = same<W, i4> ? 8 : same<W, i8> ? 128 : 0;

// The scale and zero point of a chunk, ready for use.
struct ChunkScale {
  u32 scale;   // in a pair
  f32 zero;    // of the elements as they lie in memory, not negative
  f32 factor;  // the scale as a number
};
template <class T, class W>
WEFT_FN ChunkScale chunk_scale(T scale, int zero) {
  return {(u32)scale.bits * 0x10001u, (f32)(zero + kShiftOf<W>), value(scale)};
}

// A word's elements less the zero point, as pairs of T of neighbours: exact. Integers become T's by their bits, as the mantissa of
// a power of two that is subtracted again.
template <class T, class W>
WEFT_FN void elements_of(u32 (&out)[kWordOf<W> / 2], u32 w, const ChunkScale& c) {
  if constexpr (is_4bit<W>) {
    constexpr u32 magic = same<T, f16> ? 0x64006400u : 0x43004300u;
    constexpr f32 power = same<T, f16> ? 1024.0f : 128.0f;
    const u32 zero = pack_pair<T>(power + c.zero, power + c.zero);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      u32 x;
      asm("lop3.b32 %0, %1, 0x000f000f, %2, 0xea;" : "=r"(x) : "r"(w >> (4 * j)), "r"(magic));  // (w & mask) | magic
      out[j] = subtract_pair<T>(x, zero);
    }
  } else if constexpr (is_float8<W>) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#if __CUDA_ARCH__ >= 890
      if constexpr (same<W, f8e4m3fn>) asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(out[j]) : "h"((u16)(w >> (16 * j))));
      else asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(out[j]) : "h"((u16)(w >> (16 * j))));
      if constexpr (same<T, bf16>) out[j] = pack_pair<T>(value(f16{(u16)out[j]}), value(f16{(u16)(out[j] >> 16)}));
#else
      out[j] = pack_pair<T>(value(W{(u8)(w >> (16 * j))}), value(W{(u8)(w >> (16 * j + 8))}));
#endif
    }
  } else {
    if constexpr (has_sign<W>) w ^= 0x80808080u;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if constexpr (same<T, f16>) {
        out[j] = subtract_pair<T>(__byte_perm(w, 0x64646464u, j ? 0x4342 : 0x4140), pack_pair<T>(1024.0f + c.zero, 1024.0f + c.zero));
      } else {
        const f32 lo = as_f32(__byte_perm(w, 0x4b000000u, 0x7540 + 2 * j)), hi = as_f32(__byte_perm(w, 0x4b000000u, 0x7541 + 2 * j));
        const f32 zero = 8388608.0f + c.zero;
        out[j] = pack_pair<T>(lo - zero, hi - zero);
      }
    }
  }
}
// Scaled, too, each rounded to T once.
template <class T, class W>
WEFT_FN void factors_of(u32 (&out)[kWordOf<W> / 2], u32 w, const ChunkScale& c) {
  elements_of<T, W>(out, w, c);
#pragma unroll
  for (int j = 0; j < kWordOf<W> / 2; ++j) out[j] = multiply_pair<T>(out[j], c.scale);
}

// 16 bytes that are read once.
WEFT_FN uint4 load_once(const u8* p) {
  uint4 r;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p));
  return r;
}

// --- factors ----------------------------------------------------------------------------------------------------------------

// What belongs to a row's blocks along K: in memory, `step` from each other, or one number.
template <class P>
struct BlockValues {
  const P* first;
  i64 step;
  WEFT_FN P of(int block) const { return load_const(first + block * step); }
};
template <class P>
WEFT_FN BlockValues<P> block_values(const P* first, i64 step) { return {first, step}; }
template <class P>
struct OneValue {
  P v;
  WEFT_FN P of(int) const { return v; }
};
template <class P>
WEFT_FN OneValue<P> one_value(P v) { return {v}; }

// Rows of B, in blocks of kBlock along K. scale(row), zero(row): of its blocks.
template <class T, class W, int kBlock, class Index, class Scale, class Zero>
struct WeightRows {
  typedef T Factor;
  typedef W Element;
  static constexpr int block = kBlock;
  Index rows, depth;
  const u8* first;
  Scale scale;
  Zero zero;
};
template <class T, class W, int kBlock, class Index, class Scale, class Zero>
WEFT_FN WeightRows<T, W, kBlock, Index, Scale, Zero> weight_rows(Index rows, Index depth, const void* first, Scale scale, Zero zero) {
  return {rows, depth, (const u8*)first, scale, zero};
}

// One row, ready to be read at steps along K.
template <class Hook, class Index>
struct WeightRow {
  typedef typename Hook::Factor T;
  typedef typename Hook::Element W;
  static constexpr int kChunk = kChunkOf<W>, kStep = 4 * kChunk;
  const u8* first;
  decltype(((Hook*)nullptr)->scale((Index)0)) scales;
  decltype(((Hook*)nullptr)->zero((Index)0)) zeros;
  WEFT_FN WeightRow(const Hook& hook, Index row)
      : first(hook.first + (i64)(row / 16) * ((u32)(hook.depth + kStep - 1) / kStep * 1024) + (u32)row % 16 * 64),
        scales(hook.scale(row)), zeros(hook.zero(row)) {}
  WEFT_FN const u8* at(u32 k) const {
    const u32 in_chunk = k % kChunk;
    return first + (k / kStep * 1024 + k % kStep / kChunk * 16 + (is_4bit<W> ? in_chunk / 2 : in_chunk));
  }
  WEFT_FN ChunkScale chunk(u32 k) const {
    const int block = (int)(k / (u32)Hook::block);
    return chunk_scale<T, W>(scales.of(block), (int)value(zeros.of(block)));
  }
};

// This thread's share of a tile of factors, as TileFill has it: eight neighbours at a time. What `fill` loads `finish` puts into
// the tile, so that products come between.
template <int kThreads, class Tile, class Hook, class Index>
struct WeightFill {
  typedef typename Hook::Factor T;
  typedef typename Hook::Element W;
  typedef Pack<u32, is_4bit<W> ? 1 : 2> Eight;
  static constexpr int across = Tile::depth / 8, count = Tile::rows * across, each = (count + kThreads - 1) / kThreads;
  static_assert(count % kThreads == 0, "the threads do not share a tile evenly");
  T* tile = nullptr;
  Eight words[each];
  ChunkScale chunks[each];
  WEFT_FN WeightFill(const Hook&, Index) {}
  WEFT_FN static int place_of(int i) {
    const int q = i * kThreads + (int)threadIdx.x;
    return Tile::place(q / across, q % across * 8);
  }
  WEFT_FN void fill(T* to, const Hook& hook, Index row0, Index k0) {
    tile = to;
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const int q = i * kThreads + (int)threadIdx.x;
      const Index row = row0 + q / across, k = k0 + q % across * 8;
      const bool inside = row < hook.rows && k < hook.depth;
      const WeightRow<Hook, Index> from(hook, inside ? row : 0);
      words[i] = load<is_4bit<W> ? 1 : 2>((const u32*)from.at(inside ? (u32)k : 0));
      chunks[i] = from.chunk(inside ? (u32)k : 0);
      if (!inside) chunks[i].scale = 0;
    }
  }
  WEFT_FN void finish() {
    if (!tile) return;
#pragma unroll
    for (int i = 0; i < each; ++i) {
      uint4 v;
      if constexpr (is_4bit<W>) {
        u32 f[4];
        factors_of<T, W>(f, words[i].v[0], chunks[i]);
        v = {f[0], f[1], f[2], f[3]};
      } else {
        u32 lo[2], hi[2];
        factors_of<T, W>(lo, words[i].v[0], chunks[i]);
        factors_of<T, W>(hi, words[i].v[1], chunks[i]);
        v = {lo[0], lo[1], hi[0], hi[1]};
      }
      *(uint4*)(tile + place_of(i)) = v;
    }
    tile = nullptr;
  }
};
template <int kThreads, class Tile, class Index, class T, class W, int kBlock, class Scale, class Zero>
struct FillOf<kThreads, Tile, WeightRows<T, W, kBlock, Index, Scale, Zero>, Index> {
  typedef WeightFill<kThreads, Tile, WeightRows<T, W, kBlock, Index, Scale, Zero>, Index> type;
};

// --- a tile of few rows -------------------------------------------------------------------------------------------------------

// kM rows of A (8 at most), 16 of B for each of kWarpsN warps; kSliceCount such groups share K.
template <class T, class W, int kM, int kN, int kSliceCount>
struct WeightShape {
  static_assert(kM == 8 && kN % 16 == 0, "not a size of this tile");
  static constexpr int kBM = kM, kBN = kN, kSlices = kSliceCount, kRanks = 1, kThreads = 32 * (kN / 16) * kSlices;
  static constexpr int kChunk = kChunkOf<W>, kBK = 4 * kChunk;  // a warp's step
  static constexpr bool kWarpgroups = false, kOfWeights = true;
  typedef f32 Value;
  typedef T Factor;
  typedef W Element;
  static constexpr int kLineC = kBN + 4;
  static constexpr int kSharedBytes = kBM * kLineC * kSlices * 4;
};

// A row of A: eight neighbours along K; zeros where not valid.
template <class Hook, class Index>
struct ActivationRow {
  static constexpr bool near = Hook::wide && Hook::along_k && Hook::linear;
  const Hook& hook;
  typename Hook::Row row;
  decltype(((Hook*)nullptr)->at(((Hook*)nullptr)->row_of((Index)0), (Index)0, 0)) first = nullptr;
  WEFT_FN ActivationRow(const Hook& h, Index r) : hook(h), row(h.row_of(r)) {
    if constexpr (near) first = h.at(row, (Index)0, 0);
  }
  WEFT_FN uint4 eight(int k, bool valid) const {
    uint4 x = {0, 0, 0, 0};
    if constexpr (near) {
      if (valid) x = *(const uint4*)(first + k);
    } else {
      u16 bits[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) bits[j] = valid && hook.inside(row, (Index)k, j) ? hook.at(row, (Index)k, j)->bits : (u16)0;
      ::memcpy(&x, bits, 16);
    }
    return x;
  }
};

// The sums of the tile at (m0, n0), in shared memory afterwards: element (m, n) of slice s at (s * kBM + m) * kLineC + n. All
// threads must come.
template <class S, class A, class B, class Index>
WEFT_FN void multiply_tile_of_weights(void* shared, const A& a, const B& b, Index m0, Index n0) {
  typedef typename S::Factor T;
  typedef typename S::Element W;
  constexpr int kWords = S::kChunk / 8;  // of eight elements
  const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int slice = warp % S::kSlices, column = warp / S::kSlices * 16;
  const WeightRow<B, Index> top(b, min<Index>(n0 + column + g, b.rows - 1)), bottom(b, min<Index>(n0 + column + g + 8, b.rows - 1));
  const bool row_inside = m0 + g < a.rows;
  const ActivationRow<A, Index> row(a, row_inside ? (Index)(m0 + g) : (Index)0);
  const int depth = (int)b.depth, steps = (depth + S::kBK - 1) / S::kBK;
  auto place = [&](int step) { return (step * 4 + t) * S::kChunk; };
  f32 sum[4] = {};
  // Loads of the next step are under way while one is multiplied.
  struct Step {
    uint4 words[2];
    ChunkScale chunks[2];
  };
  auto load = [&](int step) {
    const int k = place(step), at = k < depth ? k : 0;
    Step s{{load_once(top.at((u32)at)), load_once(bottom.at((u32)at))}, {top.chunk((u32)at), bottom.chunk((u32)at)}};
    // What lies behind the end counts as zero whatever it is: both factors do.
    if (k >= depth) s.chunks[0].scale = s.chunks[1].scale = 0;
    return s;
  };
  auto multiply = [&](const Step& s, int step) {
    constexpr bool kWhole = B::block % S::kBK == 0;
    const int k = place(step);
    const u32* const w0 = (const u32*)&s.words[0];
    const u32* const w1 = (const u32*)&s.words[1];
    f32 part[4] = {};
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      u32 f0[4], f1[4];
      auto turn = [&](u32 (&f)[4], const u32* w, const ChunkScale& c) {
        constexpr int each = kWordOf<W> / 2;
#pragma unroll
        for (int h = 0; h < 4 / each; ++h) {
          u32 pairs[each];
          if constexpr (kWhole) elements_of<T, W>(pairs, w[i * (4 / each) + h], c);
          else factors_of<T, W>(pairs, w[i * (4 / each) + h], c);
#pragma unroll
          for (int j = 0; j < each; ++j) f[h * each + j] = pairs[j];
        }
      };
      turn(f0, w0, s.chunks[0]);
      turn(f1, w1, s.chunks[1]);
      const uint4 q = row.eight(k + i * 8, row_inside && k < depth);
      const u32 low[4] = {f0[0], f1[0], f0[1], f1[1]}, high[4] = {f0[2], f1[2], f0[3], f1[3]};
      multiply_16x8<T, T>(kWhole ? part : sum, low, q.x, q.y);
      multiply_16x8<T, T>(kWhole ? part : sum, high, q.z, q.w);
    }
    if constexpr (kWhole) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[i] = fma(part[i], s.chunks[i / 2].factor, sum[i]);
    }
  };
  Step now = load(slice);
#pragma unroll 1
  for (int step = slice; step < steps; step += S::kSlices) {
    const Step next = load(step + S::kSlices);
    multiply(now, step);
    now = next;
  }
  __syncthreads();  // what was in shared memory before has been read
  f32* const out = (f32*)shared + slice * S::kBM * S::kLineC + column;
  out[2 * t * S::kLineC + g] = sum[0];
  out[(2 * t + 1) * S::kLineC + g] = sum[1];
  out[2 * t * S::kLineC + g + 8] = sum[2];
  out[(2 * t + 1) * S::kLineC + g + 8] = sum[3];
  __syncthreads();
}

}  // namespace weft
