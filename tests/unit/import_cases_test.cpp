// Every node case of ONNX and every real model comes in, or is refused as unsupported; what comes in verifies.
#include <filesystem>

#include "tests/unit/import_support.h"

namespace weft::import_test {

namespace {

namespace fs = std::filesystem;

std::string import_fault(const fs::path& model) {
  auto m = import_onnx_file(model.string());
  if (!m.ok()) return m.error().code == Code::kUnsupported ? "" : m.error().to_string();
  Status s = verify_module(**m);
  return s.ok() ? "" : s.error().to_string();
}

}  // namespace

TEST(ImportCases, NodeCases) {
  int cases = 0;
  for (const auto& e : fs::directory_iterator(std::string(WEFT_ONNX_SRC) + "/onnx/backend/test/data/node")) {
    ++cases;
    EXPECT_EQ(import_fault(e.path() / "model.onnx"), "") << e.path().filename();
  }
  EXPECT_EQ(cases, 1765);
}

TEST(ImportCases, RealModels) {
  int models = 0;
  for (const char* folder : {WEFT_MODELS_DIR, WEFT_SOURCE_DIR "/tests/models/shared", WEFT_ONNX_SRC "/onnx/backend/test/data/light"})
    for (const auto& e : fs::recursive_directory_iterator(folder)) {
      if (e.path().extension() != ".onnx") continue;
      ++models;
      auto m = import_onnx_file(e.path().string());
      EXPECT_TRUE(m.ok()) << e.path() << ": " << m.error().to_string();
    }
  EXPECT_GE(models, 23);
}

}  // namespace weft::import_test
