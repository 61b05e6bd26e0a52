// States: values that a context keeps.
#include "tests/api/api_support.h"

namespace weft::api_test {
namespace {

// total' = total + x; before = total * 1.
constexpr const char* kCounter = R"(weft.module 1 "counter"
const @one : f32[] = 1.0
state total : overwrite @main %total -> %next
graph @main(%x: f32[2], %total: f32[2]) -> (next = %next, before = %before) {
  %one = constant @one : f32[]
  %next = add(%total, %x) : f32[2] loc("Add_0")
  %before = mul(%total, %one) : f32[2] loc("Mul_1")
}
)";

// The rows seen so far, and their sum.
constexpr const char* kHistory = R"(weft.module 1 "history"
symbol past = 0..100
symbol room = 1..100
symbol rows = 1..8
const @axes : i64[1] = [0]
state seen : append(axis=0, length=past, capacity=room) @main %past_rows -> %all
graph @main(%x: f32[rows,2], %past_rows: f32[past,2]) -> (all = %all, sum = %sum) {
  %axes = constant @axes : i64[1]
  %all = concat(%past_rows, %x) {axis=0} : f32[past+rows,2] loc("Concat_0")
  %sum = reduce_sum(%all, %axes) {keepdims=false} : f32[2] loc("Sum_1")
}
)";

std::vector<float> step(Context& c, std::vector<float> x, const char* output) {
  const auto rows = static_cast<int64_t>(x.size() / 2);
  auto out = c.run({{"x", Tensor::view(x.data(), std::string(output) == "sum" ? Tensor::Dims{rows, 2} : Tensor::Dims{2})}});
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  return out.ok() ? floats((*out)[output]) : std::vector<float>();
}

TEST(States, AreNoInputsAndOutputs) {
  Executable exe = compiled(kCounter);
  ASSERT_EQ(exe.inputs().size(), 1u);
  ASSERT_EQ(exe.outputs().size(), 1u);
  ASSERT_EQ(exe.states().size(), 1u);
  EXPECT_EQ(exe.states()[0].name, "total");
  EXPECT_EQ(exe.states()[0].axis, -1);
  EXPECT_EQ(compiled(kHistory).states()[0].axis, 0);
}

TEST(States, CarryOverAndReset) {
  Executable exe = compiled(kCounter);
  Context c = exe.context();
  EXPECT_EQ(step(c, {1, 2}, "before"), (std::vector<float>{0, 0}));
  EXPECT_EQ(step(c, {1, 2}, "before"), (std::vector<float>{1, 2}));
  EXPECT_EQ(floats(*c.state("total")), (std::vector<float>{2, 4}));
  Context other = exe.context();
  EXPECT_EQ(step(other, {5, 5}, "before"), (std::vector<float>{0, 0}));
  ASSERT_TRUE(c.reset_state("total").ok());
  EXPECT_EQ(step(c, {1, 2}, "before"), (std::vector<float>{0, 0}));
  ASSERT_TRUE(c.reset_states().ok());
  EXPECT_EQ(step(c, {3, 3}, "before"), (std::vector<float>{0, 0}));
  EXPECT_ERROR(c.reset_state("nothing"), kUsage);
  EXPECT_ERROR(c.state("nothing"), kUsage);
}

TEST(States, Grow) {
  Executable exe = compiled(kHistory);
  Context c = exe.context();
  EXPECT_EQ(step(c, {1, 10}, "sum"), (std::vector<float>{1, 10}));
  EXPECT_EQ(step(c, {2, 20, 3, 30}, "sum"), (std::vector<float>{6, 60}));
  auto seen = c.state("seen");
  ASSERT_TRUE(seen.ok());
  EXPECT_EQ(seen->dims(), (Tensor::Dims{3, 2}));
  EXPECT_EQ(floats(*seen), (std::vector<float>{1, 10, 2, 20, 3, 30}));
  for (int i = 0; i < 40; ++i) step(c, {0, 1}, "sum");
  EXPECT_EQ(step(c, {0, 0}, "sum"), (std::vector<float>{6, 100}));
  ASSERT_TRUE(c.reset_state("seen").ok());
  EXPECT_EQ(step(c, {7, 7}, "sum"), (std::vector<float>{7, 7}));
}

