// The demo's way: a recogniser compiled ahead of time, and programs that know weft's runtime alone.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/models/model_case.h"

namespace weft::model_test {

namespace {

TEST(Example, OcrReadsThePicture) {
  const std::string build = WEFT_BUILD_DIR, dumps = build + "/ocr-test-ir", model = build + "/ocr-test.weft";
  std::filesystem::remove_all(dumps);
  output_of(build + "/weft compile " + WEFT_MODELS_DIR + "/rapidocr/ch_PP-OCRv4_rec_infer.onnx --target cpu -o " + model + " --dump-ir " + dumps);
  EXPECT_TRUE(std::filesystem::exists(dumps + "/000_input.wir"));
  const std::string text = output_of(build + "/examples/ocr " + model + " " + WEFT_SOURCE_DIR + "/tools/examples/line.png");
  EXPECT_NE(text.find("text: weft compiles ONNX 2026\n"), std::string::npos) << text;
  EXPECT_NE(text.find("confidence: 0.9"), std::string::npos) << text;
}

TEST(Example, ThirtyLinesRunACompiledModel) {
  const std::string build = WEFT_BUILD_DIR, model = build + "/bert-test.weft";
  output_of(build + "/weft compile " + WEFT_SOURCE_DIR + "/tests/models/shared/bert_ts17/model.onnx -o " + model);
  EXPECT_NE(output_of(build + "/examples/run_artefact " + model).find("on cpu:x86-64-v3\n"), std::string::npos);
}

TEST(Example, ProgramsThatOnlyRunModelsNeedNoCompiler) {
  for (const char* name : {"ocr", "run_artefact"}) {
    const std::string needed = output_of(std::string("readelf -d ") + WEFT_BUILD_DIR + "/examples/" + name);
    EXPECT_NE(needed.find("[libweft-runtime.so"), std::string::npos) << needed;
    EXPECT_EQ(needed.find("[libweft.so"), std::string::npos) << needed;
  }
}

}  // namespace

}  // namespace weft::model_test
