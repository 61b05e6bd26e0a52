// Products with quantised weights (sm_80 and later): f16 or bf16 rows of A, and rows of B that lie in memory as integers of 4 or 8
// bits or floats of 8, of which (element - zero) * scale is the factor, rounded to A's type. A group's scale holds for a whole
// chunk of 16 bytes at least. Rows of B have known depth, a multiple of a chunk, and begin at multiples of 16 bytes.
//
// multiply_tile_of_weights is for few rows of A, where reading the weights is what takes time: kSlices groups of warps share
// K, each warp has 16 rows of B, and each lane turns whole chunks of two of them into fragments of mma.sync. Within a product
// the order of K does not matter, as long as it is the same for both factors: a lane's chunk is what its registers hold of
// K in as many instructions as that takes. For more rows of A, WeightFill puts the factor into shared memory for multiply_tile.
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

// Two T's in a word. Products and differences are rounded once.
template <class T>
WEFT_FN u32 pair_of(f32 lo, f32 hi) {
  u32 r;
  if constexpr (same<T, f16>) asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  else asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
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

// The scale and zero point of a chunk, ready for use: both in pairs.
struct ChunkScale {
  u32 scale;
  u32 zero;   // 4 bits, and 8 bits with f16: T's number with this in its mantissa, twice
  f32 offset; // 8 bits with bf16: 2^23 and the zero point
};
template <class T, class W>
WEFT_FN ChunkScale chunk_scale(T scale, int zero) {
  const u32 z = (u32)(zero + kShiftOf<W>);
  const u32 one = same<T, f16> ? 0x6400u | z : 0x4300u | z;  // 1024 + z; 128 + z
  return {(u32)scale.bits * 0x10001u, one * 0x10001u, 8388608.0f + (f32)z};
}

// A word's elements as pairs of T. Of 4 bits: (0, 4), (1, 5), (2, 6), (3, 7); of 8 bits: (0, 1), (2, 3).
template <class T, class W>
WEFT_FN void factors_of(u32 (&out)[kWordOf<W> / 2], u32 w, const ChunkScale& c) {
  if constexpr (is_4bit<W>) {
    if constexpr (has_sign<W>) w ^= 0x88888888u;
    constexpr u32 magic = same<T, f16> ? 0x64006400u : 0x43004300u;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      u32 x;
      asm("lop3.b32 %0, %1, 0x000f000f, %2, 0xea;" : "=r"(x) : "r"(w >> (4 * j)), "r"(magic));  // (w & mask) | magic
      out[j] = multiply_pair<T>(subtract_pair<T>(x, c.zero), c.scale);
    }
  } else if constexpr (is_float8<W>) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const u32 lo = w >> (16 * j) & 255, hi = w >> (16 * j + 8) & 255;
      u32 x;
#if __CUDA_ARCH__ >= 890
      if constexpr (same<W, f8e4m3fn>) asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(x) : "h"((u16)(w >> (16 * j))));
      else asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(x) : "h"((u16)(w >> (16 * j))));
      if constexpr (same<T, bf16>) x = pair_of<T>(value(f16{(u16)x}), value(f16{(u16)(x >> 16)}));
      (void)lo, (void)hi;
#else
      x = pair_of<T>(value(W{(u8)lo}), value(W{(u8)hi}));
#endif
      out[j] = multiply_pair<T>(x, c.scale);
    }
  } else {
    if constexpr (has_sign<W>) w ^= 0x80808080u;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if constexpr (same<T, f16>) {
        const u32 x = __byte_perm(w, 0x64646464u, j ? 0x4342 : 0x4140);
        out[j] = multiply_pair<T>(subtract_pair<T>(x, c.zero), c.scale);
      } else {
        const f32 lo = as_f32(__byte_perm(w, 0x4b000000u, 0x7540 + 2 * j)), hi = as_f32(__byte_perm(w, 0x4b000000u, 0x7541 + 2 * j));
        out[j] = multiply_pair<T>(pair_of<T>(lo - c.offset, hi - c.offset), c.scale);
      }
    }
  }
}

// 16 bytes that are read once.
template <bool kAligned>
WEFT_FN uint4 load_once(const u8* p) {
  uint4 r;
  if constexpr (kAligned) {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p));
  } else {
    u8 bytes[16];
    for (int i = 0; i < 16; ++i) bytes[i] = p[i];
    ::memcpy(&r, bytes, 16);
  }
  return r;
}

