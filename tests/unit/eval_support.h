// Runs one op through inference and the reference evaluator.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ir/core/builder.h"
#include "ir/eval/evaluator.h"

namespace weft::eval_test {

inline constexpr double kInf = INFINITY;

inline Tensor floats(DType t, std::vector<int64_t> dims, const std::vector<double>& v) {
  auto r = store_all(t, std::move(dims), v);
  EXPECT_TRUE(r.ok());
  return std::move(r).value();
}
inline Tensor f32(std::vector<int64_t> dims, const std::vector<double>& v) { return floats(DType::f32, std::move(dims), v); }
inline Tensor ints(DType t, std::vector<int64_t> dims, const std::vector<int64_t>& v) {
  auto r = store_all(t, std::move(dims), v);
  EXPECT_TRUE(r.ok());
  return std::move(r).value();
}
inline Tensor i64(std::vector<int64_t> dims, const std::vector<int64_t>& v) { return ints(DType::i64, std::move(dims), v); }
inline Tensor strings(std::vector<int64_t> dims, std::vector<std::string> v) {
  auto r = Tensor::make(DType::str, std::move(dims));
  EXPECT_TRUE(r.ok());
  *r->strings = std::move(v);
  return std::move(r).value();
}

// An operand: a tensor given at run time, a constant, or nothing.
struct Operand {
  std::optional<Tensor> tensor;
  bool constant = false;
  Operand() = default;
  Operand(Tensor t) : tensor(std::move(t)) {}
};
inline Operand fixed(Tensor t) {
  Operand o(std::move(t));
  o.constant = true;
  return o;
}

inline Value* add_operand(Builder& b, const Operand& o) {
  if (!o.tensor) return nullptr;
  const Tensor& t = *o.tensor;
  if (!o.constant) return b.graph()->add_input(Type::tensor(t.dtype, to_shape(t.dims)), "x");
  std::vector<std::byte> bytes(t.data.get(), t.data.get() + t.bytes());
  return b.constant(b.module().constants.add_bytes("", t.dtype, t.dims, std::move(bytes)));
}

inline Result<std::vector<HostValue>> run_op(
    OpKind kind, const std::vector<Operand>& operands, std::unique_ptr<Attrs> attrs = nullptr, int results = 1) {
  Module m;
  Graph* g = m.add_graph("main");
  Builder b(g);
  std::vector<Value*> values;
  std::vector<HostValue> inputs;
  for (const Operand& o : operands) {
    values.push_back(add_operand(b, o));
    if (o.tensor && !o.constant) inputs.push_back(*o.tensor);
  }
  TRY_ASSIGN(Op * op, b.create(kind, values, std::move(attrs), results));
  for (int i = 0; i < results; ++i) g->outputs.push_back(op->result(i));
  return evaluate(*g, std::move(inputs));
}
template <class A>
Result<std::vector<HostValue>> run_op(OpKind kind, const std::vector<Operand>& operands, A attrs, int results = 1) {
  return run_op(kind, operands, std::unique_ptr<Attrs>(std::make_unique<A>(std::move(attrs))), results);
}

inline Tensor result_of(const Result<std::vector<HostValue>>& r, int i = 0) {
  EXPECT_TRUE(r.ok()) << r.error().to_string();
  return r.ok() ? r.value()[i].tensor : Tensor();
}
inline std::vector<double> doubles(const Result<std::vector<HostValue>>& r, int i = 0) { return load_all<double>(result_of(r, i)); }
inline std::vector<int64_t> integers(const Result<std::vector<HostValue>>& r, int i = 0) { return load_all<int64_t>(result_of(r, i)); }

inline void expect_near(const std::vector<double>& got, const std::vector<double>& want, double relative = 1e-6) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t k = 0; k < got.size(); ++k) {
    if (std::isnan(want[k])) EXPECT_TRUE(std::isnan(got[k])) << "element " << k << " is " << got[k];
    else if (std::isinf(want[k])) EXPECT_EQ(got[k], want[k]) << "element " << k;
    else EXPECT_NEAR(got[k], want[k], relative * std::max(1.0, std::fabs(want[k]))) << "element " << k;
  }
}

}  // namespace weft::eval_test
