// What the executor's tests share: plans from text, kernels that are plain functions, tensors in vectors.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "runtime/cpu/thread_pool.h"
#include "runtime/executable.h"

namespace weft::executor_test {

// A dense tensor of its own memory: 0, 1, 2, … unless given.
template <class T>
struct Dense {
  std::vector<int64_t> dims;
  std::vector<T> v;

  explicit Dense(std::vector<int64_t> d, std::vector<T> values = {}) : dims(std::move(d)), v(std::move(values)) {
    int64_t n = 1;
    for (int64_t x : dims) n *= x;
    if (!v.empty()) return;
    for (int64_t i = 0; i < n; ++i) v.push_back(static_cast<T>(i));
  }
  TensorView view() {
    TensorView t;
    t.data = v.data();
    t.dtype = sizeof(T) == 4 ? DType::f32 : sizeof(T) == 8 ? DType::i64 : DType::b1;
    t.dims = dims;
    t.strides = dense_strides(dims);
    return t;
  }
};
using Floats = Dense<float>;
using Ints = Dense<int64_t>;
using Bools = Dense<uint8_t>;

// Elements of a view in row-major order.
template <class T>
std::vector<T> elements(const TensorView& t) {
  std::vector<T> out;
  std::vector<int64_t> at(t.dims.size(), 0);
  for (int64_t n = t.numel(); n > 0; --n) {
    int64_t offset = 0;
    for (size_t d = 0; d < at.size(); ++d) offset += at[d] * t.strides[d];
    out.push_back(static_cast<const T*>(t.data)[offset]);
    for (size_t d = at.size(); d-- > 0;) {
      if (++at[d] < t.dims[d]) break;
      at[d] = 0;
    }
  }
  return out;
}
using F = std::vector<float>;
using I = std::vector<int64_t>;

// --- kernels: float rows ----------------------------------------------------------------------------------------------

// (x, out y; row): y = 2x + 1
inline void k_scale(void* const* p, const int64_t* d, int64_t begin, int64_t end, void*) {
  const float* x = static_cast<const float*>(p[0]);
  float* y = static_cast<float*>(p[1]);
  for (int64_t i = begin * d[0]; i < end * d[0]; ++i) y[i] = 2 * x[i] + 1;
}
// (a, b, out y; row): y = a + b
inline void k_add(void* const* p, const int64_t* d, int64_t begin, int64_t end, void*) {
  const float *a = static_cast<const float*>(p[0]), *b = static_cast<const float*>(p[1]);
  float* y = static_cast<float*>(p[2]);
  for (int64_t i = begin * d[0]; i < end * d[0]; ++i) y[i] = a[i] + b[i];
}
// (inout x; row, scalar): x += scalar, by way of the scratch memory
inline void k_shift(void* const* p, const int64_t* d, int64_t begin, int64_t end, void* scratch) {
  float* x = static_cast<float*>(p[0]);
  double by;
  std::memcpy(&by, &d[1], sizeof by);
  for (int64_t r = begin; r < end; ++r) {
    std::memcpy(scratch, x + r * d[0], static_cast<size_t>(d[0]) * sizeof(float));
    for (int64_t i = 0; i < d[0]; ++i) x[r * d[0] + i] = static_cast<float*>(scratch)[i] + static_cast<float>(by);
  }
}
// (x, out c; row, limit): c = x[0] < limit
inline void k_less(void* const* p, const int64_t* d, int64_t, int64_t, void*) {
  *static_cast<bool*>(p[1]) = *static_cast<const float*>(p[0]) < static_cast<float>(d[1]);
}

inline KernelFn kernel_of(const std::string& name) {
  if (name == "scale") return k_scale;
  if (name == "add") return k_add;
  if (name == "shift") return k_shift;
  if (name == "less") return k_less;
  return nullptr;
}

inline std::shared_ptr<ThreadPool> pool_of(int threads) { return ThreadPool::create(threads).value(); }

// Constants are all zeros unless given.
inline Result<std::shared_ptr<const ExecutableImpl>> try_load(
    const std::string& text, std::vector<ConstantBytes> constants = {}, int threads = 2, SymbolValues symbols = {}) {
  ExecutableParts parts;
  TRY_ASSIGN(parts.plan, parse_plan(text));
  for (const PlanKernel& k : parts.plan.kernels) parts.builtin.push_back(kernel_of(k.name));
  parts.constants = std::move(constants);
  parts.symbols = std::move(symbols);
  if (threads > 0) parts.pool = pool_of(threads);
  return make_executable(std::move(parts));
}
inline std::shared_ptr<const ExecutableImpl> load(
    const std::string& text, std::vector<ConstantBytes> constants = {}, int threads = 2, SymbolValues symbols = {}) {
  auto e = try_load(text, std::move(constants), threads, std::move(symbols));
  EXPECT_TRUE(e.ok()) << (e.ok() ? "" : e.error().to_string());
  return e.ok() ? *e : nullptr;
}
inline std::string load_error(const std::string& text, std::vector<ConstantBytes> constants = {}) {
  auto e = try_load(text, std::move(constants));
  return e.ok() ? "" : e.error().to_string();
}

template <class T>
ConstantBytes bytes_of(const std::vector<T>& v) {
  auto own = std::make_shared<std::vector<T>>(v);
  ConstantBytes c;
  c.data = reinterpret_cast<const std::byte*>(own->data());
  c.size = own->size() * sizeof(T);
  c.owner = own;
  return c;
}

// One run with empty outputs.
inline std::vector<TensorView> run(Context& c, std::vector<TensorView> inputs, size_t outputs = 1) {
  std::vector<TensorView> out(outputs);
  Status s = c.run(inputs, out);
  EXPECT_TRUE(s.ok()) << (s.ok() ? "" : s.error().to_string());
  return out;
}
inline std::string run_error(Context& c, std::vector<TensorView> inputs, size_t outputs = 1) {
  std::vector<TensorView> out(outputs);
  Status s = c.run(inputs, out);
  return s.ok() ? "" : s.error().to_string();
}

#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

}  // namespace weft::executor_test
