// The generated code's own vector maths (codegen/cpu/llvm/vector_math.cpp) over all of float: every kStride-th bit pattern,
// both signs, subnormals, infinities and NaN included, against the function in double, which is exact to 2^-29 of a float's
// unit. Within 2 units in the last place of the true value; a result below the normal range may be off by 2 units of that
// range. NaN, infinities, zeros and their signs must be as in C.
#include <bit>
#include <cstring>

#include "tests/backend/support.h"

namespace weft::backend_test::vector_math {

namespace {

constexpr uint32_t kStride = 641;  // a divisor of 2^32 + 1: no pattern of low bits is left out
constexpr double kUnits = 2;

struct Function {
  OpKind kind;
  double (*exact)(double);
};
const std::vector<Function>& functions() {
  static const std::vector<Function> list = {
      {OpKind::exp, std::exp},   {OpKind::log, std::log},
      {OpKind::tanh, std::tanh}, {OpKind::erf, std::erf},
      {OpKind::sin, std::sin},   {OpKind::cos, std::cos},
      {OpKind::atan, std::atan}, {OpKind::sigmoid, [](double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }},
      {OpKind::elu, [](double x) { return x < 0 ? std::expm1(x) : x; }},
  };
  return list;
}

// How far `got` is from the true value, in units in the last place of a float there; infinite where only one of them is
// finite, NaN or, among zeros, negative.
double units_off(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  if (want == 0) return got == 0 && std::signbit(got) == std::signbit(want) ? 0 : INFINITY;
  float rounded = static_cast<float>(want);
  if (got == rounded) return 0;
  if (std::isinf(rounded) || std::isinf(got) || std::isnan(got)) {
    // Next to the largest float a unit or two may lead over the edge.
    constexpr double kEdge = 0x1p128, kUnit = 0x1p104;
    if (std::isnan(got) || std::isinf(want)) return INFINITY;
    double a = std::isinf(got) ? std::copysign(kEdge, got) : got;
    return std::fabs(a - want) / kUnit;
  }
  int exponent = std::max(std::ilogb(want), -126);
  return std::fabs(got - want) / std::ldexp(1.0, exponent - 23);
}

Tensor floats(const std::vector<float>& v) {
  Tensor t = std::move(Tensor::make(DType::f32, {static_cast<int64_t>(v.size())})).value();
  std::memcpy(t.data.get(), v.data(), v.size() * sizeof(float));
  return t;
}
const float* elements(const Tensor& t) { return reinterpret_cast<const float*>(t.data.get()); }

// A module of all functions over one vector, or of pow over two.
std::unique_ptr<Module> module_of(bool pow) {
  auto m = std::make_unique<Module>();
  m->symbols["n"] = {};
  Graph* g = m->add_graph("main");
  Builder b(g);
  Type t = Type::tensor(DType::f32, {Dim::symbol("n")});
  Value* x = g->add_input(t, "x");
  if (pow) g->outputs = {b.op(OpKind::pow, {x, g->add_input(t, "y")})};
  else
    for (const Function& f : functions()) g->outputs.push_back(b.op(f.kind, {x}));
  for (size_t k = 0; k < g->outputs.size(); ++k) g->output_names.push_back("y" + std::to_string(k));
  return m;
}

// The worst of one function over one target.
struct Worst {
  double units = 0;
  float x = 0, y = 0, got = 0;
  void see(double u, float a, float b, float g) {
    if (u <= units) return;
    *this = {u, a, b, g};
  }
};
void report(const std::string& what, const Worst& w) {
  char line[200];
  std::snprintf(line, sizeof line, "%s: %.3f units at %a (%a) where it gives %a", what.c_str(), w.units, static_cast<double>(w.x),
                static_cast<double>(w.y), static_cast<double>(w.got));
  testing::Test::RecordProperty(what, std::to_string(w.units));
  EXPECT_LE(w.units, kUnits) << line;
}

}  // namespace

TEST(VectorMath, WithinTwoUnitsOverAllFloats) {
  std::vector<std::string> targets = targets_that_run();
  if (targets.empty()) GTEST_SKIP() << "none of the targets runs here";
  std::vector<api::Executable> compiled;
  for (const std::string& target : targets) {
    auto exe = compile_for(module_of(false), target, -1);
    ASSERT_TRUE(exe.ok()) << exe.error().to_string();
    compiled.push_back(std::move(*exe));
  }
  std::vector<std::vector<Worst>> worst(targets.size(), std::vector<Worst>(functions().size()));
  constexpr size_t kChunk = 1 << 20;
  std::vector<float> x;
  auto flush = [&] {
    std::vector<std::vector<Tensor>> got;
    for (auto& exe : compiled) {
      auto r = run_compiled(exe, {floats(x)});
      ASSERT_TRUE(r.ok()) << r.error().to_string();
      got.push_back(std::move(*r));
    }
    for (size_t f = 0; f < functions().size(); ++f)
      for (size_t k = 0; k < x.size(); ++k) {
        double want = functions()[f].exact(x[k]);
        for (size_t t = 0; t < targets.size(); ++t) {
          float g = elements(got[t][f])[k];
          worst[t][f].see(units_off(g, want), x[k], 0, g);
        }
      }
    x.clear();
  };
  for (float special : {0.0f, -0.0f, INFINITY, -INFINITY, 0x1p-149f, -0x1p-149f, 0x1.fffffcp-127f, 0x1p-126f, 0x1.fffffep127f,
                        -0x1.fffffep127f, 1.0f, -1.0f, std::bit_cast<float>(0x7fc00000u), std::bit_cast<float>(0xff800001u)})
    x.push_back(special);
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += kStride) {
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    if (x.size() == kChunk) flush();
  }
  flush();
  for (size_t t = 0; t < targets.size(); ++t)
    for (size_t f = 0; f < functions().size(); ++f) report(targets[t] + " " + op_name(functions()[f].kind), worst[t][f]);
}

