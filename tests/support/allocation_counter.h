// Counts heap allocations: replaces operator new, so one file of a test program includes it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // new and delete are both replaced, by malloc and free
#endif

namespace weft {
namespace counted {
inline std::atomic<bool> on{false};
inline std::atomic<int> allocations{0};

inline void* allocate(size_t n, size_t alignment) {
  if (on.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
  return alignment <= alignof(std::max_align_t) ? std::malloc(n ? n : 1) : std::aligned_alloc(alignment, (n + alignment - 1) / alignment * alignment);
}
}  // namespace counted

// Allocations by any thread while f runs.
template <class F>
int count_allocations(F&& f) {
  counted::allocations = 0;
  counted::on = true;
  f();
  counted::on = false;
  return counted::allocations;
}
}  // namespace weft

void* operator new(size_t n) {
  if (void* p = weft::counted::allocate(n, 1)) return p;
  throw std::bad_alloc();
}
void* operator new[](size_t n) { return operator new(n); }
void* operator new(size_t n, const std::nothrow_t&) noexcept { return weft::counted::allocate(n, 1); }
void* operator new[](size_t n, const std::nothrow_t&) noexcept { return weft::counted::allocate(n, 1); }
void* operator new(size_t n, std::align_val_t a) {
  if (void* p = weft::counted::allocate(n, static_cast<size_t>(a))) return p;
  throw std::bad_alloc();
}
void* operator new[](size_t n, std::align_val_t a) { return operator new(n, a); }
void* operator new(size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return weft::counted::allocate(n, static_cast<size_t>(a)); }
void* operator new[](size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return weft::counted::allocate(n, static_cast<size_t>(a)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
