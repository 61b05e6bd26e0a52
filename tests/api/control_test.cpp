// Cancellation, progress, the logger, several threads.
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/api/api_support.h"

namespace weft::api_test {
namespace {

// `count` contractions after each other, each of a size of its own: so many kernels.
std::string chain(int count) {
  std::string consts, ops;
  for (int i = 0; i < count; ++i) {
    std::string k = std::to_string(i), n = std::to_string(i + 3), m = std::to_string(i + 4);
    consts += "const @w" + k + " : f32[" + n + "," + m + "] = splat(0.5)\n";
    ops += "  %w" + k + " = constant @w" + k + " : f32[" + n + "," + m + "]\n";
    ops += "  %v" + std::to_string(i + 1) + " = contract(%v" + k + ", %w" + k + ") {spec=\"mk,kn->mn\"} : f32[batch," + m + "] loc(\"MatMul_" + k +
           "\")\n";
  }
  return "weft.module 1 \"chain\"\n" + consts + "graph @main(%v0: f32[batch,3]) -> (y = %v" + std::to_string(count) + ") {\n" + ops + "}\n";
}

TEST(Cancel, BeforeCompiling) {
  std::atomic<bool> cancel{true};
  EXPECT_ERROR(compile(bytes_of(layer_text()), {.cancel = &cancel}), kCancelled);
}

TEST(Cancel, WhileKernelsAreCompiled) {
  std::atomic<bool> cancel{false};
  int64_t reached = 0;
  CompileOptions o{.threads = 1, .use_cache = false, .cancel = &cancel};
  o.progress = [&](const Progress& p) {
    if (p.stage != "kernels" || p.done == 0) return;
    reached = p.done;
    cancel = true;
  };
  EXPECT_ERROR(compile(bytes_of(chain(40)), o), kCancelled);
  EXPECT_LT(reached, 40);
}

TEST(Cancel, ARun) {
  Executable exe = compiled(layer_text());
  Context c = exe.context();
  std::atomic<bool> cancel{true};
  float x[3] = {1, 2, 3};
  api::NamedTensors in = {{"x", Tensor::view(x, {1, 3})}};
  EXPECT_ERROR(c.run(in, {}, {.cancel = &cancel}), kCancelled);
  cancel = false;
  EXPECT_TRUE(c.run(in, {}, {.cancel = &cancel}).ok());
}

TEST(Progress, NamesTheStagesInOrder) {
  std::vector<std::string> stages;
  int64_t total = 0, done = 0;
  double last = 0;
  CompileOptions o{.use_cache = false};
  std::atomic<int> inside{0};
  o.progress = [&](const Progress& p) {
    EXPECT_EQ(inside.fetch_add(1), 0) << "two calls at once";
    if (stages.empty() || stages.back() != p.stage) stages.push_back(p.stage);
    EXPECT_GE(p.elapsed_s, last);
    last = p.elapsed_s;
    if (p.stage == "kernels") total = p.total, done = std::max(done, p.done);
    inside = 0;
  };
  Executable exe = compiled(chain(5), o);
  EXPECT_EQ(stages, (std::vector<std::string>{"import", "passes", "lower", "kernels", "load"}));
  EXPECT_EQ(total, exe.stats().kernels);
  EXPECT_EQ(done, total);
}

TEST(Progress, ComesAtLeastOnceASecond) {
  // A callback that sleeps stands for a long stage: the words that follow must still come in time.
  using Clock = std::chrono::steady_clock;
  auto last = Clock::now();
  double longest = 0;
  CompileOptions o{.threads = 1, .use_cache = false};
  bool slept = false;
  o.progress = [&](const Progress& p) {
    longest = std::max(longest, std::chrono::duration<double>(Clock::now() - last).count());
    if (p.stage == "kernels" && p.done == 1 && !slept) {
      slept = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
    last = Clock::now();
  };
  compiled(chain(20), o);
  EXPECT_LT(longest, 1.5);  // 1 s, and what a busy machine adds
}

TEST(Logger, HearsOfStages) {
  std::vector<std::string> lines;
  CompileOptions o;
  o.log = [&](LogLevel, const std::string& text) { lines.push_back(text); };
  compiled(layer_text(), o);
  EXPECT_TRUE(std::any_of(lines.begin(), lines.end(), [](const std::string& l) { return l.rfind("passes: ", 0) == 0; }));
}

TEST(Threads, ShareAnExecutable) {
  Executable exe = compiled(layer_text(), {.threads = 2});
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Context c = exe.context();
      for (int i = 0; i < 50; ++i) {
        std::vector<float> x(static_cast<size_t>(3 * (t + 1)), static_cast<float>(i));
        auto out = c.run({{"x", Tensor::view(x.data(), {t + 1, 3})}});
        if (!out.ok() || floats((*out)["y"]).size() != static_cast<size_t>(2 * (t + 1)) || floats((*out)["y"])[0] != static_cast<float>(2 * i) + 0.5f)
          ++wrong;
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, CompileAtOnce) {
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) threads.emplace_back([&] { good += compile(bytes_of(layer_text()), {.threads = 1}).ok(); });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(good, 3);
}

}  // namespace
}  // namespace weft::api_test
