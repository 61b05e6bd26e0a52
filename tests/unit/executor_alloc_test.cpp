// No heap allocation in steady state: this file replaces operator new and counts.
#include "tests/unit/executor_support.h"

#include <atomic>
#include <cstdlib>
#include <new>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // new and delete are both replaced, by malloc and free
#endif

namespace {
std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void* allocate(size_t n, size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
  return alignment <= alignof(std::max_align_t) ? std::malloc(n ? n : 1) : std::aligned_alloc(alignment, (n + alignment - 1) / alignment * alignment);
}
}  // namespace

void* operator new(size_t n) {
  if (void* p = allocate(n, 1)) return p;
  throw std::bad_alloc();
}
void* operator new[](size_t n) { return operator new(n); }
void* operator new(size_t n, const std::nothrow_t&) noexcept { return allocate(n, 1); }
void* operator new[](size_t n, const std::nothrow_t&) noexcept { return allocate(n, 1); }
void* operator new(size_t n, std::align_val_t a) {
  if (void* p = allocate(n, static_cast<size_t>(a))) return p;
  throw std::bad_alloc();
}
void* operator new[](size_t n, std::align_val_t a) { return operator new(n, a); }
void* operator new(size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return allocate(n, static_cast<size_t>(a)); }
void* operator new[](size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return allocate(n, static_cast<size_t>(a)); }
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

namespace weft::executor_test {
namespace {

// Allocations of `runs` further runs over these inputs, in turn, after two rounds of warming up.
int steady_allocations(Context& c, std::vector<std::vector<TensorView>> inputs, size_t outputs, int runs = 20) {
  std::vector<TensorView> out(outputs);
  bool fine = true;
  for (int k = 0; k < 2; ++k)
    for (auto& in : inputs) fine = fine && c.run(in, out).ok();
  allocations = 0;
  counting = true;
  for (int k = 0; k < runs; ++k) fine = fine && c.run(inputs[static_cast<size_t>(k) % inputs.size()], out).ok();
  counting = false;
  EXPECT_TRUE(fine);
  return allocations;
}

TEST(ExecutorAllocations, TheCounterCounts) {
  allocations = 0;
  counting = true;
  ::operator delete(::operator new(10));
  counting = false;
  EXPECT_EQ(allocations, 1);
}

TEST(ExecutorAllocations, LaunchesOfChangingShapes) {
  Context c(load(R"(wplan 1 symbol n 1 .. 4096 kernel @scale kernel @shift
buffer #x input 0 bytes 32*n buffer #a arena bytes 32*n live 0 .. 4 buffer #y output 0 bytes 32*n buffer #z output 1 bytes 32*n
tensor %x f32[n,8] #x tensor %a f32[n,8] #a tensor %y f32[n,8] #y tensor %at f32[8,n] #a strides [1,8] tensor %z f32[8,n] #z
input x %x output y %y output z %z
main { launch @scale(%x, out %a, 8) tasks n launch @shift(inout %a, 8, scalar(3.0)) tasks n scratch 32 copy %at -> %z fill %y 2.0 copy %a -> %y })",
                 {}, 2));
  Floats a({4000, 8}), b({3, 8}), t({8, 100});
  TensorView turned = t.view();
  turned.dims = {100, 8};
  turned.strides = {1, 100};
  EXPECT_EQ(steady_allocations(c, {{a.view()}, {b.view()}, {turned}}, 2), 0);
}

TEST(ExecutorAllocations, GivenOutputs) {
  Context c(load(R"(wplan 1 symbol n 1 .. 64 buffer #x input 0 bytes 4*n buffer #y output 0 bytes 4*n tensor %x f32[n] #x tensor %y f32[n] #y
input x %x output y %y output same %x main { copy %x -> %y })"));
  Floats x({9}), y({9}), s({18});
  TensorView strided = s.view();
  strided.dims = {9};
  strided.strides = {2};
  std::vector<TensorView> in = {x.view()}, out = {y.view(), strided};
  ASSERT_TRUE(c.run(in, out).ok());
  allocations = 0;
  counting = true;
  for (int k = 0; k < 10; ++k) (void)c.run(in, out);
  counting = false;
  EXPECT_EQ(allocations, 0);
}

TEST(ExecutorAllocations, ControlFlowAndDynamicMemory) {
  Context c(load(R"(wplan 1 symbol i 0 .. 9 symbol n 0 .. 100 kernel @scale kernel @less
buffer #x input 0 bytes 16 buffer #k input 1 bytes 8 buffer #a arena bytes 16 live 0 .. 99 buffer #b arena bytes 16 live 0 .. 99 buffer #c arena bytes 1 live 0 .. 99 buffer #d dynamic bytes 4*n*i+4 buffer #y output 0 bytes 4*n
tensor %x f32[4] #x tensor %k i64[1] #k tensor %a f32[4] #a tensor %b f32[4] #b tensor %c bool[] #c tensor %d f32[n*i+1] #d tensor %y f32[n] #y
input x %x input k %k output y %y
main { read n = %k[0] copy %x -> %a
  loop 8 count i { alloc %d fill %d 1.0 launch @scale(%a, out %b, 4) tasks 1 swap %a, %b launch @less(%a, out %c, 4, 100) tasks 1 if %c { fill %b 0.0 } free %d }
  select [n] { case [0 .. 50] { alloc %y } case [] { alloc %y } } fill %y 4.0 })"));
  Floats x({4});
  Ints small({1}, {7}), large({1}, {90});
  EXPECT_EQ(steady_allocations(c, {{x.view(), small.view()}, {x.view(), large.view()}}, 1), 0);
}

TEST(ExecutorAllocations, DecodeSteps) {
  Context c(load(R"(wplan 1 symbol past 0 .. 300 symbol room 1 .. 300 symbol rows 1 .. 8 kernel @scale
buffer #x input 0 bytes 8*rows buffer #s state 0 bytes 8*room buffer #a arena bytes 8*past+8*rows live 1 .. 2 buffer #y output 0 bytes 8*rows
tensor %x f32[rows,2] #x tensor %s0 f32[past,2] #s tensor %new f32[rows,2] #s offset 8*past tensor %s1 f32[past+rows,2] #s tensor %a f32[past+rows,2] #a tensor %tail f32[rows,2] #a offset 8*past tensor %y f32[rows,2] #y
input x %x output y %y state s %s0 -> %s1 append 0 length past capacity room
main { copy %x -> %new launch @scale(%s1, out %a, 2) tasks past+rows copy %tail -> %y })"));
  Floats x({1, 2});
  EXPECT_EQ(steady_allocations(c, {{x.view()}}, 1, 50), 0);  // every step one longer, within the first capacity
}

}  // namespace
}  // namespace weft::executor_test
