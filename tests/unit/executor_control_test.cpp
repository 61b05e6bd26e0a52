// Commands beyond launches: control flow, symbols of the run, dynamic memory, host calls, states.
#include "tests/unit/executor_support.h"

namespace weft::executor_test {
namespace {

const std::string kFour =
    R"(wplan 1 symbol i 0 .. 100 symbol n 0 .. 10 symbol m -5 .. 100 kernel @scale kernel @add kernel @shift kernel @less
buffer #x input 0 bytes 16 buffer #y output 0 bytes 16 buffer #a arena bytes 16 live 0 .. 99 buffer #b arena bytes 16 live 0 .. 99
buffer #c arena bytes 1 live 0 .. 99
tensor %x f32[4] #x tensor %y f32[4] #y tensor %a f32[4] #a tensor %b f32[4] #b tensor %c bool[] #c
)";

F four(const std::string& body, F x, const std::string& declarations = "input x %x output y %y") {
  Context c(load(kFour + declarations + " main {" + body + "}"));
  Floats in({4}, std::move(x));
  return elements<float>(run(c, {in.view()})[0]);
}
std::string four_error(const std::string& body, const std::string& declarations = "input x %x output y %y") {
  auto e = try_load(kFour + declarations + " main {" + body + "}");
  if (!e.ok()) return e.error().to_string();
  Context c(*e);
  Floats in({4});
  return run_error(c, {in.view()});
}

TEST(ExecutorControl, Branches) {
  const std::string body = "launch @less(%x, out %c, 4, 10) tasks 1 if %c { fill %y 1.0 } else { fill %y 2.0 if %c { fill %y 3.0 } }";
  EXPECT_EQ(four(body, {9, 0, 0, 0}), F(4, 1));
  EXPECT_EQ(four(body, {11, 0, 0, 0}), F(4, 2));
  EXPECT_EQ(four("fill %c 0.0 copy %x -> %y if %c { fill %y 1.0 }", {1, 2, 3, 4}), (F{1, 2, 3, 4}));
}

TEST(ExecutorControl, Loops) {
  EXPECT_EQ(four("copy %x -> %a loop 5 { launch @shift(inout %a, 4, scalar(1.5)) tasks 1 scratch 16 } copy %a -> %y",
                {0, 1, 2, 3}),
      (F{7.5, 8.5, 9.5, 10.5}));
  EXPECT_EQ(four("copy %x -> %y loop 0 { fill %y 1.0 } loop 0-3 { fill %y 2.0 }", {1, 2, 3, 4}), (F{1, 2, 3, 4}));
  // While x[0] < 10: doubled and one more each time, ping and pong between two buffers.
  EXPECT_EQ(
      four(
          "copy %x -> %a fill %c 1.0 loop overflow count i while %c { launch @scale(%a, out %b, 4) tasks 1 swap %a, %b"
          " launch @less(%a, out %c, 4, 10) tasks 1 } copy %a -> %y",
          {1, 0, 0, 2}),
      (F{15, 7, 7, 23}));
  // The counter in an offset, and afterwards.
  const std::string element = "tensor %xi f32[1] #x offset 4*i tensor %yi f32[1] #y offset 12-4*i ";
  EXPECT_EQ(four("loop 4 count i { copy %xi -> %yi }", {1, 2, 3, 4}, element + "input x %x output y %y"), (F{4, 3, 2, 1}));
  EXPECT_EQ(four("loop 3 count i { set n = i*2 } check n-3 check i-2 copy %x -> %y", {1, 2, 3, 4}), (F{1, 2, 3, 4}));
  EXPECT_EQ(four("fill %y 0.0 loop 2 { loop 3 count i { launch @shift(inout %y, 4, scalar(1.0)) tasks 1 scratch 16*i+16 } }", {0, 0, 0, 0}), F(4, 6));
  EXPECT_SAYS(four_error("loop 5 count i { copy %xi -> %y }", "tensor %xi f32[4] #x offset 4*i input x %x output y %y"),
      "needs bytes 4 .. 20 of buffer x, which has 16");
  EXPECT_SAYS(four_error("loop 101 count i {}"), "");
  EXPECT_SAYS(four_error("loop 102 count i {}"), "got 101, outside of its range 0 .. 100");
}

TEST(ExecutorControl, SymbolsOfTheRun) {
  const std::string head = R"(wplan 1 symbol n 0 .. 10 symbol m kernel @scale kernel @add
buffer #k input 0 bytes 16 buffer #x input 1 bytes 40 buffer #a arena bytes 8*n live 0 .. 9 buffer #y output 0 bytes 40
tensor %k i64[2] #k tensor %x f32[10] #x tensor %xn f32[n] #x tensor %a f32[2,n] #a tensor %a0 f32[n] #a
tensor %a1 f32[n] #a offset 4*n tensor %y f32[10] #y tensor %yn f32[n] #y
input k %k input x %x output y %y
)";
  Context c(load(head + R"(main {
  fill %y 0.0 read n = %k[1] nodes ["Shape_2"] check n "the second number must be positive"
  launch @scale(%xn, out %a0, 1) tasks n launch @scale(%a0, out %a1, n) tasks 1 launch @add(%a0, %a1, out %yn, n) tasks 1 })"));
  Floats x({10});
  auto go = [&](int64_t n) {
    Ints k({2}, {77, n});
    return elements<float>(run(c, {k.view(), x.view()})[0]);
  };
  auto error = [&](int64_t n) {
    Ints k({2}, {77, n});
    return run_error(c, {k.view(), x.view()});
  };
  EXPECT_EQ(go(3), (F{4, 10, 16, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(c.arena_bytes(), 80);  // what n may be
  EXPECT_EQ(go(10)[9], 58);
  EXPECT_SAYS(error(0), "the second number must be positive");
  EXPECT_SAYS(error(11), "got 11, outside of its range 0 .. 10");
  EXPECT_SAYS(error(-1), "Shape_2");
  EXPECT_EQ(go(3)[2], 16);
  auto bad = try_load(head + "main { read m = %k[0] copy %t -> %t }" + "", {}, 1);
  EXPECT_FALSE(bad.ok());
  std::string unbounded = head + "tensor %t f32[m] #u buffer #u arena bytes 4*m live 0 .. 9 main {}";
  EXPECT_FALSE(try_load(unbounded).ok());  // declared behind its use
  unbounded = head + "buffer #u arena bytes 4*m live 0 .. 9 tensor %t f32[m] #u main { read n = %k[0] read m = %k[0] fill %t 0.0 }";
  Context u(load(unbounded));
  Ints k({2}, {1, 1});
  EXPECT_SAYS(run_error(u, {k.view(), x.view()}), "no upper bound");
  // Scratch memory needs no bound: launches make room.
  Context roomy(load(
      head +
      "kernel @shift main { read n = %k[1] read m = %k[0] fill %y 1.0 launch @shift(inout %y, 10, scalar(2.0)) tasks 1 scratch 40*m }"));
  EXPECT_EQ(elements<float>(run(roomy, {k.view(), x.view()})[0])[9], 3);
  Ints negative({2}, {-1, 1});
  EXPECT_SAYS(run_error(roomy, {negative.view(), x.view()}), "got -1, outside of its range");
}

TEST(ExecutorControl, Select) {
  const std::string body = "read n = %k[0] select [n] { case [0 .. 3] { fill %y 1.0 } case [4 .. 2*3] { fill %y 2.0 } %s }";
  auto plan = [&](const std::string& last) {
    std::string b = body;
    b.replace(b.find("%s"), 2, last);
    return kFour + "buffer #k input 1 bytes 8 tensor %k i64[1] #k input x %x input k %k output y %y main {" + b + "}";
  };
  Floats x({4});
  Context c(load(plan("case [] { fill %y 3.0 }"))), d(load(plan("")));
  for (int64_t n = 0; n < 9; ++n) {
    Ints k({1}, {n});
    EXPECT_EQ(elements<float>(run(c, {x.view(), k.view()})[0])[0], n <= 3 ? 1 : n <= 6 ? 2 : 3);
    if (n > 6) {
      EXPECT_SAYS(run_error(d, {x.view(), k.view()}), "no variant was compiled for n = " + std::to_string(n));
    }
  }
}

// non_zero decides how many; what follows depends on it, down to an output of that size.
const char* const kNonZero = R"(wplan 1 symbol r 0 .. 9 symbol c 0 .. 9 symbol n
kernel @scale
buffer #x input 0 bytes 4*r*c
buffer #p dynamic bytes 16*n
buffer #y output 0 bytes 16*n
buffer #h dynamic bytes 4*n
buffer #z output 1 bytes 4*n
tensor %x f32[r,c] #x
tensor %p i64[2,n] #p
tensor %y i64[n,2] #y
tensor %pt i64[n,2] #p strides [1,n]
tensor %h f32[n] #h
tensor %z f32[n] #z
input x %x
output y %y
output z %z
main {
  call non_zero(%x -> %p) sets [n]
  alloc %y
  copy %pt -> %y
  free %p
  alloc %h
  fill %h 3.0
  alloc %z
  launch @scale(%h, out %z, n) tasks 1
  free %h
}
)";

TEST(ExecutorControl, DataDependentSizes) {
  auto exe = load(kNonZero);
  Context c(exe);
  for (F values : {F{0, 5, 0, 0, 0, 7}, F{1, 1, 1, 1, 1, 1}, F{0, 0, 0, 0, 0, 0}, F{0, 0, 2, 0, 0, 0}}) {
    Floats x({2, 3}, values);
    std::vector<TensorView> out = run(c, {x.view()}, 2);
    I positions;
    for (int64_t i = 0; i < 6; ++i)
      if (values[i] != 0) positions.insert(positions.end(), {i / 3, i % 3});
    EXPECT_EQ(elements<int64_t>(out[0]), positions);
    EXPECT_EQ(out[1].dims, (I{static_cast<int64_t>(positions.size() / 2)}));
    EXPECT_EQ(elements<float>(out[1]), F(positions.size() / 2, 7));
  }
  Floats x({2, 3}, {0, 5, 0, 0, 0, 7});
  Ints given({2, 2});
  std::vector<TensorView> in = {x.view()}, out = {given.view(), TensorView{}};
  ASSERT_TRUE(c.run(in, out).ok());
  EXPECT_EQ(given.v, (I{0, 1, 1, 2}));
  Ints wrong({3, 2});
  out = {wrong.view(), TensorView{}};
  Status s = c.run(in, out);
  ASSERT_FALSE(s.ok());
  EXPECT_SAYS(s.error().message, "output y has shape [2,2], the given tensor [3,2]");
  std::string unallocated = kNonZero;
  unallocated.replace(unallocated.find("  alloc %z\n"), 11, "");
  Context u(load(unallocated));
  EXPECT_SAYS(run_error(u, {x.view()}, 2), "not allocated");
  std::string shape = kNonZero;
  shape.replace(shape.find("i64[2,n] #p"), 11, "i64[3,n] #p");
  shape.replace(shape.find("#p dynamic bytes 16*n"), 21, "#p dynamic bytes 24*n");
  Context w(load(shape));
  EXPECT_SAYS(run_error(w, {x.view()}, 2), "gives [2,2] for an output of shape [3,n]");
}

TEST(ExecutorControl, HostCallsInLoops) {
  Context c(load(R"(wplan 1 symbol i 0 .. 3 symbol n symbol sum
buffer #x input 0 bytes 48 buffer #p dynamic bytes 8*n buffer #y output 0 bytes 24
tensor %x f32[3,4] #x tensor %row f32[4] #x offset 16*i tensor %p i64[1,n] #p tensor %last i64[1] #p offset 8*n-8
tensor %yi i64[1] #y offset 8*i tensor %y i64[3] #y
input x %x output y %y
main { loop 3 count i { call non_zero(%row -> %p) sets [n] copy %last -> %yi } })"));
  Floats x({3, 4}, {1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1});
  EXPECT_EQ(elements<int64_t>(run(c, {x.view()})[0]), (I{1, 0, 3}));
}

TEST(ExecutorControl, OtherHostFunctions) {
  Context c(load(R"(wplan 1 buffer #x input 0 bytes 24 buffer #v output 0 bytes 16 buffer #i output 1 bytes 32
tensor %x f32[2,3] #x tensor %v f32[2,2] #v tensor %i i64[2,2] #i input x %x output v %v output i %i
main { call top_k(%x -> %v, %i) "axis=-1 largest=true" })"));
  Floats x({2, 3}, {1, 3, 2, 9, 7, 8});
  std::vector<TensorView> out = run(c, {x.view()}, 2);
  EXPECT_EQ(elements<float>(out[0]), (F{3, 2, 9, 8}));
  EXPECT_EQ(elements<int64_t>(out[1]), (I{1, 2, 0, 2}));
  Context u(load(R"(wplan 1 symbol n symbol m buffer #x input 0 bytes 24 buffer #y dynamic bytes 4*n buffer #c dynamic bytes 8*n
  buffer #i dynamic bytes 8*m
tensor %x f32[6] #x tensor %y f32[n] #y tensor %c i64[n] #c tensor %i i64[m] #i input x %x output y %y output c %c output i %i
main { call unique(%x -> %y, %c, %i) "sorted=1 counts=1 inverse=2" sets [n, m] })"));
  Floats z({6}, {3, 1, 3, 2, 1, 3});
  out = run(u, {z.view()}, 3);
  EXPECT_EQ(elements<float>(out[0]), (F{1, 2, 3}));
  EXPECT_EQ(elements<int64_t>(out[1]), (I{2, 1, 3}));
  EXPECT_EQ(elements<int64_t>(out[2]), (I{2, 0, 2, 1, 0, 2}));
}

TEST(ExecutorControl, CopiesAndFills) {
  EXPECT_EQ(four("fill %y 0.0 copy %even -> %odd", {1, 2, 3, 4},
                "tensor %even f32[2] #x strides [2] tensor %odd f32[2] #y offset 4 strides [2] input x %x output y %y"),
      (F{0, 1, 0, 3}));
  EXPECT_EQ(four("copy %wide -> %y2", {1, 2, 3, 4},
                "tensor %wide f32[2,2] #x strides [0,1] tensor %y2 f32[2,2] #y input x %x output y %y"),
      (F{1, 2, 1, 2}));
  EXPECT_SAYS(four_error("copy %lo -> %hi", "tensor %lo f32[3] #a tensor %hi f32[3] #a offset 4 input x %x output y %y"), "overlap");
  EXPECT_EQ(four_error("copy %a -> %a copy %x -> %y"), "");
}

// --- states -------------------------------------------------------------------------------------------------------

// Rows of two floats appended to a state; y is all rows so far, times two plus one.
const char* const kAppend = R"(wplan 1 symbol past 0 .. 300 symbol room 1 .. 300 symbol rows 1 .. 300
kernel @scale
buffer #x input 0 bytes 8*rows
buffer #s state 0 bytes 8*room
buffer #t state 1 bytes 8*room
buffer #y output 0 bytes 8*past+8*rows
tensor %x f32[rows,2] #x
tensor %s0 f32[past,2] #s
tensor %new f32[rows,2] #s offset 8*past
tensor %s1 f32[past+rows,2] #s
tensor %t0 f32[2,past] #t strides [room,1]
tensor %xt f32[2,rows] #x strides [1,2]
tensor %tnew f32[2,rows] #t offset 4*past strides [room,1]
tensor %t1 f32[2,past+rows] #t strides [room,1]
tensor %y f32[past+rows,2] #y
input x %x
output y %y
state s %s0 -> %s1 append 0 length past capacity room
state t %t0 -> %t1 append 1 length past capacity room
main {
  copy %x -> %new
  copy %xt -> %tnew
  launch @scale(%s1, out %y, 2) tasks past+rows
}
)";

TEST(ExecutorControl, AppendStates) {
  Context c(load(kAppend));
  F all;
  float next = 0;
  for (int64_t rows : {5, 1, 1, 60, 1, 1, 100, 1}) {  // beyond the first capacity, then beyond twice that
    Floats x({rows, 2});
    for (float& v : x.v) all.push_back(v = next++);
    TensorView y = run(c, {x.view()})[0];
    ASSERT_EQ(y.dims, (I{static_cast<int64_t>(all.size() / 2), 2}));
    F want = all;
    for (float& v : want) v = 2 * v + 1;
    ASSERT_EQ(elements<float>(y), want);
    EXPECT_EQ(elements<float>(*c.state(0)), all);
    F turned;
    for (size_t k : {0u, 1u})
      for (size_t i = k; i < all.size(); i += 2) turned.push_back(all[i]);
    EXPECT_EQ(elements<float>(*c.state(1)), turned);
  }
  Result<Context> fork = c.fork();
  ASSERT_TRUE(fork.ok());
  Floats x({1, 2});
  run(*fork, {x.view()});
  EXPECT_EQ(fork->state(0)->dims[0], 171);
  EXPECT_EQ(c.state(0)->dims[0], 170);
  EXPECT_EQ(elements<float>(*c.state(0)), all);
  Floats many({131, 2});
  EXPECT_SAYS(run_error(c, {many.view()}), "state s would hold 301 entries of at most 300");
  EXPECT_EQ(c.state(0)->dims[0], 170);
  ASSERT_TRUE(c.reset_state(0).ok());
  EXPECT_EQ(c.state(1)->dims[1], 0);
  TensorView y = run(c, {x.view()})[0];
  EXPECT_EQ(elements<float>(y), (F{1, 3}));
  EXPECT_FALSE(c.reset_state(2).ok());
  EXPECT_FALSE(c.state(-1).ok());
}

TEST(ExecutorControl, OverwriteStates) {
  // A running sum in place, and one that ping-pongs between two buffers.
  const std::string text = R"(wplan 1 symbol n 1 .. 9 kernel @add
buffer #x input 0 bytes 4*n buffer #s state 0 bytes 4*n buffer #p state 1 bytes 4*n buffer #q state 1 bytes 4*n buffer #y
output 0 bytes 4*n buffer #z output 1 bytes 4*n
tensor %x f32[n] #x tensor %s f32[n] #s tensor %p f32[n] #p tensor %q f32[n] #q tensor %y f32[n] #y tensor %z f32[n] #z
input x %x output y %y output z %z state sum %s -> %s state twin %p -> %q
main { launch @add(%x, %s, out %s, n) tasks 1 copy %s -> %y launch @add(%x, %p, out %q, n) tasks 1 swap %p, %q copy %p -> %z %more })";
  auto plan = [&](const std::string& more) {
    std::string s = text;
    return s.replace(s.find("%more"), 5, more);
  };
  Context c(load(plan("")));
  Floats x({3}, {1, 2, 3});
  for (float k = 1; k < 5; ++k) {
    std::vector<TensorView> out = run(c, {x.view()}, 2);
    EXPECT_EQ(elements<float>(out[0]), (F{k, 2 * k, 3 * k}));
    EXPECT_EQ(elements<float>(out[1]), (F{k, 2 * k, 3 * k}));
    EXPECT_EQ(elements<float>(*c.state(1)), (F{k, 2 * k, 3 * k}));
  }
  Floats four({4});
  EXPECT_SAYS(run_error(c, {four.view()}, 2), "state sum holds values of shape [3] from earlier runs, this one has [4]");
  ASSERT_TRUE(c.reset_state(0).ok());
  ASSERT_TRUE(c.reset_state(1).ok());
  EXPECT_EQ(elements<float>(run(c, {four.view()}, 2)[1]), four.v);
  // A first run that fails leaves nothing behind.
  Context f(load(plan("check n-3")));
  EXPECT_SAYS(run_error(f, {x.view()}, 2), "does not hold");
  EXPECT_EQ(elements<float>(run(f, {four.view()}, 2)[0]), four.v);
}

}  // namespace
}  // namespace weft::executor_test
