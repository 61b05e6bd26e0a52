// Context::run: binding of shapes, memory of inputs and outputs, launches, preparation, errors, concurrency.
#include "tests/unit/executor_support.h"

#include <atomic>
#include <thread>

namespace weft::executor_test {
namespace {

// y = (2x + 1) + b over [batch, 8]; b is a constant row that preparation doubles.
const char* const kPlan = R"(wplan 1
symbol batch 1 .. 64 opt 4
constant b f32[8]
kernel @scale flops 16*batch nodes ["Scale_0"]
kernel @add
buffer #x input 0 bytes 32*batch
buffer #b constant 0 bytes 32
buffer #b2 prepared bytes 32
buffer #h arena bytes 32*batch live 0 .. 1
buffer #y output 0 bytes 32*batch
tensor %x f32[batch,8] #x
tensor %b f32[1,8] #b
tensor %b2 f32[1,8] #b2
tensor %h f32[batch,8] #h
tensor %h0 f32[1,8] #h
tensor %y f32[batch,8] #y
tensor %y0 f32[1,8] #y
input x %x
output y %y
prepare {
  launch @add(%b, %b, out %b2, 8) tasks 1
}
main {
  launch @scale(%x, out %h, 8) tasks batch nodes ["Scale_0"]
  copy %h -> %y
  launch @add(%h0, %b2, out %y0, 8) tasks 1 nodes ["Add_0"]
}
)";

std::vector<ConstantBytes> constant_row() { return {bytes_of(F{0, 10, 20, 30, 40, 50, 60, 70})}; }
float expected(int64_t i) { return 2 * static_cast<float>(i) + 1 + (i < 8 ? 20 * static_cast<float>(i) : 0); }

TEST(ExecutorRun, LifetimesAreChecked) {
  // #h is read by the third command.
  EXPECT_SAYS(load_error(kPlan, constant_row()), "needed from 0 to 2");
}

std::string good_plan() {
  std::string s = kPlan;
  s.replace(s.find("live 0 .. 1"), 11, "live 0 .. 2");
  return s;
}

TEST(ExecutorRun, ShapesChange) {
  for (int threads : {0, 1, 3}) {
    Context c(load(good_plan(), constant_row(), threads));
    for (int64_t batch : {1, 4, 64, 4, 3, 1}) {
      Floats x({batch, 8});
      TensorView y = run(c, {x.view()})[0];
      ASSERT_EQ(y.dims, (I{batch, 8}));
      F e;
      for (int64_t i = 0; i < batch * 8; ++i) e.push_back(expected(i));
      EXPECT_EQ(elements<float>(y), e);
      EXPECT_EQ(c.arena_bytes(), 32 * batch);
      EXPECT_EQ(c.max_live_bytes(), 32 * batch);
      EXPECT_EQ(c.symbols().at("batch"), batch);
    }
    for (int64_t batch = 1; batch <= 64; ++batch) {  // more than are remembered
      Floats x({batch, 8});
      ASSERT_EQ(elements<float>(run(c, {x.view()})[0]).back(), expected(batch * 8 - 1));
    }
  }
}

TEST(ExecutorRun, InputsThatDoNotFit) {
  Context c(load(good_plan(), constant_row()));
  Floats wide({2, 9}), many({65, 8}), flat({8}), fine({2, 8});
  std::string e = run_error(c, {wide.view()});
  EXPECT_SAYS(e, "input x, dim 1 (8): got 9, expected 8");
  EXPECT_SAYS(e, "--shapes x=1..64x8..9");
  e = run_error(c, {many.view()});
  EXPECT_SAYS(e, "input x, dim 0 (batch): got 65, but batch was compiled for 1 .. 64");
  EXPECT_SAYS(e, "--shapes x=1..65x8");
  EXPECT_SAYS(run_error(c, {flat.view()}), "has rank 1, expected 2: [batch,8]");
  EXPECT_SAYS(run_error(c, {}), "has 1 inputs, 0 are given");
  EXPECT_SAYS(run_error(c, {fine.view()}, 2), "has 1 outputs");
  TensorView v = fine.view();
  v.dtype = DType::i32;
  EXPECT_SAYS(run_error(c, {v}), "type i32, expected f32");
  v = fine.view();
  v.data = nullptr;
  EXPECT_SAYS(run_error(c, {v}), "has no data");
  v = fine.view();
  v.strides.pop_back();
  EXPECT_SAYS(run_error(c, {v}), "1 strides for 2 dims");
  EXPECT_EQ(run_error(c, {fine.view()}), "");
}

TEST(ExecutorRun, EquationsOfDims) {
  const std::string text = R"(wplan 1 symbol n 1 .. 100 symbol m 1 .. 100 symbol k
buffer #x input 0 bytes 12*n*m+4*m buffer #z input 1 bytes 4*n buffer #u input 2 bytes 4*k*n buffer #y output 0 bytes 4*n
tensor %x f32[3*n+1,m] #x tensor %z f32[n] #z tensor %u f32[n*k] #u tensor %y f32[n] #y
input x %x input z %z input u %u output y %y main { copy %z -> %y })";
  Context c(load(text));
  auto with = [&](int64_t a, int64_t m, int64_t b, int64_t u) {
    Floats x({a, m}), z({b}), w({u});
    return run_error(c, {x.view(), z.view(), w.view()});
  };
  EXPECT_EQ(with(13, 2, 4, 8), "");
  EXPECT_SAYS(with(12, 2, 4, 8), "input x, dim 0 (3*n+1): got 12, which is no value");
  EXPECT_SAYS(with(13, 2, 5, 8), "input z, dim 0 (n): got 5, expected 4");
  EXPECT_SAYS(with(13, 2, 4, 9), "input u, dim 0 (k*n): got 9, which is no value");
  EXPECT_SAYS(
      load_error("wplan 1 symbol n buffer #x input 0 bytes 400 tensor %x f32[floordiv(n,2)] #x input x %x main {}"),
      "nothing gives the symbol n a value");
}

