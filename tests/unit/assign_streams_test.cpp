// Which collectives run beside other commands, and where they are waited for.
#include "codegen/lower/assign_streams.h"

#include <gmock/gmock.h>

namespace weft {
namespace {

// y and z are summed over ranks; each buffer has 64 bytes, and #both two tensors of 32.
constexpr const char* kTables = R"(wplan 1 mesh @mesh = tp:2 group tp axes ["tp"]
kernel @k object 0 threads 1
buffer #x input 0 bytes 64 buffer #a arena bytes 64 buffer #b arena bytes 64 buffer #c arena bytes 64 buffer #both arena bytes 64
tensor %x f32[16] #x tensor %a f32[16] #a tensor %b f32[16] #b tensor %c f32[16] #c
tensor %left f32[8] #both tensor %right f32[8] #both offset 32
input x %x output c %c
)";
constexpr const char* kSum = R"( group tp "reduction=sum" )";

// The kinds of commands in order, with events, and with streams other than 0.
std::string started(const std::string& commands) {
  auto p = parse_plan(kTables + ("main { " + commands + " }"));
  EXPECT_TRUE(p.ok()) << p.error().to_string();
  if (!p.ok()) return "";
  assign_streams(*p);
  assign_lifetimes(*p);
  widen_lifetimes(*p);
  Status s = verify_plan(*p);
  EXPECT_TRUE(s.ok()) << s.error().to_string();
  std::string out;
  for (const Command& c : p->main.commands) {
    out += (out.empty() ? "" : " ") + std::string(command_name(c.kind));
    if (c.event >= 0) out += std::to_string(c.event);
    if (c.stream > 0) out += "/" + std::to_string(c.stream);
  }
  return out;
}
std::string launch(const std::string& operands) { return "launch @k(" + operands + ") tasks 1 "; }
std::string sum(const std::string& from, const std::string& to) { return "collective all_reduce(%" + from + " -> %" + to + ")" + kSum; }

TEST(AssignStreams, BesideWhatNeedsNothingOfIt) {
  const std::string make = launch("%x, out %a");
  EXPECT_EQ(started(make + sum("a", "b") + launch("%b, out %c")), "launch collective launch");
  EXPECT_EQ(started(make + sum("a", "b") + launch("%x, out %c") + launch("%b, inout %c")), "launch collective0 launch wait_collective0 launch");
  // Its operand is read, which it reads, too; then written over.
  EXPECT_EQ(started(make + sum("a", "b") + launch("%a, out %c") + launch("%x, out %a") + launch("%b, inout %c")),
            "launch record0 collective0 wait0/1 launch/1 record1/1 wait1 wait_collective0 launch wait_collective0/1 launch/1 record2/1 wait2");
}

TEST(AssignStreams, OneBehindTheOther) {
  const std::string both = launch("%x, out %a") + sum("a", "b") + launch("%x, out %left");
  EXPECT_EQ(started(both + sum("left", "right") + launch("%b, out %c") + launch("%right, inout %c")),
            "launch collective0 launch collective1 wait_collective0/1 launch/1 record0/1 wait0 wait_collective1 launch");
  // The second one reads what the first one makes, and nothing is beside it.
  EXPECT_EQ(started(both + sum("b", "c") + launch("%left, out %right")), "launch collective0 launch wait_collective0/1 collective0/1 launch wait_collective0");
}

TEST(AssignStreams, PartsOfABufferAreApart) {
  EXPECT_EQ(started(launch("%x, out %a") + launch("%x, out %left") + sum("left", "left") + launch("%x, out %right") + launch("%left, %right, out %c")),
            "launch launch collective0 launch wait_collective0 launch");
}

TEST(AssignStreams, ControlFlowWaits) {
  EXPECT_EQ(started(launch("%x, out %a") + sum("a", "b") + launch("%x, out %c") + "loop 2 { " + launch("%x, out %c") + "} " + launch("%b, inout %c")),
            "launch collective0 launch wait_collective0 loop launch");
}

}  // namespace
}  // namespace weft
