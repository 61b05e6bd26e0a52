// verify_plan and assign_lifetimes. Each case is a small plan text and what must be said of it.
#include <gtest/gtest.h>

#include "ir/plan/plan.h"

namespace weft::plan_verify_test {
namespace {

Plan parse(const std::string& text) {
  Result<Plan> p = parse_plan(text);
  EXPECT_TRUE(p.ok()) << (p.ok() ? "" : p.error().to_string() + "\n" + text);
  return p.ok() ? std::move(p).value() : Plan{};
}
// The message of verify_plan; empty when all is well.
std::string problem(const std::string& text) {
  Status s = verify_plan(parse(text));
  return s.ok() ? "" : s.error().message;
}
#define EXPECT_PROBLEM(text, part) EXPECT_NE(problem(text).find(part), std::string::npos) << problem(text)

// An input x and an output y of four floats, an arena buffer a, a condition c, a kernel k.
std::string with(const std::string& declarations, const std::string& body, const std::string& head = "") {
  return "wplan 1 " + head + R"( symbol n 1 .. 8 symbol m 1 .. 8 kernel @k
buffer #x input 0 bytes 16 buffer #c input 1 bytes 1 buffer #a arena bytes 16 live 0 .. 9 buffer #y output 0 bytes 16
tensor %x f32[4] #x tensor %c bool[] #c tensor %a f32[4] #a tensor %y f32[4] #y
input x %x input c %c output y %y )" + declarations + " main {" + body + "}";
}

TEST(PlanVerify, Tables) {
  EXPECT_EQ(problem(with("", "copy %x -> %y")), "");
  EXPECT_PROBLEM(with("buffer #b arena bytes q", ""), "symbol q");
  EXPECT_PROBLEM(with("buffer #b arena bytes overflow", ""), "overflows");
  EXPECT_PROBLEM(with("buffer #b arena bytes 0-n", ""), "negative");
  EXPECT_PROBLEM(with("buffer #b arena bytes 4 align 3", ""), "alignment");
  EXPECT_PROBLEM(with("buffer #b constant bytes 4", ""), "no valid source");
  EXPECT_PROBLEM(with("buffer #b constant 0 bytes 4", ""), "no valid source");
  EXPECT_PROBLEM(with("buffer #b dynamic bytes 4 offset 64", ""), "offset");
  EXPECT_PROBLEM(with("symbol z 5 .. 4", ""), "range of the symbol z");
  EXPECT_PROBLEM(with("tensor %t f32[4]", ""), "no valid buffer");
  EXPECT_PROBLEM(with("tensor %t f32[5] #a", ""), "outside of buffer");
  EXPECT_PROBLEM(with("tensor %t f32[4] #a offset 4", ""), "outside of buffer");
  EXPECT_PROBLEM(with("tensor %t f32[4] #a offset 8 strides [-1]", ""), "outside of buffer");
  EXPECT_EQ(problem(with("tensor %t f32[4] #a offset 12 strides [-1]", "")), "");
  EXPECT_EQ(problem(with("tensor %t f32[n] #a", "")), "");  // decided when n is bound
  EXPECT_PROBLEM(with("tensor %t f32[n+4] #a", ""), "outside of buffer");
  EXPECT_PROBLEM(with("tensor %t f32[4] #a strides [4611686018427387904]", ""), "outside of buffer");
  EXPECT_EQ(problem(with("tensor %t i4[3,10] #a", "")), "");
  EXPECT_PROBLEM(with("tensor %t i4[3,11] #a", ""), "outside of buffer");
  EXPECT_PROBLEM(with("tensor %t f32[1,1] #a strides [1]", ""), "2 dims and 1 strides");
  EXPECT_PROBLEM(with("input z %a", ""), "own input buffer");
  EXPECT_PROBLEM(with("output y %a", ""), "two of output y");
  EXPECT_EQ(problem(with("output z %x buffer #z output 1 bytes 16", "")), "");  // left over
  EXPECT_PROBLEM(with("output z %x buffer #z output 1 bytes 16 tensor %z f32[4] #z", "fill %z 0.0"), "does not hold its input, output or state");
  EXPECT_PROBLEM(with("buffer #z output 0 bytes 16 tensor %z f32[4] #z output z %z", ""), "does not hold its output");
  EXPECT_EQ(problem(with("output z %x", "")), "");
  EXPECT_PROBLEM("wplan 1 kernel @0 named \"a\" kernel @1 named \"a\" main {}", "there twice");
}

TEST(PlanVerify, States) {
  auto state = [](const std::string& s) { return "buffer #s state 0 bytes 64 tensor %s0 f32[n,2] #s tensor %s1 f32[n+1,2] #s " + s; };
  EXPECT_EQ(problem(with(state("state s %s0 -> %s1 append 0 length n"), "")), "");
  EXPECT_EQ(problem(with(state("state s %s0 -> %s0"), "")), "");
  EXPECT_PROBLEM(with(state("state s %s0 -> %s1 buffer #z state 0 bytes 4 tensor %z u8[1] #z"), "fill %z 0.0"),
      "does not hold its input, output or state");
  EXPECT_PROBLEM(with("buffer #z arena bytes 16 tensor %z f32[4] #z output z %z", ""), "never lives");
  EXPECT_PROBLEM(with("buffer #z arena prepare bytes 16 live 0 .. 0 tensor %z f32[4] #z output z %z", ""), "memory of the prepare region");
  EXPECT_PROBLEM(with(state("state s %s0"), ""), "no tensor for its next value");
  EXPECT_PROBLEM(with(state("state s %s0 -> %a"), ""), "does not lie");
  EXPECT_PROBLEM(with(state("state s %s0 -> %s1 append 0 length n state t %s0 -> %s0"), ""), "does not lie");
  EXPECT_PROBLEM(with(state("state s %s0 -> %s1 append 2 length n"), ""), "axis 2");
  EXPECT_PROBLEM(with(state("state s %s0 -> %s1 append 0 length m"), ""), "is not m");
  EXPECT_PROBLEM(with(state("state s %s0 -> %s1 length n"), ""), "no axis");
  EXPECT_PROBLEM(with(state("state s %s0 -> %s1 append 0 length n capacity q"), ""), "capacity symbol");
  auto shared = [&](const std::string& share) { return with(state("state s %s0 -> %s0 " + share), "", "mesh @mesh = tp:2"); };
  EXPECT_EQ(problem(shared("shard(mesh:[_,tp]) of [n,4]")), "");
  EXPECT_PROBLEM(shared("shard(mesh:[tp]) of [n]"), "for a tensor of 2 dims");
  EXPECT_PROBLEM(shared("shard(mesh:[_,dp]) of [n,4]"), "on a mesh of tp=2");
  EXPECT_PROBLEM(shared("shard(mesh:[tp,tp]) of [n,4]"), "on a mesh of tp=2");
  EXPECT_PROBLEM(shared("shard(mesh:[_,tp],partial=[tp]) of [n,4]"), "is no part of a tensor");
  EXPECT_PROBLEM(shared("shard(mesh:[_,tp]) of [q,4]"), "symbol q");
}

TEST(PlanVerify, Commands) {
  EXPECT_PROBLEM(with("", "copy %x -> %c"), "differ");
  EXPECT_PROBLEM(with("tensor %t f32[3] #a", "copy %x -> %t"), "differ");
  EXPECT_EQ(problem(with("tensor %t f32[n] #a", "copy %x -> %t")), "");
  EXPECT_PROBLEM(with("", "fill %x 1.0"), "not writable");
  EXPECT_PROBLEM(with("", "launch @k(out %x) tasks 1"), "not writable");
  EXPECT_PROBLEM(with("tensor %t f32[2,4] #a strides [0,1]", "fill %t 1.0"), "stride of 0");
  EXPECT_EQ(problem(with("tensor %t f32[2,0] #a strides [0,1]", "fill %t 1.0")), "");
  EXPECT_PROBLEM(with("", "launch @k(q) tasks 1"), "symbol q");
  EXPECT_PROBLEM(with("", "launch @k() tasks 0-n"), "negative");
  EXPECT_PROBLEM(with("", "set q = 1"), "q that it sets");
  EXPECT_PROBLEM(with("", "read n = %x[0]"), "type f32");
  EXPECT_PROBLEM(with("", "if %x {}"), "not one bool");
  EXPECT_PROBLEM(with("", "loop 4 while %x {}"), "not one bool");
  EXPECT_PROBLEM(with("", "alloc %a"), "not dynamic");
  EXPECT_PROBLEM(with("", "swap %a, %y"), "cannot be swapped");
  EXPECT_PROBLEM(with("buffer #b arena bytes 16 live 0 .. 3 tensor %b f32[4] #b", "swap %a, %b"), "differ in size or lifetime");
  EXPECT_PROBLEM(with("", "select [n] { case [1 .. 2, 3 .. 4] {} }"), "4 bounds for 1 symbols");
  EXPECT_PROBLEM(with("", "collective all_reduce(%x -> %y) group tp"), "no group tp");
  EXPECT_PROBLEM(with("buffer #p prepared bytes 16 tensor %p f32[4] #p", "fill %p 1.0"), "not writable");
  EXPECT_PROBLEM(with("prepare { copy %x -> %a }", ""), "does not exist while weights are prepared");
  EXPECT_PROBLEM(with("buffer #t arena prepare bytes 16 live 0 .. 0 tensor %t f32[4] #t", "copy %x -> %t"), "of the prepare region");
  Plan p = parse(with("", "copy %x -> %y nodes [\"Identity_3\"]"));
  p.main.commands[0].tensors.pop_back();
  Status s = verify_plan(p);
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.error().node, "Identity_3");
  EXPECT_NE(s.error().message.find("command 0 (copy): it has 1 tensors"), std::string::npos) << s.error().message;
  p.main.commands[0].tensors = {0, 99};
  EXPECT_FALSE(verify_plan(p).ok());
}

