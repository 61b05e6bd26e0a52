// Steady runs of a compiled model allocate nothing on the heap.
#include "tests/api/api_support.h"
#include "tests/support/allocation_counter.h"

namespace weft::api_test {
namespace {

int steady_allocations(Context& c, std::vector<Tensor> in, std::vector<Tensor> out) {
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(c.run(in, out).ok());
  bool fine = true;
  int n = count_allocations([&] {
    for (int i = 0; i < 20; ++i) fine = c.run(in, out).ok() && fine;
  });
  EXPECT_TRUE(fine);
  return n;
}

TEST(Allocations, NoneInSteadyRuns) {
  Executable exe = compiled(layer_text(), {.threads = 2, .shapes = {"x=64x3"}});
  Context c = exe.context();
  std::vector<float> x(192, 1), y(128), sum(64);
  EXPECT_EQ(steady_allocations(c, {Tensor::view(x.data(), {64, 3})}, std::vector<Tensor>(2)), 0);
  EXPECT_EQ(steady_allocations(c, {Tensor::view(x.data(), {64, 3})}, {Tensor::view(y.data(), {64, 2}), Tensor::view(sum.data(), {64, 1})}), 0);
}

TEST(Allocations, NoneForStridedInputsAndOpenDims) {
  Executable exe = compiled(layer_text());
  Context c = exe.context();
  std::vector<float> x(192, 1);
  EXPECT_EQ(steady_allocations(c, {Tensor::view(x.data(), DType::f32, {64, 3}, {1, 64})}, std::vector<Tensor>(2)), 0);
}

TEST(Allocations, NoneForStatesThatChangePlaces) {
  Executable exe = compiled(R"(weft.module 1 "counter"
state total : overwrite @main %total -> %next
graph @main(%x: f32[2], %total: f32[2]) -> (next = %next, before = %before) {
  %next = add(%total, %x) : f32[2] loc("Add_0")
  %before = neg(%total) : f32[2] loc("Neg_1")
}
)");
  EXPECT_NE(exe.plan_text().find("swap"), std::string::npos);
  Context c = exe.context();
  std::vector<float> x{1, 2};
  EXPECT_EQ(steady_allocations(c, {Tensor::view(x.data(), {2})}, std::vector<Tensor>(1)), 0);
  EXPECT_EQ(floats(*c.state("total")), (std::vector<float>{22, 44}));
}

}  // namespace
}  // namespace weft::api_test
