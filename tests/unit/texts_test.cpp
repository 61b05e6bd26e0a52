// The three texts of what is expensive to change: a decode step with a state, a sharded product with a collective, a
// quantised product, a branch. Each prints, parses back equal, and prints the same again; as does what it is lowered to.
#include <gtest/gtest.h>

#include "codegen/lower/lower.h"
#include "ir/core/verifier.h"
#include "ir/text/parser.h"
#include "ir/text/printer.h"
#include "passes/pass_manager.h"

namespace weft::texts_test {
namespace {

constexpr const char* kDecode = R"(weft.module 1 "decode"
symbol past = 0..256
symbol room = 1..256
state keys : append(axis=2, length=past, capacity=room) @main %past_k -> %present_k
state values : append(axis=2, length=past, capacity=room) @main %past_v -> %present_v
state last : overwrite @main %before -> %y
graph @main(
    %q: f32[1,4,1,8],
    %k: f32[1,2,1,8],
    %v: f32[1,2,1,8],
    %past_k: f32[1,2,past,8],
    %past_v: f32[1,2,past,8],
    %before: f32[1,4,1,8]) -> (present_k = %pk, present_v = %pv, y = %y, moved = %moved) {
  %pk = concat(%past_k, %k) {axis=2} : f32[1,2,past+1,8] loc("Concat_0")
  %pv = concat(%past_v, %v) {axis=2} : f32[1,2,past+1,8] loc("Concat_1")
  %y = attention(%q, %pk, %pv) : f32[1,4,1,8] loc("Attention_2")
  %moved = sub(%y, %before) : f32[1,4,1,8] loc("Sub_3")
}
)";

constexpr const char* kSharded = R"(weft.module 1 "sharded"
mesh @grid = dp:2,tp:4
const @w : f32[8,16] = splat(0.5)
graph @main(%x: f32[batch,8] shard(grid:[_,tp])) -> (y = %y) {
  %w = constant @w : f32[8,16] shard(grid:[tp,_])
  %p = contract(%x, %w) {spec="mk,kn->mn"} : f32[batch,16] shard(grid:[_,_],partial=[tp]) loc("MatMul_0")
  %y = all_reduce(%p) {mesh="grid", axes=["tp"]} : f32[batch,16] loc("MatMul_0")
}
)";

constexpr const char* kReduced = R"(weft.module 1 "reduced"
mesh @grid = dp:2,tp:4
graph @main(%x: f32[8,12]) -> (y = %y, z = %z) {
  %y = reduce_max(%x) : f32[1,1] shard(grid:[_,_],partial=[dp:max,tp:max]) loc("ReduceMax_0")
  %z = reduce_l2(%x) : f32[1,1] shard(grid:[_,_],joined=[tp]) loc("ReduceL2_1")
}
)";

constexpr const char* kScaled = R"(weft.module 1 "scaled"
const @w : i8[64,32] = splat(3)
const @scale : f32[2,32] = splat(0.25)
graph @main(%x: f32[batch,64]) -> (y = %y) {
  %w = constant @w : i8[64,32]
  %scale = constant @scale : f32[2,32]
  %y = contract(%x, %w, _, _, %scale) {spec="mk,kn->mn"} : f32[batch,32] loc("MatMulNBits_0")
}
)";

// The same as exporters write it, which is what kernels are made of today.
constexpr const char* kDequantised = R"(weft.module 1 "dequantised"
graph @main(%x: f32[batch,64], %w: i8[64,32], %scale: f32[2,32]) -> (y = %y) {
  %d = dequantize_linear(%w, %scale) {axis=0, block_size=32} : f32[64,32] loc("Dequantize_0")
  %y = contract(%x, %d) {spec="mk,kn->mn"} : f32[batch,32] loc("MatMul_1")
}
)";

constexpr const char* kBranch = R"(weft.module 1 "branch"
graph @main(%c: bool[], %x: f32[batch,3]) -> (y = %y) {
  %y = if_else(%c, %x) then(%a: f32[batch,3]) -> (%b) {
    %b = neg(%a) : f32[batch,3] loc("Neg_0")
  } else(%a: f32[batch,3]) -> (%b) {
    %b = reject() {text="no such dims", type=f32[4,3]} : f32[4,3] loc("Exp_1")
  } : f32[u0,3] loc("If_2")
}
)";