// Doubles, too, when whole turns have to be taken off. The first argument is the double nearest to a multiple of pi/2, where
// the C library's double functions are not exact enough to compare with.
TEST(VectorMath, DoubleSinesOfLargeArguments) {
  constexpr double kWideUnits = 4;
  std::mt19937_64 rng(2);
  std::vector<double> x{0x1.6ac5b262ca1ffp+849, 1e22, 0x1p1023, 1e5, 100001, -3e10};
  for (int k = 0; k < 1 << 17; ++k)
    x.push_back(std::ldexp(1.0 + static_cast<double>(rng() >> 12) * 0x1p-52, static_cast<int>(rng() % 1000) + 17));
  auto m = std::make_unique<Module>();
  Graph* g = m->add_graph("main");
  Builder b(g);
  Tensor in = tensor_of_values<double>(DType::f64, {static_cast<int64_t>(x.size())}, x);
  Value* v = g->add_input(Type::tensor(DType::f64, to_shape(in.dims)), "x");
  g->outputs = {b.op(OpKind::sin, {v}), b.op(OpKind::cos, {v})};
  g->output_names = {"sin", "cos"};
  for (const std::string& target : targets_that_run()) {
    auto exe = compile_for(m->clone(), target, -1);
    ASSERT_TRUE(exe.ok()) << exe.error().to_string();
    auto got = run_compiled(*exe, {in});
    ASSERT_TRUE(got.ok()) << got.error().to_string();
    for (int f = 0; f < 2; ++f) {
      std::vector<double> y = load_all<double>((*got)[f]);
      for (size_t k = 0; k < x.size(); ++k) {
        long double want = f ? std::cos(static_cast<long double>(x[k])) : std::sin(static_cast<long double>(x[k]));
        const long double unit = std::ldexp(1.0L, std::ilogb(want) - 52);
        ASSERT_LE(std::fabs(y[k] - want), kWideUnits * unit) << target << (f ? " cos " : " sin ") << x[k] << " is " << y[k];
      }
    }
  }
}

// Pairs: any two floats, special ones in every combination, and those whose power is a finite number.
TEST(VectorMath, PowersWithinTwoUnits) {
  std::vector<float> x, y;
  auto pair = [&](float a, float b) {
    x.push_back(a);
    y.push_back(b);
  };
  const float special[] = {
      0.0f,     -0.0f,     1.0f,      -1.0f,      2.0f,      -2.0f,    3.0f,      -3.0f,     0.5f,          -0.5f,           1.5f,           -2.5f,
      INFINITY, -INFINITY, NAN,       0x1p-149f,  -0x1p-149f, 0x1p-126f, 0x1p23f, -0x1p23f,  0x1.fffffep127f, -0x1.fffffep127f, 0x1p24f,
      16777215.0f, 0x1.000002p23f, 0x1.fffffep-1f, 0x1.000002p0f};
  for (float a : special)
    for (float b : special) pair(a, b);
  std::mt19937 rng(1);
  for (int k = 0; k < 1 << 20; ++k) pair(std::bit_cast<float>(static_cast<uint32_t>(rng())), std::bit_cast<float>(static_cast<uint32_t>(rng())));
  for (int k = 0; k < 1 << 21; ++k) {
    float a = std::bit_cast<float>(static_cast<uint32_t>(rng()) % 0x7f800000u);
    double exponent = -152 + 282 * (static_cast<double>(rng()) * 0x1p-32);
    pair(a, static_cast<float>(exponent / std::log2(a)));
    float near_one = 1 + (static_cast<float>(rng() % 2048) - 1024) * 0x1p-20f;
    pair(near_one, static_cast<float>(exponent / std::log2(near_one)));
  }
  for (const std::string& target : targets_that_run()) {
    auto exe = compile_for(module_of(true), target, -1);
    ASSERT_TRUE(exe.ok()) << exe.error().to_string();
    auto got = run_compiled(*exe, {floats(x), floats(y)});
    ASSERT_TRUE(got.ok()) << got.error().to_string();
    Worst worst;
    for (size_t k = 0; k < x.size(); ++k) {
      float g = elements((*got)[0])[k];
      worst.see(units_off(g, std::pow(static_cast<double>(x[k]), static_cast<double>(y[k]))), x[k], y[k], g);
    }
    report(target + " pow", worst);
  }
}

}  // namespace weft::backend_test::vector_math
