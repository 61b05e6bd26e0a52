// Which collectives run beside other commands, and where they are waited for.
#include "codegen/lower/assign_streams.h"

#include <gmock/gmock.h>

#include <random>

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

// Chains that split and meet at random, in an arena as tight as lifetimes allow: the verifier finds nothing out of order.
TEST(AssignStreams, RandomPlansAreInOrder) {
  std::mt19937 random(7);
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int with_two = 0;
  for (int round = 0; round < 300; ++round) {
    const int n = 20 + below(150), near = 1 + below(6);
    std::string text = "wplan 1 mesh @mesh = tp:2 group tp axes [\"tp\"] kernel @k object 0 threads 1\nbuffer #x input 0 bytes 64 tensor %t0 f32[16] #x\n";
    for (int i = 1; i <= n; ++i) {
      const std::string name = std::to_string(i);
      text += "buffer #b" + name + " arena bytes 64 tensor %t" + name + " f32[16] #b" + name + "\n";
    }
    text += "buffer #y output 0 bytes 64 tensor %y f32[16] #y input x %t0 output y %y\nmain {\n";
    auto one = [&](int i) { return "%t" + std::to_string(std::max(0, i - 1 - below(near))); };
    for (int i = 1; i <= n; ++i) {
      const std::string out = "t" + std::to_string(i);
      if (below(3) == 0) text += "collective all_reduce(" + one(i) + " -> %" + out + ")" + kSum + "\n";
      else if (below(40) == 0) text += "fill %" + out + " 1.0\n";
      else text += launch(one(i) + ", " + one(i) + ", out %" + out) + "\n";
    }
    text += launch("%t" + std::to_string(n) + ", out %y") + "}";
    auto p = parse_plan(text);
    ASSERT_TRUE(p.ok()) << p.error().to_string();
    assign_streams(*p);
    assign_lifetimes(*p);
    widen_lifetimes(*p);
    std::vector<ArenaRequest> requests;
    std::vector<PlanBuffer*> placed;
    for (PlanBuffer& b : p->buffers)
      if (b.storage == Storage::arena && b.first >= 0) {
        requests.push_back({64, 64, b.first, b.last});
        placed.push_back(&b);
      }
    const ArenaLayout layout = plan_arena(requests);
    for (size_t k = 0; k < placed.size(); ++k) placed[k]->offset = layout.offsets[k];
    p->arena_bytes = layout.bytes;
    Status s = verify_plan(*p);
    ASSERT_TRUE(s.ok()) << s.error().to_string() << "\n" << print_plan(*p);
    with_two += std::any_of(p->main.commands.begin(), p->main.commands.end(), [](const Command& c) { return c.stream == 1; });
  }
  EXPECT_GT(with_two, 100);
}

}  // namespace
}  // namespace weft