TEST(PlanVerify, Arena) {
  auto two = [](const std::string& b1, const std::string& b2) {
    return with("buffer #p arena bytes 100 " + b1 + " buffer #q arena bytes 100 " + b2, "", "arena 256");
  };
  EXPECT_EQ(problem(two("offset 0 live 0 .. 3", "offset 128 live 3 .. 4")), "");
  EXPECT_EQ(problem(two("offset 0 live 0 .. 3", "offset 64 live 4 .. 5")), "");
  EXPECT_PROBLEM(two("offset 0 live 0 .. 3", "offset 64 live 3 .. 4"), "share bytes");
  EXPECT_PROBLEM(two("offset 64 live 3 .. 4", "offset 0 live 0 .. 3"), "share bytes");
  EXPECT_PROBLEM(two("offset 192 live 0 .. 3", ""), "of an arena of 256");
  EXPECT_PROBLEM(two("live 3 .. 0", ""), "malformed");
  EXPECT_PROBLEM(with("buffer #b arena bytes 16 live 1 .. 1 tensor %b f32[4] #b", "copy %x -> %b copy %b -> %y"), "needed from 0 to 1");
  EXPECT_PROBLEM(with("buffer #b arena bytes 16 tensor %b f32[4] #b", "copy %x -> %b"), "needed from 0 to 0");
}