// Transposed, reversed, sliced, unaligned and broadcast inputs; outputs of any strides.
TEST(ExecutorRun, StridesOfCallers) {
  Context c(load(good_plan(), constant_row()));
  F e;
  for (int64_t i = 0; i < 32; ++i) e.push_back(expected(i));
  Floats x({4, 8}), t({8, 4});
  for (int64_t i = 0; i < 32; ++i) t.v[i % 8 * 4 + i / 8] = x.v[i];
  TensorView v = t.view();
  v.dims = {4, 8};
  v.strides = {1, 4};
  EXPECT_EQ(elements<float>(run(c, {v})[0]), e);
  Floats backwards({4, 8});
  std::reverse(backwards.v.begin(), backwards.v.end());
  v = backwards.view();
  v.data = &backwards.v[31];
  v.strides = {-8, -1};
  EXPECT_EQ(elements<float>(run(c, {v})[0]), e);
  std::vector<char> raw(33 * 4);
  std::memcpy(raw.data() + 1, x.v.data(), 128);
  v = x.view();
  v.data = raw.data() + 1;
  EXPECT_EQ(elements<float>(run(c, {v})[0]), e);
  for (int64_t i = 0; i < 32; ++i) std::memcpy(raw.data() + 1 + 4 * (i % 8 * 4 + i / 8), &x.v[i], 4);
  v.strides = {1, 4};
  EXPECT_EQ(elements<float>(run(c, {v})[0]), e);
  v = x.view();
  v.strides = {0, 1};  // the first row four times
  F first(e.begin(), e.begin() + 8);
  F got = elements<float>(run(c, {v})[0]);
  EXPECT_EQ(F(got.begin(), got.begin() + 8), first);

  Floats y({8, 4}, F(32, -1));
  TensorView o = y.view();
  o.dims = {4, 8};
  o.strides = {1, 4};
  std::vector<TensorView> in = {x.view()}, out = {o};
  ASSERT_TRUE(c.run(in, out).ok());
  EXPECT_EQ(out[0].data, y.v.data());
  EXPECT_EQ(elements<float>(out[0]), e);
  Floats dense({4, 8}, F(32, -1));
  out = {dense.view()};
  ASSERT_TRUE(c.run(in, out).ok());
  EXPECT_EQ(dense.v, e);
  // In place: the caller's output is its input.
  Floats both({4, 8});
  in = {both.view()};
  out = {both.view()};
  ASSERT_TRUE(c.run(in, out).ok());
  EXPECT_EQ(both.v, e);
  Floats small({3, 8});
  out = {small.view()};
  Status s = c.run(in, out);
  ASSERT_FALSE(s.ok());
  EXPECT_SAYS(s.error().message, "output y has shape [4,8], the given tensor [3,8]");
}