std::unique_ptr<Module> parsed(const std::string& text) {
  auto m = parse_module(text);
  EXPECT_TRUE(m.ok()) << m.error().to_string();
  if (!m.ok()) return nullptr;
  Status s = verify_module(**m);
  EXPECT_TRUE(s.ok()) << s.error().to_string();
  return std::move(*m);
}
void expect_module(const std::string& text) {
  auto m = parsed(text);
  ASSERT_TRUE(m);
  EXPECT_EQ(print_module(*m), text);
}

void expect_spec(KernelSpec s) {
  s.runners_up.clear();  // comments
  const std::string text = print_spec(s);
  auto back = parse_spec(text);
  ASSERT_TRUE(back.ok()) << back.error().to_string() << "\n" << text;
  EXPECT_EQ(print_spec(*back), text);
  EXPECT_EQ(back->params, s.params);
  EXPECT_EQ(back->axes, s.axes) << text;
  EXPECT_EQ(back->operands, s.operands) << text;
  EXPECT_EQ(back->stages, s.stages) << text;
  EXPECT_EQ(back->config, s.config) << text;
  EXPECT_EQ(back->tasks, s.tasks) << text;
  EXPECT_EQ(back->ordered, s.ordered) << text;
}

void expect_plan(const Plan& p) {
  const std::string text = print_plan(p);
  auto back = parse_plan(text);
  ASSERT_TRUE(back.ok()) << back.error().to_string() << "\n" << text;
  EXPECT_EQ(print_plan(*back), text);
  Status s = verify_plan(*back);
  EXPECT_TRUE(s.ok()) << s.error().to_string();
}

// After the passes, as a module again, and everything it is lowered to. Returns the plan's text.
std::string expect_lowered(const std::string& text, const char* target) {
  auto m = parsed(text);
  if (!m) return "";
  PassContext cx;
  cx.target = *parse_target(target);
  Status s = run_pipeline(*m, cx, {.opt_level = 2});
  EXPECT_TRUE(s.ok()) << s.error().to_string();
  expect_module(print_module(*m));
  auto lowered = lower_module(*m, cx.target);
  EXPECT_TRUE(lowered.ok()) << lowered.error().to_string();
  if (!lowered.ok()) return "";
  for (KernelSpec k : lowered->front().specs) {
    expect_spec(k);
    k.ordered = true;
    expect_spec(k);
  }
  expect_plan(lowered->front().plan);
  return print_plan(lowered->front().plan);
}

constexpr const char* kTargets[] = {"cpu:x86-64-v3", "cuda:sm_90a"};

TEST(Texts, ADecodeStep) {
  expect_module(kDecode);
  for (const char* target : kTargets) {
    const std::string plan = expect_lowered(kDecode, target);
    EXPECT_NE(plan.find("append 2 length past capacity room"), std::string::npos) << plan;
  }
}

// Collectives have no plan yet; the plan's own text of them is in plan_text_test.
TEST(Texts, AShardedProduct) { expect_module(kSharded); }
TEST(Texts, ShardedReductions) {
  expect_module(kReduced);
  auto with = [](const std::string& form) {
    std::string text = kReduced;
    return parse_module(text.replace(text.find("dp:max,tp:max"), 13, form));
  };
  EXPECT_NE(with("dp:max,tp").error().message.find("waits for two reductions, max and sum"), std::string::npos);
  EXPECT_NE(with("dp:median").error().message.find("no reduction \"median\""), std::string::npos);
}

TEST(Texts, AQuantisedProduct) {
  expect_module(kScaled);
  expect_module(kDequantised);
  for (const char* target : kTargets) EXPECT_FALSE(expect_lowered(kDequantised, target).empty());
}

TEST(Texts, ABranch) {
  expect_module(kBranch);
  for (const char* target : kTargets) {
    const std::string plan = expect_lowered(kBranch, target);
    EXPECT_NE(plan.find("} else {"), std::string::npos) << plan;
    EXPECT_NE(plan.find("check 0 \"no such dims\""), std::string::npos) << plan;
  }
}

}  // namespace
}  // namespace weft::texts_test
