// The differential suite's one question: does a module, compiled for a target, give what the reference evaluator gives?
//
//   TestGraph g;
//   Value* y = g.op(OpKind::relu, {g.input(DType::f32, {Dim::symbol("batch"), 3})});
//   g.check({y}, Bound::ulps(2));
//
// Inputs get seeded random elements or given ones; symbolic dims get the values set with `bind`. Every check runs on the
// targets that this machine can run.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "frontend/api/compilation.h"
#include "frontend/api/reference.h"
#include "ir/base/text.h"
#include "ir/core/builder.h"
#include "ir/eval/evaluator.h"
#include "ir/text/parser.h"
#include "runtime/cuda/device.h"
#include "tests/support/cuda_kernels.h"

namespace weft::backend_test {

// |got - want| <= units × epsilon(dtype) × max(|want|, smallest normal), or × the largest |want| of the output where
// cancellation makes single elements meaningless. Integers must be equal unless `integer` allows a difference.
struct Bound {
  double units = 0;
  bool of_range = false;
  int64_t integer = 0;
  static Bound exact() { return {}; }
  static Bound ulps(double n) { return {n, false, 0}; }
  static Bound range(double n) { return {n, true, 0}; }
};

inline double epsilon_of(DType t) {
  switch (t) {
    case DType::f64: return 0x1p-52;
    case DType::f32: return 0x1p-23;
    case DType::f16: return 0x1p-10;
    case DType::bf16: return 0x1p-7;
    case DType::f8e4m3fn: case DType::f8e4m3fnuz: return 0x1p-3;
    case DType::f8e5m2: case DType::f8e5m2fnuz: return 0x1p-2;
    default: return 1;
  }
}
inline double smallest_of(DType t) {
  switch (t) {
    case DType::f64: return 0x1p-1022;
    case DType::f32: case DType::bf16: return 0x1p-126;
    case DType::f16: return 0x1p-14;
    default: return 0x1p-6;
  }
}

inline void expect_equal(const Tensor& got, const Tensor& want, const Bound& bound, const std::string& what) {
  ASSERT_EQ(dtype_name(got.dtype), std::string(dtype_name(want.dtype))) << what;
  ASSERT_EQ(got.dims, want.dims) << what;
  if (want.dtype == DType::str) {
    EXPECT_EQ(*got.strings, *want.strings) << what;
    return;
  }
  if (is_complex(want.dtype) || is_float(want.dtype)) {
    std::vector<double> a, b;
    if (is_complex(want.dtype)) {
      for (auto c : load_all<std::complex<double>>(got)) a.insert(a.end(), {c.real(), c.imag()});
      for (auto c : load_all<std::complex<double>>(want)) b.insert(b.end(), {c.real(), c.imag()});
    } else {
      a = load_all<double>(got);
      b = load_all<double>(want);
    }
    DType t = want.dtype == DType::c64 ? DType::f32 : want.dtype == DType::c128 ? DType::f64 : want.dtype;
    double largest = 0;
    for (double x : b)
      if (std::isfinite(x)) largest = std::max(largest, std::fabs(x));
    for (size_t k = 0; k < b.size(); ++k) {
      double scale = std::max(bound.of_range ? largest : std::fabs(b[k]), smallest_of(t));
      bool same = a[k] == b[k] || (std::isnan(a[k]) && std::isnan(b[k])) || std::fabs(a[k] - b[k]) <= bound.units * epsilon_of(t) * scale;
      ASSERT_TRUE(same) << what << ": element " << k << " is " << a[k] << ", wanted " << b[k] << ", off by "
                        << std::fabs(a[k] - b[k]) / (epsilon_of(t) * scale) << " units";
    }
    return;
  }
  std::vector<int64_t> a = load_all<int64_t>(got), b = load_all<int64_t>(want);
  for (size_t k = 0; k < b.size(); ++k)
    ASSERT_LE(std::abs(a[k] - b[k]), bound.integer)
        << what << ": element " << k << " is " << a[k] << ", wanted " << b[k];
}

// What main() was given, or the levels that this machine's CPU has.
inline std::vector<std::string>& targets() {
  static std::vector<std::string> chosen = [] {
    std::vector<std::string> out;
    for (const char* text : {"cpu", "cpu:x86-64-v3", "cpu:x86-64-v2"}) {
      auto t = parse_target(text);
      if (t.ok() && runs_here(*t)) out.push_back(text);
    }
    return out;
  }();
  return chosen;
}

// Those whose code this machine can run.
inline std::vector<std::string> targets_that_run() {
  std::vector<std::string> out;
  for (const std::string& text : targets()) {
    api::CompileOptions options;
    options.target = text;
    auto t = Compilation(options).target();  // `cuda` alone is this machine's
    auto devices = cuda_devices();
    if (t.ok() && (t->backend == Backend::cuda ? devices.ok() && !devices->empty() : runs_here(*t))) out.push_back(text);
  }
  return out;
}

// After the passes of `opt_level`; -1: without any.
inline Result<api::Executable> compile_for(std::unique_ptr<Module> m, const std::string& target, int opt_level) {
  api::CompileOptions o;
  o.target = target;
  o.threads = 2;
  o.opt_level = std::max(0, opt_level);
  Compilation c(o);
  c.adopt(std::move(m));
  TRY(c.apply_shapes());
  if (opt_level >= 0) TRY(c.optimise());
  TRY(c.lower());
  return c.build();
}

inline Result<std::vector<Tensor>> run_compiled(const api::Executable& exe, const std::vector<Tensor>& inputs) {
  std::vector<std::string> names;
  for (const api::PortInfo& p : exe.inputs()) names.push_back(p.name);
  api::Context context = exe.context();
  TRY_ASSIGN(std::vector<HostValue> out, run_values(context, names, {inputs.begin(), inputs.end()}));
  std::vector<Tensor> result;
  for (HostValue& v : out) result.push_back(std::move(v.tensor));
  return result;
}

// Elements in a range that suits most ops: floats in [-2, 2), integers in [0, 7], bools.
inline Tensor random_tensor(DType t, std::vector<int64_t> dims, uint64_t seed, double lo = -2, double hi = 2) {
  std::mt19937_64 rng(seed);
  Tensor out = std::move(Tensor::make(t, std::move(dims))).value();
  std::vector<double> f(out.numel());
  std::vector<int64_t> i(out.numel());
  std::vector<uint64_t> u(out.numel());
  for (size_t k = 0; k < f.size(); ++k) {
    f[k] = lo + (hi - lo) * static_cast<double>(rng() >> 11) * 0x1p-53;
    i[k] = static_cast<int64_t>(u[k] = rng() % (bit_width(t) < 4 || t == DType::b1 ? 2 : 8));
  }
  if (is_complex(t)) {
    std::vector<std::complex<double>> c;
    for (size_t k = 0; k < f.size(); ++k) c.emplace_back(f[k], f[f.size() - 1 - k]);
    store_row(out, 0, c.data(), out.numel());
  } else if (is_float(t)) {
    store_row(out, 0, f.data(), out.numel());
  } else if (is_unsigned_int(t)) {
    store_row(out, 0, u.data(), out.numel());
  } else {
    store_row(out, 0, i.data(), out.numel());
  }
  return out;
}
template <class T>
Tensor tensor_of_values(DType t, std::vector<int64_t> dims, const std::vector<T>& v) {
  return std::move(store_all<T>(t, std::move(dims), v)).value();
}

// Compiles the kernels for a GPU, without running them.
inline void check_kernels(std::unique_ptr<Module> m, const Target& target, int opt_level) {
  if (std::string why = test::nvrtc_missing(); !why.empty()) GTEST_SKIP() << why;
  api::CompileOptions o;
  o.target = target.to_string();
  o.opt_level = std::max(0, opt_level);
  Compilation c(o);
  c.adopt(std::move(m));
  ASSERT_TRUE(c.apply_shapes().ok());
  Status optimised = opt_level >= 0 ? c.optimise() : Status();
  ASSERT_TRUE(optimised.ok()) << optimised.error().to_string();
  Status lowered = c.lower();
  ASSERT_TRUE(lowered.ok()) << lowered.error().to_string();
  test::check_cuda_kernels(c.lowered().specs, target);
}

inline void check_module(std::unique_ptr<Module> m, const std::vector<Tensor>& inputs, const Bound& bound, int opt_level = -1,
    const std::vector<std::string>& on = targets()) {
  std::vector<HostValue> values(inputs.begin(), inputs.end());
  auto want = evaluate(*m->main(), std::move(values));
  ASSERT_TRUE(want.ok()) << want.error().to_string();
  for (const std::string& target : on) {
    api::CompileOptions options;
    options.target = target;
    auto t = Compilation(options).target();  // `cuda` alone is this machine's
    ASSERT_TRUE(t.ok()) << t.error().to_string();
    if (t->backend == Backend::cuda) {
      check_kernels(m->clone(), *t, opt_level);
      auto devices = cuda_devices();
      if (!devices.ok() || devices->empty()) continue;
    }
    auto exe = compile_for(m->clone(), target, opt_level);
    ASSERT_TRUE(exe.ok()) << target << ": " << exe.error().to_string();
    auto got = run_compiled(*exe, inputs);
    ASSERT_TRUE(got.ok()) << target << ": " << got.error().to_string() << exe->plan_text();
    ASSERT_EQ(got->size(), want->size());
    for (size_t k = 0; k < got->size(); ++k) expect_equal((*got)[k], (*want)[k].tensor, bound, target + ", output " + std::to_string(k));
  }
}

// A module under construction with the inputs that its check will give it.
class TestGraph {
 public:
  TestGraph() : module_(std::make_unique<Module>()), builder_(module_->add_graph("main")) { module_->name = "test"; }
  Builder& builder() { return builder_; }
  Module& module() { return *module_; }

