// The demo's program reads its picture.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

namespace weft::model_test {

namespace {

TEST(Example, OcrReadsThePicture) {
  const std::string dumps = std::string(WEFT_BUILD_DIR) + "/ocr-test-ir";
  std::filesystem::remove_all(dumps);
  const std::string command = std::string(WEFT_BUILD_DIR) + "/examples/ocr " + WEFT_MODELS_DIR + "/rapidocr/ch_PP-OCRv4_rec_infer.onnx " +
                              WEFT_SOURCE_DIR + "/tools/examples/line.png --dump-ir " + dumps + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string text;
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, pipe)) text += buffer;
  EXPECT_EQ(pclose(pipe), 0) << text;
  EXPECT_NE(text.find("text: weft compiles ONNX 2026\n"), std::string::npos) << text;
  EXPECT_NE(text.find("confidence: 0.9"), std::string::npos) << text;
  EXPECT_TRUE(std::filesystem::exists(dumps + "/000_input.wir"));
}

}  // namespace

}  // namespace weft::model_test
