// Collectives over peers' memory, for what is too small to be worth a ring: every rank writes what it has into the memory of
// all others, in lines of 16 bytes that carry their own flags, and reads its own memory until the others' lines are there.
// One launch, no barrier before or after it.
//
// A rank's memory: [slot 3][rank][block][line]. A block counts its collectives (`epochs`); the count is the flag, and
// modulo 3 the slot. Nobody writes a slot that is still read: who is three further has seen the others come two further.
// Both 32-bit words of a half line arrive together, as 8 bytes that are stored at once do.
#pragma once

#include "kernels/core/convert.cuh"
#include "kernels/core/launch.cuh"

namespace weft {

constexpr i64 kPushSlots = 3, kPushBlocks = 32, kPushLines = 1024;  // lines of a block
constexpr i64 kPushBytes = 8;                                       // that a line carries

struct alignas(16) PushLine {
  u32 a, flag_a, b, flag_b;
};
struct Push8 {
  u32 a, b;
};

WEFT_FN void store_line(PushLine* to, Push8 v, u32 flag) {
  asm volatile("st.volatile.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(v.a), "r"(flag), "r"(v.b), "r"(flag) : "memory");
}
// False: `stop` was set while it waited.
WEFT_FN bool wait_for_line(const PushLine* from, u32 flag, const u32* stop, Push8& v) {
  for (u32 turns = 1;; ++turns) {
    u32 fa, fb;
    asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.a), "=r"(fa), "=r"(v.b), "=r"(fb) : "l"(from) : "memory");
    if (fa == flag && fb == flag) return true;
    if ((turns & 1023) == 0 && *(const volatile u32*)stop) return false;
  }
}

// Bytes [at, at + 8) of n; what lies behind them is 0. `from` is aligned to 8 bytes.
WEFT_FN Push8 load_push(const u8* from, i64 at, i64 n) {
  Push8 v = {0, 0};
  if (at + kPushBytes <= n) return *(const Push8*)(from + at);
  for (i64 k = 0; at + k < n; ++k) (k < 4 ? v.a : v.b) |= (u32)from[at + k] << (8 * (k & 3));
  return v;
}
WEFT_FN void store_push(u8* to, i64 at, i64 n, Push8 v) {
  if (at + kPushBytes <= n) {
    *(Push8*)(to + at) = v;
    return;
  }
  for (i64 k = 0; at + k < n; ++k) to[at + k] = (u8)((k < 4 ? v.a : v.b) >> (8 * (k & 3)));
}

// sum += the elements of v.
template <class T>
struct PushSum {
  static constexpr int kElements = kPushBytes / sizeof(T);
  f32 sum[kElements] = {};
  WEFT_FN void add(Push8 v) {
    const T* x = (const T*)&v;
    for (int k = 0; k < kElements; ++k) sum[k] = sum[k] + value(x[k]);
  }
  WEFT_FN Push8 rounded() const {
    Push8 v;
    T* x = (T*)&v;
    for (int k = 0; k < kElements; ++k) x[k] = narrow<T>(sum[k]);
    return v;
  }
};

// f(line number, the ranks' lines in their order): called once all are there.
// dims: bytes of a rank's tensor, ranks, this rank, lines of a block.
template <class F>
WEFT_FN void push_lines(const u8* in, const u64* peers, u32* epochs, const u32* stop, const i64* dims, F&& f) {
  wait_for_earlier_kernels();
  const i64 bytes = dims[0], ranks = dims[1], me = dims[2], lines = dims[3], first = blockIdx.x * lines;
  const i64 all = (bytes + kPushBytes - 1) / kPushBytes, end = first + lines < all ? first + lines : all;
  const u32 flag = epochs[blockIdx.x] + 1;
  const i64 place = (flag % kPushSlots * ranks) * kPushBlocks * kPushLines + blockIdx.x * kPushLines;
  const i64 of_rank = kPushBlocks * kPushLines;
  for (i64 i = first + threadIdx.x; i < end; i += blockDim.x) {
    const Push8 mine = load_push(in, i * kPushBytes, bytes);
    for (i64 k = 1; k < ranks; ++k) {
      const i64 peer = (me + k) % ranks;
      store_line((PushLine*)peers[peer] + place + me * of_rank + (i - first), mine, flag);
    }
  }
  const PushLine* arrived = (const PushLine*)peers[me] + place;
  for (i64 i = first + threadIdx.x; i < end; i += blockDim.x) {
    const Push8 mine = load_push(in, i * kPushBytes, bytes);
    bool there = true;
    for (i64 r = 0; r < ranks && there; ++r) {
      Push8 v = mine;
      if (r != me) there = wait_for_line(arrived + r * of_rank + (i - first), flag, stop, v);
      if (there) f(i, r, v, r + 1 == ranks);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) epochs[blockIdx.x] = flag;
}

// The sum over the ranks, in their order, rounded once. in may be out.
template <class T>
WEFT_FN void push_all_reduce(const u8* in, u8* out, const u64* peers, u32* epochs, const u32* stop, const i64* dims) {
  PushSum<T> sum;
  push_lines(in, peers, epochs, stop, dims, [&](i64 line, i64 rank, Push8 v, bool last) {
    if (rank == 0) sum = PushSum<T>();
    sum.add(v);
    if (last) store_push(out, line * kPushBytes, dims[0], sum.rounded());
  });
}

// The ranks' tensors one behind the other, dims[4] bytes from one to the next.
WEFT_FN void push_all_gather(const u8* in, u8* out, const u64* peers, u32* epochs, const u32* stop, const i64* dims) {
  push_lines(in, peers, epochs, stop, dims,
             [&](i64 line, i64 rank, Push8 v, bool) { store_push(out + rank * dims[4], line * kPushBytes, dims[0], v); });
}

}  // namespace weft
