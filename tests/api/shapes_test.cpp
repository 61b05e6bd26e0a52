// --shapes' words at the API: fixed dims, ranges, optima, open dims; what a run may then bring.
#include "tests/api/api_support.h"

namespace weft::api_test {
namespace {

Result<NamedTensors> run_batch(const Executable& exe, int64_t batch) {
  Context c = exe.context();
  std::vector<float> x(static_cast<size_t>(3 * batch), 1);
  return c.run({{"x", Tensor::view(x.data(), {batch, 3})}});
}

TEST(Shapes, OpenDimsTakeAnyValueAndAreNoted) {
  Executable exe = compiled(layer_text());
  ASSERT_EQ(exe.stats().notes.size(), 1u);
  EXPECT_NE(exe.stats().notes[0].find("batch"), std::string::npos);
  for (int64_t n : {1, 2, 77}) {
    auto out = run_batch(exe, n);
    ASSERT_TRUE(out.ok()) << out.error().to_string();
    EXPECT_EQ((*out)["y"].dims(), (Tensor::Dims{n, 2}));
  }
  auto none = run_batch(exe, 0);
  ASSERT_TRUE(none.ok()) << none.error().to_string();
  EXPECT_EQ((*none)["y"].numel(), 0);
}

TEST(Shapes, FixedDims) {
  Executable exe = compiled(layer_text(), {.shapes = {"x=4x3"}});
  EXPECT_TRUE(exe.stats().notes.empty());
  EXPECT_EQ(exe.inputs()[0].describe(), "x: f32[4,3]");
  EXPECT_EQ(exe.outputs()[0].describe(), "y: f32[4,2]");
  EXPECT_TRUE(run_batch(exe, 4).ok());
  EXPECT_ERROR(run_batch(exe, 5), kUsage);
}

TEST(Shapes, Ranges) {
  Executable exe = compiled(layer_text(), {.shapes = {"x=2..8x3@4"}});
  EXPECT_TRUE(exe.stats().notes.empty());
  const Extent& e = exe.inputs()[0].dims[0];
  EXPECT_EQ(e.min, 2);
  EXPECT_EQ(e.max, 8);
  EXPECT_EQ(e.optimum, 4);
  for (int64_t n : {2, 5, 8}) EXPECT_TRUE(run_batch(exe, n).ok()) << n;
  for (int64_t n : {1, 9}) {
    auto out = run_batch(exe, n);
    EXPECT_ERROR(out, kUsage);
    EXPECT_EQ(out.error().tensor, "x");
    EXPECT_NE(out.error().to_string().find("--shapes"), std::string::npos);
  }
}

TEST(Shapes, PartsOfARangeHaveTheirOwnKernels) {
  std::string values;
  for (int i = 0; i < 64 * 96; ++i) values += (i ? ", " : "") + std::to_string(i % 11 - 5) + ".0";
  const std::string text = "weft.module 1 \"wide\"\nconst @w : f32[64,96] = [" + values + "]\n" +
                           "graph @main(%x: f32[batch,seq,64]) -> (y = %y) {\n  %w = constant @w : f32[64,96]\n" +
                           "  %y = contract(%x, %w) {spec=\"bmk,kn->bmn\"} : f32[batch,seq,96]\n}\n";
  Executable exe = compiled(text, {.shapes = {"x=1..8@1x1..512@1x64"}});
  EXPECT_NE(exe.plan_text().find("select"), std::string::npos) << exe.plan_text();
  EXPECT_GT(exe.stats().kernels, 2);
  Context c = exe.context();
  for (auto [batch, seq] : {std::pair<int64_t, int64_t>{1, 1}, {1, 7}, {8, 1}, {3, 33}, {1, 512}, {8, 512}}) {
    std::vector<float> x(static_cast<size_t>(batch * seq * 64));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6;
    auto out = c.run({{"x", Tensor::view(x.data(), {batch, seq, 64})}});
    ASSERT_TRUE(out.ok()) << out.error().to_string();
    std::vector<float> y = floats((*out)["y"]);
    ASSERT_EQ(y.size(), static_cast<size_t>(batch * seq * 96));
    for (int64_t r = 0; r < batch * seq; ++r)
      for (int64_t n = 0; n < 96; ++n) {
        float sum = 0;  // of small integers: exact
        for (int64_t k = 0; k < 64; ++k) sum += x[static_cast<size_t>(r * 64 + k)] * static_cast<float>((k * 96 + n) % 11 - 5);
        ASSERT_EQ(y[static_cast<size_t>(r * 96 + n)], sum) << batch << "x" << seq << " at " << r << "," << n;
      }
  }
}

TEST(Shapes, MistakesAreErrors) {
  for (const char* shapes : {"x", "y=1x3", "x=1x3x3", "x=1x4", "x=5..2x3", "x=1..8x3@9", "x=ax3", "x=1x", "x=-1x3"}) {
    auto r = compile(bytes_of(layer_text()), {.shapes = {shapes}});
    ASSERT_FALSE(r.ok()) << shapes;
    EXPECT_EQ(r.error().code, Code::kUsage) << shapes << ": " << r.error().to_string();
  }
}

TEST(Shapes, ArenaOfTheLastRun) {
  Executable exe = compiled(layer_text(), {.opt_level = 0});
  Context c = exe.context();
  std::vector<float> x(3000, 1);
  ASSERT_TRUE(c.run({{"x", Tensor::view(x.data(), {10, 3})}}).ok());
  int64_t small = c.arena_bytes();
  ASSERT_TRUE(c.run({{"x", Tensor::view(x.data(), {1000, 3})}}).ok());
  EXPECT_GT(c.arena_bytes(), small);
  EXPECT_GE(c.arena_bytes(), c.max_live_bytes());
  EXPECT_LE(static_cast<double>(c.arena_bytes()), 1.03 * static_cast<double>(c.max_live_bytes()));
}

}  // namespace
}  // namespace weft::api_test
