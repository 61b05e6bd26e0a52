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

}  // namespace weft::import_test