// What a run returned is the input of the next one; views from before count as empty.
TEST(ExecutorRun, OutputsFeedInputs) {
  Context c(load(good_plan(), constant_row()));
  Floats x({2, 8}, F(16, 1));
  std::vector<TensorView> in = {x.view()}, out(1);
  float want = 1;
  for (int step = 0; step < 6; ++step) {
    ASSERT_TRUE(c.run(in, out).ok());
    want = 2 * want + 1;
    EXPECT_EQ(elements<float>(out[0])[8], want);
    in = out;
    if (step % 2) out[0] = TensorView{};
  }
  for (int64_t batch : {40, 3, 64}) {  // the context's memory moves under a view of an earlier run
    Floats z({batch, 8});
    in = {z.view()};
    ASSERT_TRUE(c.run(in, out).ok());
    EXPECT_EQ(out[0].dims, (I{batch, 8}));
    EXPECT_EQ(elements<float>(out[0]).back(), expected(batch * 8 - 1));
  }
}

// Outputs that are inputs, constants, parts of the arena, and one tensor twice.
TEST(ExecutorRun, OutputsThatLieElsewhere) {
  const std::string text = R"(wplan 1 symbol n 0 .. 9 constant w f32[2]
buffer #x input 0 bytes 8*n buffer #w constant 0 bytes 8 buffer #a arena bytes 8*n live 0 .. 0 buffer #y output 4 bytes 8*n
tensor %x f32[n,2] #x tensor %xt f32[2,n] #x strides [1,2] tensor %w f32[2] #w tensor %a f32[n,2] #a tensor %y f32[n,2] #y
input x %x output same %x output turned %xt output weight %w output a %a output y %y output y2 %y
main { fill %a 7.0 copy %x -> %y })";
  EXPECT_SAYS(load_error(text, {bytes_of(F{5, 6})}), "needed from 0 to 1");
  std::string fixed = text;
  fixed.replace(fixed.find("live 0 .. 0"), 11, "live 0 .. 1");
  Context c(load(fixed, {bytes_of(F{5, 6})}));
  for (int64_t n : {2, 0, 3}) {
    Floats x({n, 2});
    std::vector<TensorView> out = run(c, {x.view()}, 6);
    EXPECT_EQ(elements<float>(out[0]), x.v);
    EXPECT_EQ(out[1].dims, (I{2, n}));
    if (n == 2) {
      EXPECT_EQ(elements<float>(out[1]), (F{0, 2, 1, 3}));
    }
    EXPECT_EQ(elements<float>(out[2]), (F{5, 6}));
    EXPECT_EQ(elements<float>(out[3]), F(static_cast<size_t>(2 * n), 7));
    EXPECT_EQ(elements<float>(out[4]), x.v);
    EXPECT_EQ(elements<float>(out[5]), x.v);
    Floats y({n, 2}), y2({n, 2});
    y.v.assign(y.v.size(), -1);
    std::vector<TensorView> in = {x.view()};
    out.assign(6, TensorView{});
    out[4] = y.view();
    out[5] = y2.view();
    ASSERT_TRUE(c.run(in, out).ok());
    EXPECT_EQ(y.v, x.v);
    EXPECT_EQ(y2.v, x.v);
  }
}

