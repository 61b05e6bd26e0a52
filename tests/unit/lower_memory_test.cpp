// Where the lowering lets values lie: in the memory of outputs, of concats and of operands that are not needed any more.
#include <gtest/gtest.h>

#include "codegen/lower/lower.h"
#include "ir/text/parser.h"
#include "passes/pass_manager.h"

namespace weft {
namespace {

Plan plan_after(const std::string& body, int opt_level = 2) {
  auto m = parse_module("weft.module 1 \"m\"\n" + body);
  EXPECT_TRUE(m.ok()) << m.error().to_string();
  PassContext cx;
  cx.target = *parse_target("cpu:x86-64-v3");
  Status s = run_pipeline(**m, cx, {.opt_level = opt_level});
  EXPECT_TRUE(s.ok()) << s.error().to_string();
  auto lowered = lower_module(**m, cx.target);
  EXPECT_TRUE(lowered.ok()) << lowered.error().to_string();
  Status v = verify_plan(lowered->front().plan);
  EXPECT_TRUE(v.ok()) << v.error().to_string();
  return std::move(lowered->front().plan);
}

int count(const Plan& p, CommandKind k) {
  int n = 0, number = 0;
  for_each_command(p.main, [&](const Command& c, int) { n += c.kind == k; }, number);
  return n;
}

TEST(LowerMemory, HeadsGoBackWithoutACopy) {
  Plan p = plan_after(R"(const @shape : i64[3] = [2, 4, 24]
graph @main(%p: f32[2,3,4,4], %v: f32[2,3,4,8], %w: f32[24,5]) -> (y = %3) {
  %0 = softmax(%p) {axis=-1}
  %a = contract(%0, %v) {spec="bhst,bhtd->bhsd"}
  %1 = transpose(%a) {perm=[0,2,1,3]}
  %shape = constant @shape : i64[3]
  %2 = reshape(%1, %shape)
  %3 = contract(%2, %w) {spec="bmk,kn->bmn"}
}
)");
  EXPECT_EQ(count(p, CommandKind::copy), 0) << print_plan(p);
  EXPECT_EQ(count(p, CommandKind::launch), 3) << print_plan(p);
}

TEST(LowerMemory, AnOutputBehindViewsIsComputedInItsPlace) {
  Plan p = plan_after(R"(const @shape : i64[2] = [2, 12]
graph @main(%x: f32[3,2,4]) -> (y = %2, z = %3) {
  %0 = exp(%x)
  %1 = transpose(%0) {perm=[1,0,2]}
  %shape = constant @shape : i64[2]
  %2 = reshape(%1, %shape)
  %a = sqrt(%x)
  %3 = transpose(%a) {perm=[2,0,1]}
}
)");
  EXPECT_EQ(count(p, CommandKind::copy), 0) << print_plan(p);
  EXPECT_EQ(p.arena_bytes, 0) << print_plan(p);
}

TEST(LowerMemory, AResultTakesTheMemoryOfAnOperandThatEnds) {
  // Two products, added in the second one's place: 2 x 4 KiB live, not 3.
  Plan p = plan_after(R"(graph @main(%x: f32[32,32], %w: f32[32,32]) -> (y = %4) {
  %0 = contract(%x, %w) {spec="mk,kn->mn"}
  %1 = contract(%0, %x) {spec="mk,kn->mn"}
  %2 = add(%0, %1)
  %3 = contract(%2, %2) {spec="mk,kn->mn"}
  %4 = contract(%3, %2) {spec="mk,kn->mn"}
}
)");
  EXPECT_EQ(p.arena_bytes, 2 * 32 * 32 * 4) << print_plan(p);
}

TEST(LowerMemory, AnOperandReadElsewhereKeepsItsMemory) {
  // A softmax may be written over its row; a transposed read may not.
  Plan p = plan_after(R"(graph @main(%x: f32[32,32], %w: f32[32,32]) -> (y = %5) {
  %0 = contract(%x, %w) {spec="mk,kn->mn"}
  %1 = softmax(%0) {axis=-1}
  %2 = contract(%1, %w) {spec="mk,kn->mn"}
  %3 = transpose(%2) {perm=[1,0]}
  %4 = exp(%3)
  %5 = contract(%4, %4) {spec="mk,kn->mn"}
}
)", 0);
  // %0 and %1 share; %2 and %4 do not.
  std::set<int> buffers;
  for (const PlanBuffer& b : p.buffers)
    if (b.storage == Storage::arena && b.first >= 0) buffers.insert(static_cast<int>(&b - p.buffers.data()));
  EXPECT_EQ(buffers.size(), 3u) << print_plan(p);
}

TEST(LowerMemory, AConvolutionWritesIntoThePaddedOperandOfTheNext) {
  Plan p = plan_after(R"(const @w : f32[8,8,1,1] = splat(0.5)
const @k : f32[8,8,3,3] = splat(0.25)
graph @main(%x: f32[1,8,14,14]) -> (y = %2) {
  %w = constant @w : f32[8,8,1,1]
  %k = constant @k : f32[8,8,3,3]
  %0 = conv(%x, %w)
  %1 = relu(%0)
  %2 = conv(%1, %k) {pads=[1,1,1,1]}
}
)");
  EXPECT_EQ(count(p, CommandKind::launch), 2) << print_plan(p);
  EXPECT_EQ(count(p, CommandKind::fill), 4) << print_plan(p);
  EXPECT_EQ(p.arena_bytes, 8 * 16 * 16 * 4) << print_plan(p);
}

}  // namespace
}  // namespace weft
