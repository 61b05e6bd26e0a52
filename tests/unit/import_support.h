// Imports models that a test writes, and runs them through the evaluator.
#pragma once

#include <gtest/gtest.h>

#include "frontend/onnx/import.h"
#include "ir/core/verifier.h"
#include "tests/support/onnx_writer.h"
#include "tests/unit/eval_support.h"

namespace weft::import_test {

using namespace weft::onnx_test;

inline Result<std::unique_ptr<Module>> import(const Message& m, const ImportOptions& options = {}) {
  auto r = import_onnx_bytes(m.span(), "", options);
  if (r.ok()) {
    Status s = verify_module(**r);
    EXPECT_TRUE(s.ok()) << s.error().to_string();
  }
  return r;
}
inline std::unique_ptr<Module> must_import(const Message& m, const ImportOptions& options = {}) {
  auto r = import(m, options);
  EXPECT_TRUE(r.ok()) << r.error().to_string();
  return r.ok() ? std::move(*r) : nullptr;
}
// The Error that importing gives; one of code kOk when there is none.
inline Error import_error(const Message& m, const ImportOptions& options = {}) {
  auto r = import(m, options);
  if (!r.ok()) return r.error();
  Error none;
  none.code = Code::kOk;
  return none;
}
inline std::string input_types(const Module& m) {
  std::string out;
  for (auto& v : m.main()->inputs) out += (out.empty() ? "" : " ") + v->name + ":" + v->type.to_string();
  return out;
}
// The first output for f32 vectors as inputs.
inline std::vector<double> run(const Module& m, const std::vector<std::vector<double>>& inputs) {
  std::vector<HostValue> in;
  for (auto& v : inputs) in.push_back(eval_test::f32({static_cast<int64_t>(v.size())}, v));
  auto out = evaluate(*m.main(), std::move(in));
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  return out.ok() ? load_all<double>((*out)[0].tensor) : std::vector<double>();
}

// --- models of one node ---

inline Message ints_attr(const std::string& name, const std::vector<int64_t>& v) {
  Message m;
  m.text(1, name);
  for (int64_t i : v) m.num(8, i);
  return m.num(20, 7);
}
inline Message floats_attr(const std::string& name, const std::vector<float>& v) {
  Message m;
  m.text(1, name);
  for (float f : v) m.real(7, f);
  return m.num(20, 6);
}
inline Message text_attr(const std::string& name, const std::string& v) { return Message().text(1, name).text(4, v).num(20, 3); }

struct Input {
  std::vector<int64_t> dims;
  std::vector<double> values;
};

inline Message one_node(const Message& n, const std::vector<Input>& inputs, int opset_version, const std::vector<Message>& constants = {}) {
  GraphParts g{{n}, {}, {value_info("y", kFloat, {})}, constants};
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::vector<std::string> dims;
    for (int64_t d : inputs[i].dims) dims.push_back(std::to_string(d));
    g.inputs.push_back(value_info("x" + std::to_string(i), kFloat, dims));
  }
  return model(graph(g), {}, 8, {opset("", opset_version), opset("com.microsoft", 1)});
}

// The result "y" of a model of one node whose inputs x0, x1, ... are these.
inline Input result(const Message& n, const std::vector<Input>& inputs, int opset_version, const std::vector<Message>& constants = {}) {
  auto m = must_import(one_node(n, inputs, opset_version, constants));
  if (!m) return {};
  std::vector<HostValue> in;
  for (const Input& i : inputs) in.push_back(eval_test::f32(i.dims, i.values));
  auto out = evaluate(*m->main(), std::move(in));
  EXPECT_TRUE(out.ok()) << out.error().to_string();
  if (!out.ok()) return {};
  return {(*out)[0].tensor.dims, load_all<double>((*out)[0].tensor)};
}

inline void expect(const Input& got, const std::vector<int64_t>& dims, const std::vector<double>& values) {
  EXPECT_EQ(got.dims, dims);
  ASSERT_EQ(got.values.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(got.values[i], values[i], 1e-5) << "element " << i;
}

}  // namespace weft::import_test