// The lifetimes of buffer #b in a plan with this body.
std::pair<int, int> lifetime(const std::string& body, const std::string& more = "") {
  Plan p = parse(with(
      "buffer #b arena bytes 16 tensor %b f32[4] #b tensor %b2 f32[2] #b buffer #d arena bytes 16 tensor %d f32[4] #d"
      " buffer #e arena bytes 1 tensor %e bool[] #e " +
          more,
      body));
  assign_lifetimes(p);
  EXPECT_EQ(verify_plan(p).ok(), true) << verify_plan(p).error().to_string();
  return {p.buffers[4].first, p.buffers[4].last};
}
using Live = std::pair<int, int>;

TEST(PlanVerify, Lifetimes) {
  EXPECT_EQ(lifetime("copy %x -> %y"), Live(-1, -1));
  EXPECT_EQ(lifetime("copy %x -> %y copy %x -> %b copy %x -> %y copy %b -> %y"), Live(1, 3));
  // Made and used within an iteration.
  EXPECT_EQ(lifetime("copy %x -> %y loop 4 { copy %x -> %b copy %b -> %y copy %x -> %y }"), Live(2, 3));
  // Read before it is written: the value of the iteration before.
  EXPECT_EQ(lifetime("copy %x -> %y loop 4 { copy %x -> %y copy %b -> %y copy %x -> %b copy %x -> %y }"), Live(1, 5));
  // Written in part only, or under a condition, or by a kernel that also reads it.
  EXPECT_EQ(lifetime("loop 4 { fill %b2 0.0 copy %b -> %y }"), Live(0, 2));
  EXPECT_EQ(lifetime("loop 4 { if %c { copy %x -> %b } copy %b -> %y }"), Live(0, 3));
  EXPECT_EQ(lifetime("loop 4 { if %c { copy %x -> %b copy %b -> %y } copy %x -> %y }"), Live(2, 3));
  EXPECT_EQ(lifetime("loop 4 { launch @k(inout %b) tasks 1 copy %b -> %y }"), Live(0, 2));
  EXPECT_EQ(lifetime("loop 4 { launch @k(%b, out %b) tasks 1 copy %b -> %y }"), Live(0, 2));
  EXPECT_EQ(lifetime("loop 4 { launch @k(out %b) tasks 1 copy %b -> %y }"), Live(1, 2));
  // Inside and outside.
  EXPECT_EQ(lifetime("copy %x -> %b loop 4 { copy %b -> %y copy %x -> %y } copy %x -> %y"), Live(0, 3));
  EXPECT_EQ(lifetime("loop 4 { copy %x -> %y copy %x -> %b } copy %b -> %y"), Live(0, 3));
  EXPECT_EQ(lifetime("loop 4 { loop 4 { copy %x -> %b copy %b -> %y } copy %x -> %y }"), Live(2, 3));
  EXPECT_EQ(lifetime("loop 4 { copy %x -> %b loop 4 { copy %b -> %y } copy %x -> %y }"), Live(1, 3));
  // A loop's condition.
  EXPECT_EQ(lifetime("fill %e 1.0 loop 4 while %e { copy %x -> %y copy %x -> %y }"), Live(-1, -1));
  // Swapped with a longer-lived one.
  EXPECT_EQ(lifetime("copy %x -> %d copy %x -> %b swap %b, %d copy %b -> %y copy %d -> %y"), Live(0, 4));
  // An output that is copied at the end.
  EXPECT_EQ(lifetime("copy %x -> %b copy %x -> %y copy %x -> %y", "output z %b"), Live(0, 2));
}

