// No heap allocation in steady state.
#include "tests/unit/executor_support.h"
#include "tests/support/allocation_counter.h"

namespace weft::executor_test {
namespace {

// Allocations of `runs` further runs over these inputs, in turn, after two rounds of warming up.
int steady_allocations(Context& c, std::vector<std::vector<TensorView>> inputs, size_t outputs, int runs = 20) {
  std::vector<TensorView> out(outputs);
  bool fine = true;
  for (int k = 0; k < 2; ++k)
    for (auto& in : inputs) fine = fine && c.run(in, out).ok();
  int n = count_allocations([&] {
    for (int k = 0; k < runs; ++k) fine = fine && c.run(inputs[static_cast<size_t>(k) % inputs.size()], out).ok();
  });
  EXPECT_TRUE(fine);
  return n;
}

TEST(ExecutorAllocations, TheCounterCounts) {
  EXPECT_EQ(count_allocations([] { ::operator delete(::operator new(10)); }), 1);
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
  int n = count_allocations([&] {
    for (int k = 0; k < 10; ++k) (void)c.run(in, out);
  });
  EXPECT_EQ(n, 0);
}

TEST(ExecutorAllocations, ControlFlowAndDynamicMemory) {
  Context c(load(R"(wplan 1 symbol i 0 .. 9 symbol n 0 .. 100 kernel @scale kernel @less
buffer #x input 0 bytes 16 buffer #k input 1 bytes 8 buffer #a arena bytes 16 live 0 .. 99 buffer #b arena bytes 16 live 0 .. 99
buffer #c arena bytes 1 live 0 .. 99 buffer #d dynamic bytes 4*n*i+4 buffer #y output 0 bytes 4*n
tensor %x f32[4] #x tensor %k i64[1] #k tensor %a f32[4] #a tensor %b f32[4] #b tensor %c bool[] #c tensor %d f32[n*i+1] #d tensor %y f32[n] #y
input x %x input k %k output y %y
main { read n = %k[0] copy %x -> %a
  loop 8 count i { alloc %d fill %d 1.0 launch @scale(%a, out %b, 4) tasks 1 swap %a, %b launch @less(%a, out %c, 4, 100) tasks 1
  if %c { fill %b 0.0 } free %d }
  select [n] { case [0 .. 50] { alloc %y } case [] { alloc %y } } fill %y 4.0 })"));
  Floats x({4});
  Ints small({1}, {7}), large({1}, {90});
  EXPECT_EQ(steady_allocations(c, {{x.view(), small.view()}, {x.view(), large.view()}}, 1), 0);
}

TEST(ExecutorAllocations, DecodeSteps) {
  Context c(load(R"(wplan 1 symbol past 0 .. 300 symbol room 1 .. 300 symbol rows 1 .. 8 kernel @scale
buffer #x input 0 bytes 8*rows buffer #s state 0 bytes 8*room buffer #a arena bytes 8*past+8*rows live 1 .. 2 buffer #y output 0 bytes 8*rows
tensor %x f32[rows,2] #x tensor %s0 f32[past,2] #s tensor %new f32[rows,2] #s offset 8*past tensor %s1 f32[past+rows,2] #s
tensor %a f32[past+rows,2] #a tensor %tail f32[rows,2] #a offset 8*past tensor %y f32[rows,2] #y
input x %x output y %y state s %s0 -> %s1 append 0 length past capacity room
main { copy %x -> %new launch @scale(%s1, out %a, 2) tasks past+rows copy %tail -> %y })"));
  Floats x({1, 2});
  EXPECT_EQ(steady_allocations(c, {{x.view()}}, 1, 50), 0);  // every step one longer, within the first capacity
}

}  // namespace
}  // namespace weft::executor_test
