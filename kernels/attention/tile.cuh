// Attention of a tile of rows (queries) against a range of keys: scores, their softmax as far as it is known, and the weighed
// values, block of keys after block. What multiplies is an engine (mma.cuh, simt.cuh): a struct of its sums, in registers.
//
// Keys and values of kStages blocks are under way in shared memory. A block of keys is shared by kSlices groups of warps, each
// of which has sums of its own, and a range of keys by kRanks blocks of a cluster: for few rows, whose tiles alone do not fill
// the device. Slices and ranks are joined at the end.
#pragma once

#include "kernels/core/cluster.cuh"
#include "kernels/core/memory.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/scalar.cuh"

namespace weft {

// --- lines of queries, keys or values -----------------------------------------------------------------------------------

// `count` lines of `width` elements, of which `at` says where they lie and `value` what they are. wide: accesses of 16 bytes
// are aligned, inside as a whole, and go to shared memory by themselves.
template <bool kWide, class Index, class At, class ValueAt>
struct Lines {
  static constexpr bool wide = kWide;
  Index count;
  int width;
  At at;
  ValueAt value;
};
template <bool kWide, class Index, class At, class ValueAt>
WEFT_FN Lines<kWide, Index, At, ValueAt> lines(Index count, int width, At at, ValueAt value) { return {count, width, at, value}; }

// kLines lines of kAcross elements from line0 on; elements outside become zero.
template <int kThreads, int kLines, int kAcross, int kPitch, class T, class Source, class Index>
WEFT_FN void fill_lines(T* tile, const Source& s, Index line0) {
  constexpr int V = Source::wide ? 16 / (int)sizeof(T) : 1, across = kAcross / V, count = kLines * across;
#pragma unroll (Source::wide ? 16 : 4)
  for (int i = 0; i < (count + kThreads - 1) / kThreads; ++i) {
    const int q = i * kThreads + (int)threadIdx.x;
    if (count % kThreads != 0 && q >= count) break;
    const int line = q / across, c = q % across * V;
    const bool inside = line0 + line < s.count && c < s.width;
    T* to = tile + line * kPitch + c;
    if constexpr (Source::wide) copy_async(to, inside ? s.at(line0 + line, c) : s.at(0, 0), inside);
    else *to = inside ? narrow<T>(s.value(line0 + line, c)) : T{0};
  }
}

// --- scores -------------------------------------------------------------------------------------------------------------

// Keys that some row of the tile may see, [begin, end), and those that every one sees, [all_begin, all_end); a key's score
// over `scale` (> 0) out of its dot product: anywhere, and where every row sees it.
template <class Index, class Score, class Seen>
struct Scores {
  Index rows, begin, end, all_begin, all_end;
  f32 scale;
  Score score;
  Seen seen;
};
template <class Index, class Score, class Seen>
WEFT_FN Scores<Index, Score, Seen> scores(Index rows, Index begin, Index end, Index all_begin, Index all_end, f32 scale, Score score, Seen seen) {
  return {rows, begin, end, all_begin, all_end, scale, score, seen};
}

WEFT_FN f32 exp2_fast(f32 x) {
  f32 r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
constexpr f32 kLog2E = 1.4426950408889634f;

// Of every score of the thread: f(row, key, score).
template <class E, class Index, class F>
WEFT_FN void each_score(E& e, Index rows, Index row0, Index key0, F f) {
#pragma unroll
  for (int r = 0; r < E::kRowsEach; ++r) {
    const Index row = row0 + e.row_of(r) < rows ? row0 + e.row_of(r) : rows - 1;  // what is behind the last one is not stored
#pragma unroll
    for (int c = 0; c < E::kKeysEach; ++c) e.score(r, c) = f(row, (Index)(key0 + e.key_of(c)), e.score(r, c));
  }
}

// One block of keys of the engine's slice: dot products become weights, 2 to the power of scaled scores less their maximum.
template <class E, class S, class Index>
WEFT_FN void soften(E& e, const S& s, Index row0, Index key0) {
  const f32 none = -as_f32(0x7f800000u);
  if (key0 >= s.all_begin && key0 + E::kKeys <= s.all_end) each_score(e, s.rows, row0, key0, s.seen);
  else each_score(e, s.rows, row0, key0, [&](Index row, Index key, f32 x) { return key < s.begin || key >= s.end ? none : s.score(row, key, x); });
  const f32 unit = s.scale * kLog2E;
#pragma unroll
  for (int r = 0; r < E::kRowsEach; ++r) {
    f32 top = none;
#pragma unroll
    for (int c = 0; c < E::kKeysEach; ++c) top = fmaxf(top, e.score(r, c));
    top = fmaxf(reduce_lanes<E::kLanes>(top, [](f32 a, f32 b) { return fmaxf(a, b); }) * unit, e.top[r]);
    // Of a row without a score yet every weight is 0.
    const f32 shift = top == none ? 0.0f : top;
    const f32 scale = exp2_fast(e.top[r] - shift);
    f32 sum = 0.0f;
#pragma unroll
    for (int c = 0; c < E::kKeysEach; ++c) {
      f32& x = e.score(r, c);
      x = E::power_of_two(__fmaf_rn(x, unit, -shift));
      sum += x;
    }
    e.top[r] = top;
    e.sum[r] = __fmaf_rn(e.sum[r], scale, sum);
#pragma unroll
    for (int c = 0; c < E::kColumnsEach; ++c) e.result(r, c) *= scale;
  }
}

// --- the tile -------------------------------------------------------------------------------------------------------------

// Results in shared memory, of each slice at first: [row][kPitch], then maximum and sum of each row.
template <class E>
struct TileResult {
  static constexpr int kPitch = E::kColumns + 8, kSlice = E::kBM * kPitch;
  WEFT_FN static f32* values(void* shared) { return (f32*)shared; }
  WEFT_FN static f32* tops(void* shared) { return (f32*)shared + E::kSlices * kSlice; }
  WEFT_FN static f32* sums(void* shared) { return tops(shared) + E::kSlices * E::kBM; }
  static constexpr int kBytes = 4 * E::kSlices * (kSlice + 2 * E::kBM);
};

WEFT_FN f32 relative(f32 top, f32 most) { return top == most ? 1.0f : exp2_fast(top - most); }

// The slices' results as slice 0's.
template <class E>
WEFT_FN void join_slices(void* shared) {
  typedef TileResult<E> R;
  f32 *const values = R::values(shared), *const tops = R::tops(shared), *const sums = R::sums(shared);
  for (int q = threadIdx.x; q < E::kBM * E::kColumns; q += E::kThreads) {
    const int row = q / E::kColumns, place = row * R::kPitch + q % E::kColumns;
    f32 most = tops[row], sum = 0.0f;
#pragma unroll
    for (int s = 1; s < E::kSlices; ++s) most = fmaxf(most, tops[s * E::kBM + row]);
#pragma unroll
    for (int s = 0; s < E::kSlices; ++s) sum += values[s * R::kSlice + place] * relative(tops[s * E::kBM + row], most);
    values[place] = sum;
  }
  __syncthreads();
  for (int row = threadIdx.x; row < E::kBM; row += E::kThreads) {
    f32 most = tops[row], sum = 0.0f;
#pragma unroll
    for (int s = 1; s < E::kSlices; ++s) most = fmaxf(most, tops[s * E::kBM + row]);
#pragma unroll
    for (int s = 0; s < E::kSlices; ++s) sum += sums[s * E::kBM + row] * relative(tops[s * E::kBM + row], most);
    tops[row] = most;
    sums[row] = sum;
  }
  __syncthreads();
}

// The tile's results, in shared memory afterwards. All threads of the block, and of its cluster if kRanks > 1, must come.
template <class E, class Q, class K, class V, class S, class Index>
WEFT_FN void attend_tile(void* shared, const Q& q, const K& k, const V& v, const S& s, Index row0) {
  typedef typename E::Element T;
  T* const queries = (T*)shared;
  T* const stages = queries + E::kBM * E::kLineK;
  constexpr int kBlock = E::kKeys * E::kSlices, kStage = kBlock * (E::kLineK + E::kLineV);
  Index begin = s.begin, end = s.end > s.begin ? s.end : s.begin;
  if constexpr (E::kRanks > 1) {
    const Index each = ((end - begin + E::kRanks - 1) / E::kRanks + kBlock - 1) / kBlock * kBlock;
    begin = min<Index>(end, begin + each * (Index)cluster_rank());
    end = min<Index>(end, begin + each);
  }
  const Index steps = (end - begin + kBlock - 1) / kBlock;
  constexpr bool async = Q::wide || K::wide || V::wide;
  auto fill = [&](Index step, int slot) {
    if (step < steps) {
      T* at = stages + slot * kStage;
      fill_lines<E::kThreads, kBlock, E::kHead, E::kLineK>(at, k, (Index)(begin + step * kBlock));
      fill_lines<E::kThreads, kBlock, E::kColumns, E::kLineV>(at + kBlock * E::kLineK, v, (Index)(begin + step * kBlock));
    }
    if constexpr (async) copy_async_commit();
  };
  E e;
  e.clear();
  __syncthreads();  // what was in shared memory before has been read
  fill_lines<E::kThreads, E::kBM, E::kHead, E::kLineK>(queries, q, row0);
#pragma unroll
  for (int i = 0; i < E::kStages - 1; ++i) fill(i, i);
  int slot = 0;
#pragma unroll 1
  for (Index step = 0; step < steps; ++step) {
    if constexpr (async) copy_async_wait<E::kStages - 2>();
    __syncthreads();
    fill(step + E::kStages - 1, slot == 0 ? E::kStages - 1 : slot - 1);
    const T* at = stages + slot * kStage;
    const int mine = e.slice() * E::kKeys;
    e.multiply(queries, at + mine * E::kLineK);
    soften(e, s, row0, (Index)(begin + step * kBlock + mine));
    e.weigh(at + kBlock * E::kLineK + mine * E::kLineV);
    slot = slot + 1 == E::kStages ? 0 : slot + 1;
  }
  if constexpr (async) copy_async_wait<0>();
  __syncthreads();
  typedef TileResult<E> R;
#pragma unroll
  for (int r = 0; r < E::kRowsEach; ++r) {
    const int row = e.row_of(r), line = e.slice() * E::kBM + row;
    R::sums(shared)[line] = reduce_lanes<E::kLanes>(e.sum[r], [](f32 a, f32 b) { return a + b; });
    R::tops(shared)[line] = e.top[r];
#pragma unroll
    for (int c = 0; c < E::kColumnsEach; ++c) R::values(shared)[line * R::kPitch + e.column_of(c)] = e.result(r, c);
  }
  __syncthreads();
  if constexpr (E::kSlices > 1) join_slices<E>(shared);
  if constexpr (E::kRanks > 1) cluster_sync();
}

// V neighbouring results; a row that sees no key has zeros.
template <class E, int V>
WEFT_FN void results_of(f32 (&out)[V], const void* shared, int row, int column) {
  typedef TileResult<E> R;
  void* const own = const_cast<void*>(shared);
  const f32* values = R::values(own) + row * R::kPitch + column;
  if constexpr (E::kRanks == 1) {
    const f32 sum = R::sums(own)[row], scale = sum == 0.0f ? 0.0f : 1.0f / sum;
#pragma unroll
    for (int l = 0; l < V; ++l) out[l] = values[l] * scale;
  } else {
    f32 tops[E::kRanks], most = -as_f32(0x7f800000u), sum = 0.0f;
#pragma unroll
    for (int k = 0; k < E::kRanks; ++k) tops[k] = load_cluster<1>(R::tops(own) + row, k).v[0];
#pragma unroll
    for (int k = 0; k < E::kRanks; ++k) most = fmaxf(most, tops[k]);
#pragma unroll
    for (int l = 0; l < V; ++l) out[l] = 0.0f;
#pragma unroll
    for (int k = 0; k < E::kRanks; ++k) {
      const f32 scale = relative(tops[k], most);
      sum += load_cluster<1>(R::sums(own) + row, k).v[0] * scale;
      const Pack<f32, V> part = load_cluster<V>(values, k);
#pragma unroll
      for (int l = 0; l < V; ++l) out[l] += part.v[l] * scale;
    }
    const f32 scale = sum == 0.0f ? 0.0f : 1.0f / sum;
#pragma unroll
    for (int l = 0; l < V; ++l) out[l] *= scale;
  }
}

}  // namespace weft
