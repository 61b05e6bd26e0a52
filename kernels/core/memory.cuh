// Loads and stores of several neighbouring elements at once, and copies from global to shared memory that run by
// themselves.
#pragma once

#include "kernels/core/convert.cuh"

namespace weft {

// V elements that one access of up to 16 bytes moves.
template <class T, int V>
struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Pack {
  T v[V];
};

template <int V, class T>
WEFT_FN Pack<T, V> all(T x) {
  Pack<T, V> r;
#pragma unroll
  for (int l = 0; l < V; ++l) r.v[l] = x;
  return r;
}

// Whether accesses of `bytes` (a power of two) at p are aligned.
WEFT_FN bool aligned(const void* p, int bytes) { return ((u64)p & (u64)(bytes - 1)) == 0; }

template <int V, class T>
WEFT_FN Pack<T, V> load(const T* p) { return *(const Pack<T, V>*)p; }
template <int V, class T>
WEFT_FN void store(T* p, const Pack<T, V>& x) { *(Pack<T, V>*)p = x; }

// Memory that nothing writes while the kernel runs, through the read-only path: such loads may pass stores. Volatile, or
// the compiler would also move them before the condition under which they lie inside the tensor, and before the wait for
// the kernel that writes it.
template <int V, class T>
WEFT_FN Pack<T, V> load_const(const T* p) {
  constexpr int bytes = (int)sizeof(Pack<T, V>);
  Pack<T, V> r;
  if constexpr (bytes % 16 == 0) {
    uint4 w[bytes / 16];
#pragma unroll
    for (int k = 0; k < bytes / 16; ++k)
      asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(w[k].x), "=r"(w[k].y), "=r"(w[k].z), "=r"(w[k].w) : "l"((const uint4*)p + k));
    ::memcpy(&r, w, bytes);
  } else if constexpr (bytes == 8) {
    u64 w;
    asm volatile("ld.global.nc.u64 %0, [%1];" : "=l"(w) : "l"(p));
    ::memcpy(&r, &w, bytes);
  } else if constexpr (bytes == 4) {
    u32 w;
    asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(w) : "l"(p));
    ::memcpy(&r, &w, bytes);
  } else if constexpr (bytes == 2) {
    u16 w;
    asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(w) : "l"(p));
    ::memcpy(&r, &w, bytes);
  } else {
    static_assert(bytes == 1, "no access of this size");
    u16 w;
    asm volatile("ld.global.nc.u8 %0, [%1];" : "=h"(w) : "l"(p));
    const u8 b = (u8)w;
    ::memcpy(&r, &b, bytes);
  }
  return r;
}
template <class T>
WEFT_FN T load_const(const T* p) { return load_const<1>(p).v[0]; }

// --- global to shared memory, behind the thread's back (sm_80) --------------------------------------------------------

WEFT_FN u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// 16 bytes; zeros where `valid` is false, and nothing is read then.
WEFT_FN void copy_async(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0));
}
// One element of 4 or 8 bytes.
template <class T>
WEFT_FN void copy_async_element(T* shared, const T* global, bool valid = true) {
  constexpr int bytes = (int)sizeof(T);
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global), "n"(bytes), "r"(valid ? bytes : 0));
}
WEFT_FN void copy_async_commit() { asm volatile("cp.async.commit_group;"); }
// Waits until at most N committed groups are under way.
template <int N>
WEFT_FN void copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

}  // namespace weft