// Two streams over a device plan; the arena's #a and #b have no offsets.
std::string streams(const std::string& body, const std::string& more = "") {
  return R"(wplan 1 kernel @k group tp axes ["tp"]
buffer #x input 0 bytes 16 buffer #a arena bytes 16 live 0 .. 20 buffer #y output 0 bytes 16
buffer #p arena bytes 16 live 0 .. 1 buffer #q arena bytes 16 live 2 .. 3
tensor %x f32[4] #x tensor %a f32[4] #a tensor %lo f32[2] #a tensor %hi f32[2] #a offset 8 tensor %y f32[4] #y
tensor %p f32[4] #p tensor %q f32[4] #q buffer #c arena bytes 1 live 0 .. 20 tensor %c bool[] #c
input x %x output y %y )" + more + " main {" + body + "}";
}

TEST(PlanVerify, Streams) {
  const std::string write = "launch @k(%x, out %a) tasks 1 ", read = "launch @k(%a, out %y) tasks 1 ", on1 = "stream 1 ";
  EXPECT_EQ(problem(streams(write + read)), "");
  EXPECT_PROBLEM(streams(write + read + on1), "not ordered");
  EXPECT_EQ(problem(streams(write + "record 0 wait 0 " + on1 + read + on1)), "");
  EXPECT_PROBLEM(streams("record 0 " + write + "wait 0 " + on1 + read + on1), "not ordered");
  EXPECT_PROBLEM(streams(write + "record 0 wait 1 " + on1 + read + on1), "not ordered");
  // Through a third stream.
  EXPECT_EQ(problem(streams(write + "record 0 wait 0 stream 2 record 1 stream 2 wait 1 " + on1 + read + on1)), "");
  // Reading is no conflict, nor are different bytes of a buffer.
  EXPECT_EQ(problem(streams("launch @k(%x, out %a) tasks 1 launch @k(%x, out %y) tasks 1 " + on1)), "");
  EXPECT_EQ(problem(streams("launch @k(out %lo) tasks 1 launch @k(out %hi) tasks 1 " + on1)), "");
  EXPECT_PROBLEM(streams("launch @k(out %lo) tasks 1 launch @k(out %a) tasks 1 " + on1), "not ordered");
  // Write after read.
  EXPECT_PROBLEM(streams(write + "record 0 wait 0 " + on1 + read + on1 + write), "not ordered");
  EXPECT_EQ(problem(streams(write + "record 0 wait 0 " + on1 + read + on1 + "record 1 " + on1 + "wait 1 " + write)), "");
  // The same bytes of the arena later on.
  EXPECT_PROBLEM(streams("launch @k(out %p) tasks 1 launch @k(out %y) tasks 1 launch @k(out %q) tasks 1 " + on1), "share bytes");
  EXPECT_EQ(problem(streams("launch @k(out %p) tasks 1 record 0 wait 0 " + on1 + "launch @k(out %q) tasks 1 " + on1)), "");
  // The second iteration against the first.
  EXPECT_PROBLEM(streams("loop 2 { launch @k(out %a) tasks 1 record 0 wait 0 " + on1 + read + on1 + "}"), "not ordered");
  EXPECT_EQ(problem(streams("loop 2 { launch @k(out %a) tasks 1 record 0 wait 0 " + on1 + read + on1 + "record 1 " + on1 + "wait 1 }")), "");
  // The host waits for a condition, and thereby for what came before it.
  EXPECT_EQ(problem(streams(write + "fill %c 1.0 if %c {} " + read + on1)), "");
  // Ordered on one branch only.
  EXPECT_PROBLEM(streams("if %c {} " + write + "record 0 select [] { case [] { wait 0 " + on1 + "} } " + read + on1), "not ordered");
  // A collective runs until it is waited for.
  const std::string reduce = "collective all_reduce(%a -> %y) group tp ";
  EXPECT_EQ(problem(streams(write + reduce + "event 3 wait_collective 3 launch @k(%y, out %a) tasks 1")), "");
  EXPECT_PROBLEM(streams(write + reduce + "event 3 launch @k(%y, out %y) tasks 1"), "collective 3");
}

}  // namespace
}  // namespace weft::plan_verify_test
