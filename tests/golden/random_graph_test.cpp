// Every pass alone, and the pipeline after each pass that changed something, leaves what a module computes as it was. The
// modules are random; WEFT_RANDOM_GRAPHS in the environment says how many (and WEFT_RANDOM_SEED where to begin).
#include <cmath>

#include "ir/text/parser.h"
#include "ir/text/printer.h"
#include "passes/pass_manager.h"
#include "tests/support/random_graph.h"
#include "tests/support/same_module.h"

namespace weft {
namespace {

constexpr double kRelative = 2e-4;

// Values that differ in the last digit stay close: nothing overflows or is not a number.
bool is_tame(const std::vector<HostValue>& values) {
  for (const HostValue& v : values)
    for (double x : load_all<double>(v.tensor))
      if (!std::isfinite(x) || std::fabs(x) > 1e5) return false;
  return true;
}

struct Sample {
  std::unique_ptr<Module> module;
  std::vector<HostValue> inputs, outputs;
};
// Empty where the model's own numbers are wild.
std::optional<Sample> sample(uint64_t seed) {
  Sample s{test::random_graph({.seed = seed, .integers = seed % 2 == 0}), {}, {}};
  auto inputs = test::random_inputs(*s.module, seed);
  EXPECT_TRUE(inputs.ok()) << "seed " << seed;
  auto outputs = test::run_main(*s.module, *inputs);
  if (!outputs.ok() || !is_tame(*outputs)) return std::nullopt;
  s.inputs = std::move(*inputs);
  s.outputs = std::move(*outputs);
  return s;
}

PassContext cpu_context() {
  PassContext cx;
  cx.target = *parse_target("cpu:x86-64-v3");
  return cx;
}

void expect_same(const Module& m, const Sample& s, const std::string& what) {
  auto out = test::run_main(m, s.inputs);
  ASSERT_TRUE(out.ok()) << what << ": " << out.error().to_string() << "\n" << print_module(*s.module) << print_module(m);
  std::string d = test::difference(*out, s.outputs, kRelative);
  ASSERT_EQ(d, "") << what << "\n" << print_module(*s.module) << print_module(m);
}

TEST(RandomGraph, EachPassKeepsTheNumbers) {
  int first = test::from_environment("WEFT_RANDOM_SEED", 1), count = test::from_environment("WEFT_RANDOM_GRAPHS", 150), changes = 0;
  for (int seed = first; seed < first + count && !testing::Test::HasFatalFailure(); ++seed) {
    auto s = sample(seed);
    if (!s) continue;
    for (const PassInfo& pass : list_passes()) {
      auto m = s->module->clone();
      PassContext cx = cpu_context();
      PipelineOptions o;
      o.passes = {pass.name};
      o.check_types = o.check_changed = true;
      std::vector<PassRun> runs;
      Status status = run_pipeline(*m, cx, o, &runs);
      ASSERT_TRUE(status.ok()) << "seed " << seed << ", " << pass.name << ": " << status.error().to_string();
      if (!runs[0].changed) continue;
      ++changes;
      ASSERT_NO_FATAL_FAILURE(expect_same(*m, *s, "seed " + std::to_string(seed) + ", pass " + pass.name));
    }
  }
  EXPECT_GT(changes, count);
}

TEST(RandomGraph, EachPrefixOfThePipelineKeepsTheNumbers) {
  int first = test::from_environment("WEFT_RANDOM_SEED", 1), count = test::from_environment("WEFT_RANDOM_GRAPHS", 150);
  for (int seed = first; seed < first + count && !testing::Test::HasFatalFailure(); ++seed) {
    auto s = sample(seed);
    if (!s) continue;
    auto m = s->module->clone();
    PassContext cx = cpu_context();
    PipelineOptions o;
    o.opt_level = 1 + seed % 3;
    o.check_types = o.check_changed = true;
    o.print_after = {"all"};
    o.print = [&](const std::string& text) {
      if (testing::Test::HasFatalFailure()) return;
      std::string what = "seed " + std::to_string(seed) + ", " + text.substr(0, text.find('\n'));
      auto again = parse_module(text);
      ASSERT_TRUE(again.ok()) << what << ": " << again.error().to_string() << text;
      ASSERT_EQ(print_module(**again), text.substr(text.find('\n') + 1)) << what;
      expect_same(**again, *s, what);
    };
    Status status = run_pipeline(*m, cx, o);
    ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status.error().to_string();
  }
}

}  // namespace
}  // namespace weft