TEST(States, NoFurtherThanTheirRange) {
  Executable exe = compiled(kHistory);
  Context c = exe.context();
  std::vector<float> x(16, 1);
  for (int i = 0; i < 12; ++i) ASSERT_EQ(step(c, x, "sum").size(), 2u);  // 96 rows
  auto out = c.run({{"x", Tensor::view(x.data(), {8, 2})}});
  EXPECT_ERROR(out, kResources);
  EXPECT_EQ(c.state("seen")->dims()[0], 96);
}

TEST(States, Fork) {
  Executable exe = compiled(kHistory);
  Context a = exe.context();
  step(a, {1, 1, 2, 2}, "sum");
  auto b = a.fork();
  ASSERT_TRUE(b.ok()) << b.error().to_string();
  EXPECT_EQ(step(*b, {10, 0}, "sum"), (std::vector<float>{13, 3}));
  EXPECT_EQ(step(a, {0, 10}, "sum"), (std::vector<float>{3, 13}));
}

// On the host the next value is computed where the last but one was, and never copied.
TEST(States, OverwrittenOnesChangePlaces) {
  Executable exe = compiled(kCounter);
  EXPECT_NE(exe.plan_text().find("swap %"), std::string::npos) << exe.plan_text();
  const std::string text = exe.plan_text();  // whose one copy is of the old value, to the output
  EXPECT_EQ(text.find("copy %"), text.rfind("copy %")) << text;
  Context c = exe.context();
  for (float k = 0; k < 5; ++k) EXPECT_EQ(step(c, {1, 2}, "before"), (std::vector<float>{k, 2 * k}));
  auto fork = c.fork();
  ASSERT_TRUE(fork.ok());
  EXPECT_EQ(step(c, {0, 0}, "before"), (std::vector<float>{5, 10}));
  EXPECT_EQ(step(*fork, {1, 1}, "before"), (std::vector<float>{5, 10}));
  EXPECT_EQ(floats(*fork->state("total")), (std::vector<float>{6, 11}));
}

// A value that is an output as well, or the next value of two states, is copied.
TEST(States, SharedNextValues) {
  Executable exe = compiled(R"(weft.module 1 "shared"
state a : overwrite @main %a -> %a_next
state b : overwrite @main %b -> %b_next
graph @main(%x: f32[2], %a: f32[2], %b: f32[2]) -> (a_next = %sum, b_next = %sum, sum = %sum, last = %last) {
  %sum = add(%a, %x) : f32[2] loc("Add_0")
  %last = sub(%sum, %b) : f32[2] loc("Sub_1")
}
)");
  Context c = exe.context();
  EXPECT_EQ(step(c, {1, 2}, "last"), (std::vector<float>{1, 2}));
  EXPECT_EQ(step(c, {3, 4}, "last"), (std::vector<float>{3, 4}));
  EXPECT_EQ(floats(*c.state("a")), (std::vector<float>{4, 6}));
  EXPECT_EQ(floats(*c.state("b")), (std::vector<float>{4, 6}));
  EXPECT_EQ(step(c, {0, 0}, "last"), (std::vector<float>{0, 0}));
}

// A value that moves on by one place: each state's next value is another one's last.
TEST(States, TakeEachOthersOldValues) {
  Executable exe = compiled(R"(weft.module 1 "shift"
state first : overwrite @main %first -> %first_next
state second : overwrite @main %second -> %second_next
graph @main(%x: f32[2], %first: f32[2], %second: f32[2]) -> (first_next = %x, second_next = %first, oldest = %oldest) {
  %oldest = identity(%second) : f32[2] loc("Identity_0")
}
)");
  Context c = exe.context();
  step(c, {1, 1}, "oldest");
  step(c, {2, 2}, "oldest");
  EXPECT_EQ(step(c, {3, 3}, "oldest"), (std::vector<float>{1, 1}));
  EXPECT_EQ(step(c, {4, 4}, "oldest"), (std::vector<float>{2, 2}));
}

}  // namespace
}  // namespace weft::api_test