// A part of a chunk.
template <bool kAligned, class V>
WEFT_FN void load_near(V* v, const u8* p) {
  if constexpr (kAligned) {
    *v = *(const V*)p;
  } else {
    u8 bytes[sizeof(V)];
    for (int i = 0; i < (int)sizeof(V); ++i) bytes[i] = p[i];
    ::memcpy(v, bytes, sizeof(V));
  }
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

// Rows of B, in blocks of kBlock along K. at(row): the byte where a row begins; scale(row), zero(row): of its blocks.
template <class T, class W, int kBlock, bool kAligned, class Index, class At, class Scale, class Zero>
struct WeightRows {
  typedef T Factor;
  typedef W Element;
  static constexpr int block = kBlock;
  static constexpr bool aligned = kAligned;  // to 16 bytes
  Index rows, depth;
  At at;
  Scale scale;
  Zero zero;
};
template <class T, class W, int kBlock, bool kAligned, class Index, class At, class Scale, class Zero>
WEFT_FN WeightRows<T, W, kBlock, kAligned, Index, At, Scale, Zero> weight_rows(Index rows, Index depth, At at, Scale scale, Zero zero) {
  return {rows, depth, at, scale, zero};
}
template <class W>
WEFT_FN i64 bytes_of(i64 elements) { return is_4bit<W> ? elements / 2 : elements; }

// One row, ready to be read at steps along K.
template <class Hook, class Index>
struct WeightRow {
  typedef typename Hook::Factor T;
  typedef typename Hook::Element W;
  const u8* first;
  decltype(((Hook*)nullptr)->scale((Index)0)) scales;
  decltype(((Hook*)nullptr)->zero((Index)0)) zeros;
  WEFT_FN WeightRow(const Hook& hook, Index row) : first(hook.at(row)), scales(hook.scale(row)), zeros(hook.zero(row)) {}
  WEFT_FN const u8* at(int k) const { return first + bytes_of<W>(k); }
  WEFT_FN ChunkScale chunk(int k) const {
    const int block = k / Hook::block;
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
      load_near<Hook::aligned>(&words[i], from.at(inside ? (int)k : 0));
      chunks[i] = from.chunk(inside ? (int)k : 0);
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
        v = {__byte_perm(f[0], f[1], 0x5410), __byte_perm(f[2], f[3], 0x5410), __byte_perm(f[0], f[1], 0x7632), __byte_perm(f[2], f[3], 0x7632)};
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
template <int kThreads, class Tile, class Index, class T, class W, int kBlock, bool kAligned, class At, class Scale, class Zero>
struct FillOf<kThreads, Tile, WeightRows<T, W, kBlock, kAligned, Index, At, Scale, Zero>, Index> {
  typedef WeightFill<kThreads, Tile, WeightRows<T, W, kBlock, kAligned, Index, At, Scale, Zero>, Index> type;
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
// Eight elements of A as pairs, in the order of factors_of.
template <class W>
WEFT_FN void pairs_as_factors(u32 (&q)[4], const uint4& x) {
  if constexpr (is_4bit<W>) {
    q[0] = __byte_perm(x.x, x.z, 0x5410);
    q[1] = __byte_perm(x.x, x.z, 0x7632);
    q[2] = __byte_perm(x.y, x.w, 0x5410);
    q[3] = __byte_perm(x.y, x.w, 0x7632);
  } else {
    q[0] = x.x;
    q[1] = x.y;
    q[2] = x.z;
    q[3] = x.w;
  }
}

// The sums of the tile at (m0, n0), in shared memory afterwards: element (m, n) of slice s at (s * kBM + m) * kLineC + n. All
// threads must come.
template <class S, class A, class B, class Index>
WEFT_FN void multiply_tile_of_weights(void* shared, const A& a, const B& b, Index m0, Index n0) {
  typedef typename S::Factor T;
  typedef typename S::Element W;
  constexpr int kUnroll = 4, kWords = S::kChunk / 8;  // words: of eight elements
  const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int slice = warp % S::kSlices, column = warp / S::kSlices * 16;
  const WeightRow<B, Index> top(b, min<Index>(n0 + column + g, b.rows - 1)), bottom(b, min<Index>(n0 + column + g + 8, b.rows - 1));
  const bool row_inside = m0 + g < a.rows;
  const ActivationRow<A, Index> row(a, row_inside ? (Index)(m0 + g) : (Index)0);
  const int depth = (int)b.depth, steps = (depth + S::kBK - 1) / S::kBK;
  f32 sum[4] = {};
#pragma unroll 1
  for (int from = slice; from < steps; from += S::kSlices * kUnroll) {
    uint4 w[kUnroll][2];
    ChunkScale c[kUnroll][2];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int k = ((from + u * S::kSlices) * 4 + t) * S::kChunk, at = k < depth ? k : 0;
      w[u][0] = load_once<B::aligned>(top.at(at));
      w[u][1] = load_once<B::aligned>(bottom.at(at));
      c[u][0] = top.chunk(at);
      c[u][1] = bottom.chunk(at);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int k = ((from + u * S::kSlices) * 4 + t) * S::kChunk;
      const bool inside = k < depth;
      // What lies behind the end counts as zero whatever it is: both factors do.
      const ChunkScale c0 = {inside ? c[u][0].scale : 0u, c[u][0].zero, c[u][0].offset}, c1 = {inside ? c[u][1].scale : 0u, c[u][1].zero, c[u][1].offset};
      const u32* const w0 = (const u32*)&w[u][0];
      const u32* const w1 = (const u32*)&w[u][1];
#pragma unroll
      for (int i = 0; i < kWords; ++i) {
        u32 f0[4], f1[4], q[4];
        if constexpr (is_4bit<W>) {
          factors_of<T, W>(f0, w0[i], c0);
          factors_of<T, W>(f1, w1[i], c1);
        } else {
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            u32 part[2];
            factors_of<T, W>(part, w0[2 * i + h], c0);
            f0[2 * h] = part[0];
            f0[2 * h + 1] = part[1];
            factors_of<T, W>(part, w1[2 * i + h], c1);
            f1[2 * h] = part[0];
            f1[2 * h + 1] = part[1];
          }
        }
        pairs_as_factors<W>(q, row.eight(k + i * 8, row_inside && inside));
        const u32 low[4] = {f0[0], f1[0], f0[1], f1[1]}, high[4] = {f0[2], f1[2], f0[3], f1[3]};
        multiply_16x8<T, T>(sum, low, q[0], q[1]);
        multiply_16x8<T, T>(sum, high, q[2], q[3]);
      }
    }
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