  void bind(const std::string& symbol, int64_t value) {
    module_->symbols[symbol] = {};
    values_[symbol] = value;
  }
  // Random elements in [lo, hi); dims may hold bound symbols.
  Value* input(DType t, const Shape& dims, double lo = -2, double hi = 2) {
    std::vector<int64_t> concrete;
    for (const Dim& d : dims) concrete.push_back(d.eval(values_).value());
    return input(random_tensor(t, concrete, inputs_.size() + 1, lo, hi), dims);
  }
  Value* input(Tensor t, std::optional<Shape> dims = std::nullopt) {
    Value* v = builder_.graph()->add_input(Type::tensor(t.dtype, dims ? *dims : to_shape(t.dims)), "x" + std::to_string(inputs_.size()));
    inputs_.push_back(std::move(t));
    return v;
  }
  Value* constant(const Tensor& t) {
    return builder_.constant(module_->constants.add_bytes("", t.dtype, t.dims, std::vector<std::byte>(t.data.get(), t.data.get() + t.bytes())));
  }
  Op* make(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr, int results = 1) {
    auto op = builder_.create(kind, std::move(operands), std::move(attrs), results);
    EXPECT_TRUE(op.ok()) << op.error().to_string();
    return op.value();
  }
  template <class A>
  Op* make(OpKind kind, std::vector<Value*> operands, A attrs, int results = 1) {
    return make(kind, std::move(operands), std::unique_ptr<Attrs>(std::make_unique<A>(std::move(attrs))), results);
  }
  Value* op(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr) {
    return make(kind, std::move(operands), std::move(attrs))->result();
  }
  template <class A>
  Value* op(OpKind kind, std::vector<Value*> operands, A attrs) { return make(kind, std::move(operands), std::move(attrs))->result(); }

  void check(const std::vector<Value*>& outputs, const Bound& bound = Bound::exact(), int opt_level = -1,
      const std::vector<std::string>& on = targets()) {
    finish(outputs);
    check_module(std::move(module_), inputs_, bound, opt_level, on);
  }
  // The error of compiling for, or running on, this machine; empty when there is none.
  Error failure(const std::vector<Value*>& outputs) {
    finish(outputs);
    auto exe = compile_for(std::move(module_), "cpu", -1);
    if (!exe.ok()) return exe.error();
    auto got = run_compiled(*exe, inputs_);
    return got.ok() ? error(Code::kOk, "") : got.error();
  }

 private:
  void finish(const std::vector<Value*>& outputs) {
    for (Value* v : outputs) {
      builder_.graph()->outputs.push_back(v);
      builder_.graph()->output_names.push_back("y" + std::to_string(builder_.graph()->output_names.size()));
    }
  }
  std::unique_ptr<Module> module_;
  Builder builder_;
  SymbolValues values_;
  std::vector<Tensor> inputs_;
};

}  // namespace weft::backend_test