TEST(ExecutorRun, Constants) {
  const std::string text = R"(wplan 1 constant s f32[2,3] constant q i4[2,3] constant e u2[3]
buffer #s constant 0 bytes 24 buffer #q constant 1 bytes 4 buffer #e constant 2 bytes 1
tensor %s f32[2,3] #s tensor %q i4[2,3] #q tensor %e u2[3] #e output s %s output q %q output e %e main {})";
  ConstantBytes splat = bytes_of(F{2.5f});
  splat.splat = true;
  Context c(load(text, {splat, bytes_of(std::vector<int8_t>{1, -2, 3, -4, 5, -6}), bytes_of(std::vector<uint8_t>{3, 0, 1})}));
  std::vector<TensorView> out = run(c, {}, 3);
  EXPECT_EQ(elements<float>(out[0]), F(6, 2.5f));
  EXPECT_EQ(out[1].strides, (I{4, 1}));  // i4: rows of whole bytes
  const auto* q = static_cast<const uint8_t*>(out[1].data);
  EXPECT_EQ(q[0], 0xe1);
  EXPECT_EQ(q[1] & 15, 3);
  EXPECT_EQ(q[2], 0x5c);
  EXPECT_EQ(q[3] & 15, 10);
  EXPECT_EQ(static_cast<const uint8_t*>(out[2].data)[0] & 63, 0x13);
  EXPECT_SAYS(load_error(text, {splat}), "3 constants, but bytes of 1");
  EXPECT_SAYS(load_error(text, {bytes_of(F{1}), splat, splat}), "has 4 bytes instead of 24");
  // Element by element at odd addresses, as file formats have them.
  auto raw = std::make_shared<std::vector<char>>(25);
  F six = {1, 2, 3, 4, 5, 6};
  std::memcpy(raw->data() + 1, six.data(), 24);
  ConstantBytes odd;
  odd.data = reinterpret_cast<const std::byte*>(raw->data() + 1);
  odd.size = 24;
  odd.owner = raw;
  Context d(load("wplan 1 constant s f32[2,3] buffer #s constant 0 bytes 24 tensor %s f32[2,3] #s output s %s main {}", {odd}));
  EXPECT_EQ(elements<float>(run(d, {})[0]), six);
}

TEST(ExecutorRun, SubByteInputsComePacked) {
  Context c(load(
      "wplan 1 symbol n 0 .. 9 buffer #x input 0 bytes 3*n buffer #y output 0 bytes 3*n tensor %x u4[n,5] #x tensor %y u4[n,5] #y"
      " input x %x output y %y main { copy %x -> %y }"));
  std::vector<uint8_t> packed = {0x21, 0x43, 0x65, 0x87, 0xa9};  // ONNX: [2,5] without padding
  TensorView v;
  v.data = packed.data();
  v.dtype = DType::u4;
  v.dims = {2, 5};
  v.strides = {5, 1};
  TensorView y = run(c, {v})[0];
  EXPECT_EQ(y.strides, (I{6, 1}));
  const auto* p = static_cast<const uint8_t*>(y.data);
  EXPECT_EQ((std::vector<int>{p[0], p[1], p[2] & 15, p[3], p[4], p[5] & 15}), (std::vector<int>{0x21, 0x43, 5, 0x76, 0x98, 10}));
  std::vector<uint8_t> back(5);
  TensorView o = v;
  o.data = back.data();
  std::vector<TensorView> in = {v}, out = {o};
  ASSERT_TRUE(c.run(in, out).ok());
  EXPECT_EQ(back, packed);
}

TEST(ExecutorRun, SymbolsOfTheHost) {
  const std::string text = R"(wplan 1 symbol rank 0 .. 3 constant w f32[8] buffer #w constant 0 bytes 32 buffer #y output 0 bytes 8
tensor %shard f32[2] #w offset 8*rank tensor %y f32[2] #y output y %y main { copy %shard -> %y })";
  std::vector<ConstantBytes> w = {bytes_of(F{0, 1, 2, 3, 4, 5, 6, 7})};
  Context c(load(text, w, 1, {{"rank", 2}, {"other", 7}}));
  EXPECT_EQ(elements<float>(run(c, {})[0]), (F{4, 5}));
  EXPECT_SAYS(load_error(text, w), "nothing gives the symbol rank a value");
  auto bad = try_load(text, w, 1, {{"rank", 4}});
  ASSERT_FALSE(bad.ok());
  EXPECT_SAYS(bad.error().message, "outside of 0 .. 3");
}

