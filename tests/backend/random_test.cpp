// Random graphs (tests/support/random_graph.h) on every target against the evaluator, in each float type and at each level of
// optimisation. A graph that fails is made again with fewer steps until it does not, and printed with the last seed, type and
// steps that did. WEFT_RANDOM_GRAPHS says how many, WEFT_RANDOM_SEED where to begin.
#include <numeric>

#include "ir/text/printer.h"
#include "tests/backend/support.h"
#include "tests/support/random_graph.h"
#include "tests/support/same_module.h"

namespace weft::backend_test {
namespace {

struct Sample {
  std::unique_ptr<Module> module;
  std::vector<Tensor> inputs;
  std::vector<HostValue> outputs;
  std::vector<double> bounds;  // of each output, relative to its largest element
};

// Floats that every type has, so that modules of several types can be given the same.
Result<std::vector<HostValue>> inputs_of(const Module& m, uint64_t seed) {
  TRY_ASSIGN(std::vector<HostValue> values, test::random_inputs(m, seed, {}, 8));
  for (HostValue& v : values) {
    if (!is_float(v.tensor.dtype)) continue;
    std::vector<double> x = load_all<double>(v.tensor);
    for (double& e : x) e = std::clamp(std::round(e * 32) / 32, -4.0, 4.0);
    TRY_ASSIGN(v.tensor, store_all(v.tensor.dtype, v.tensor.dims, x));
  }
  return values;
}

Result<std::vector<HostValue>> run(const test::RandomGraphOptions& o) {
  auto m = test::random_graph(o);
  TRY_ASSIGN(auto inputs, inputs_of(*m, o.seed));
  return test::run_main(*m, inputs);
}

// The largest element, and how far rounding to the type carries elements from what f64 gives, relative to that.
struct Spread {
  double largest = 1e-3, noise = 0;
};
Spread spread_of(const Tensor& rounded, const Tensor& precise) {
  Spread s;
  const std::vector<double> a = load_all<double>(rounded), b = load_all<double>(precise);
  double off = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    s.largest = std::max(s.largest, std::fabs(b[i]));
    off = std::max(off, std::isfinite(a[i]) ? std::fabs(a[i] - b[i]) : HUGE_VAL);
  }
  s.noise = off / s.largest;
  return s;
}

// Empty where the graph's own numbers are wild: they overflow, or its last digits become its first.
std::optional<Sample> sample(const test::RandomGraphOptions& o) {
  constexpr double kWild = 0.02, kLargest = 1e4, kNoise = 8;
  Sample s{test::random_graph(o), {}, {}, {}};
  auto inputs = inputs_of(*s.module, o.seed);
  auto outputs = run(o);
  test::RandomGraphOptions wide = o;
  wide.floats = DType::f64;
  auto precise = run(wide);
  if (!inputs.ok() || !outputs.ok() || !precise.ok() || precise->size() != outputs->size()) return std::nullopt;
  for (const HostValue& v : *inputs) s.inputs.push_back(v.tensor);
  for (size_t k = 0; k < outputs->size(); ++k) {
    const Tensor &got = (*outputs)[k].tensor, &want = (*precise)[k].tensor;
    if (got.dims != want.dims) return std::nullopt;
    s.bounds.push_back(0);
    if (!is_float(got.dtype)) continue;
    const Spread spread = spread_of(got, want);
    if (spread.largest > kLargest || !(spread.noise < kWild)) return std::nullopt;
    // Sums are of 32 bits at least, in another order than the evaluator's.
    const double units = byte_size(got.dtype) < 4 ? 3 : 64;
    s.bounds.back() = std::max(units * epsilon_of(got.dtype), kNoise * spread.noise);
  }
  s.outputs = std::move(*outputs);
  return s;
}

// Empty when the target gives what the evaluator gave.
std::string failure(const Sample& s, const std::string& target, int opt_level) {
  auto exe = compile_for(s.module->clone(), target, opt_level);
  if (!exe.ok()) return exe.error().to_string();
  auto got = run_compiled(*exe, s.inputs);
  if (!got.ok()) return got.error().to_string();
  for (size_t k = 0; k < got->size(); ++k)
    if (std::string d = test::difference({HostValue((*got)[k])}, {s.outputs[k]}, s.bounds[k]); !d.empty()) return d + " of output " + std::to_string(k + 1);
  return "";
}

class RandomGraphs : public testing::TestWithParam<int> {};

TEST_P(RandomGraphs, GiveWhatTheEvaluatorGives) {
  constexpr int kAttempts = 100;  // most graphs are tame
  const int number = GetParam();
  test::RandomGraphOptions o;
  o.steps = 5 + number % 21;
  o.floats = std::array{DType::f32, DType::f16, DType::bf16, DType::f64}[static_cast<size_t>(number) % 4];
  o.integers = number % 3 != 0;
  const int opt_level = number % 5 - 1;
  std::optional<Sample> s;
  for (int k = 0; k < kAttempts && !s; ++k) {
    o.seed = static_cast<uint64_t>(number) * kAttempts + static_cast<uint64_t>(k);
    s = sample(o);
  }
  ASSERT_TRUE(s) << "no tame graph";
  auto describe = [&] {
    const std::string made = "seed " + std::to_string(o.seed) + ", " + std::to_string(o.steps) + " steps, " + dtype_name(o.floats);
    return made + ", level " + std::to_string(opt_level) + "\n" + print_module(*s->module);
  };
  for (const std::string& target : targets()) {
    api::CompileOptions options;
    options.target = target;
    auto t = Compilation(options).target();
    ASSERT_TRUE(t.ok()) << t.error().to_string();
    if (t->backend == Backend::cuda) {
      SCOPED_TRACE(describe());
      check_kernels(s->module->clone(), *t, opt_level);
    }
    const std::vector<std::string> running = targets_that_run();
    if (std::find(running.begin(), running.end(), target) == running.end()) continue;
    std::string found = failure(*s, target, opt_level);
    if (found.empty()) continue;
    for (test::RandomGraphOptions less = o; --less.steps > 0;) {
      auto smaller = sample(less);
      const std::string again = smaller ? failure(*smaller, target, opt_level) : "";
      if (again.empty()) continue;
      o = less;
      s = std::move(smaller);
      found = again;
    }
    FAIL() << target << ": " << found << "\n" << describe();
  }
}

std::vector<int> numbers() {
  std::vector<int> v(static_cast<size_t>(test::from_environment("WEFT_RANDOM_GRAPHS", 32)));
  std::iota(v.begin(), v.end(), test::from_environment("WEFT_RANDOM_SEED", 1));
  return v;
}
INSTANTIATE_TEST_SUITE_P(Seeds, RandomGraphs, testing::ValuesIn(numbers()));

}  // namespace
}  // namespace weft::backend_test