TEST(ExecutorRun, LoadErrors) {
  EXPECT_SAYS(load_error("wplan 1 kernel @nope main { launch @nope() tasks 1 }"), "no code for kernel nope");
  EXPECT_SAYS(load_error("wplan 1 kernel @nope object 3 main { launch @nope() tasks 1 nodes [\"Conv_7\"] }"), "Conv_7");
  EXPECT_SAYS(load_error("wplan 1 main { call nothing() }"), "no host function nothing");
  EXPECT_SAYS(
      load_error(
          "wplan 1 group g axes [] buffer #a arena bytes 4 live 0 .. 9 tensor %a f32[1] #a main { collective all_reduce(%a -> %a) group g }"),
      "unsupported");
  EXPECT_SAYS(load_error("wplan 1 kernel @add main { launch @add(workspace()) tasks 1 }"), "not for the CPU");
  EXPECT_SAYS(load_error("wplan 1 buffer #a arena device bytes 4 live 0 .. 0 main {}"), "device memory");
  EXPECT_SAYS(load_error("wplan 1 buffer #a dynamic bytes 4 tensor %a str[1] #a main {}"), "strings");
}

TEST(ExecutorRun, Profile) {
  auto exe = load(good_plan(), constant_row());
  Context c(exe);
  Floats x({4, 8});
  std::vector<ProfileEvent> events;
  RunOptions options;
  options.profile = &events;
  std::vector<TensorView> in = {x.view()}, out(1);
  for (int k = 0; k < 3; ++k) ASSERT_TRUE(c.run(in, out, options).ok());
  ASSERT_EQ(events.size(), 9u);
  std::vector<ProfileRow> rows = aggregate_profile(plan_of(*exe), events, ProfileBy::kernel, c.symbols());
  ASSERT_EQ(rows.size(), 3u);
  int64_t calls = 0;
  for (const ProfileRow& r : rows) {
    calls += r.calls;
    EXPECT_LE(r.min_ns, r.max_ns);
    EXPECT_GE(r.total_ns, r.max_ns);
    if (r.name != "scale") continue;
    EXPECT_EQ(r.nodes, std::vector<std::string>{"Scale_0"});
    EXPECT_EQ(r.flops, 3 * 64);
  }
  EXPECT_EQ(calls, 9);
  rows = aggregate_profile(plan_of(*exe), events, ProfileBy::node);
  std::vector<std::string> names;
  for (const ProfileRow& r : rows) names.push_back(r.name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"Add_0", "Scale_0", "copy"}));
}

TEST(ExecutorRun, Cancel) {
  Context c(load(good_plan(), constant_row()));
  Floats x({4, 8});
  std::atomic<bool> cancel{true};
  RunOptions options;
  options.cancel = &cancel;
  std::vector<TensorView> in = {x.view()}, out(1);
  Status s = c.run(in, out, options);
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.error().code, Code::kCancelled);
  cancel = false;
  EXPECT_TRUE(c.run(in, out, options).ok());
}

TEST(ExecutorRun, ConcurrentContexts) {
  auto exe = load(good_plan(), constant_row(), 3);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Context c(exe);
      for (int k = 0; k < 100; ++k) {
        int64_t batch = 1 + (k * 7 + t) % 64;
        Floats x({batch, 8});
        std::vector<TensorView> in = {x.view()}, out(1);
        bool fine = c.run(in, out).ok();
        for (int64_t i = 0; fine && i < batch * 8; ++i) fine = static_cast<float*>(out[0].data)[i] == expected(i);
        wrong += !fine;
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace weft::executor_test
