// weft quantize on what is real: a CNN and an MLP trained on handwritten digits, and PP-OCR's recogniser on words.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/models/model_case.h"

namespace weft::model_test {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kWeft = WEFT_BINARY, kPython = WEFT_ORACLE_PYTHON, kScripts = WEFT_SOURCE_DIR "/tests/models/";

std::string empty_folder(const std::string& name) {
  const std::string folder = std::string(WEFT_BUILD_DIR) + "/" + name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

class Digits : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string digits = WEFT_MODELS_DIR "/scikit_learn/digits.csv.gz";
    if (kPython.empty() || !fs::exists(digits)) GTEST_SKIP() << "tools/setup fetched no digits";
    folder_ = empty_folder(std::string("digits-") + GetParam());
    output_of(kPython + " " + kScripts + "train_digits.py " + digits + " " + folder_);
  }
  // Searched and calibrated on a quarter of what training has not seen, judged on the rest.
  json quantize(const std::string& options) const {
    const std::string name = folder_ + "/" + GetParam(), report = folder_ + "/report.json";
    output_of(kWeft + " quantize " + name + ".onnx --data " + name + "-data --held-out 0.75 --target cpu -q --json=" + report + " -o " + folder_ +
              "/q.onnx " + options);
    return json::parse(std::ifstream(report), nullptr, false);
  }
  std::string folder_;
};

TEST_P(Digits, Int8IsAsGoodAsFloat) {
  for (const char* format : {"int8", "fp8"}) {
    const json j = quantize(std::string("--format ") + format);
    const double as_float = j["held_out"]["float_top1"], quantized = j["held_out"]["top1"];
    EXPECT_GE(j["held_out"]["rows"], 580);
    EXPECT_GT(as_float, 0.94);
    EXPECT_GE(quantized, as_float - 0.005) << format;
    EXPECT_LT(j["bytes"].get<double>(), 0.3 * j["float_bytes"].get<double>());
    std::printf("%s: float %.2f %%, %s %.2f %% of 589 digits\n", GetParam(), 100 * as_float, format, 100 * quantized);
  }
}

TEST_P(Digits, FourBitsAreBetterWithMethods) {
  const double nearest = quantize("--format int4w")["held_out"]["kl"];
  const double gptq = quantize("--format int4w --method gptq")["held_out"]["kl"];
  const json both = quantize("--format int4w --method awq --method gptq --method bias");
  EXPECT_LT(gptq, 0.4 * nearest);
  EXPECT_LT(both["held_out"]["kl"], 0.4 * nearest);
  EXPECT_GE(both["held_out"]["top1"], both["held_out"]["float_top1"].get<double>() - 0.005);
  std::printf("%s, int4w, divergence: to nearest %.2g, gptq %.2g, awq, gptq and bias %.2g\n", GetParam(), nearest, gptq, both["held_out"]["kl"].get<double>());
}

TEST_P(Digits, BudgetsHoldOnWhatWasHeldOut) {
  double last = 0;
  for (const char* limit : {"0.02", "0.002", "0.0005", "0.0001"}) {
    const json j = quantize(std::string("--format int4w --format int8 --budget 'kl<=") + limit + "'");
    EXPECT_LE(j["held_out"]["kl"], std::stod(limit));
    EXPECT_GE(j["bytes"], last);
    last = j["bytes"];
  }
}

INSTANTIATE_TEST_SUITE_P(Trained, Digits, testing::Values("mlp", "cnn"), [](const auto& info) { return info.param; });

TEST(Recogniser, ReadsWordsInInt8) {
  if (kPython.empty() || std::system((kPython + " -c 'import PIL' 2>/dev/null").c_str()) != 0) GTEST_SKIP() << "tools/setup made no Python with Pillow";
  const std::string folder = empty_folder("quantized-words"), model = WEFT_MODELS_DIR "/rapidocr/ch_PP-OCRv4_rec_infer.onnx";
  const std::string script = kPython + " " + kScripts + "ocr_words.py ", source = WEFT_SOURCE_DIR;
  output_of(script + "render " + folder + " " + source + "/LICENSE");
  output_of(kWeft + " quantize " + model + " --data " + folder + "/data --held-out 0.5 --budget 'kl<=0.004' --method equalize --method bias --calibrator mse " +
            "--target cpu -q --json=" + folder + "/report.json -o " + folder + "/q.onnx");
  const std::string output = "softmax_11.tmp_0";
  for (const auto& [path, name] : {std::pair(model, std::string("float")), std::pair(folder + "/q.onnx", std::string("int8"))})
    output_of(kWeft + " run " + path + " --target cpu -q --input x=@" + folder + "/all.npy --output " + output + "=@" + folder + "/" + name + ".npy");
  std::istringstream scores(output_of(script + "score " + model + " " + folder + " " + folder + "/float.npy " + folder + "/int8.npy"));
  double as_float = 0, quantized = 0;
  scores >> as_float >> quantized;
  EXPECT_GT(as_float, 0.95);
  EXPECT_GE(quantized, as_float - 0.01);
  const json j = json::parse(std::ifstream(folder + "/report.json"), nullptr, false);
  int floats = 0;
  for (const json& l : j["layers"]) floats += l["format"] == "float";
  EXPECT_LT(j["bytes"].get<double>(), 0.6 * j["float_bytes"].get<double>());
  std::printf("240 words: float %.1f %%, int8 %.1f %%; %d of %zu layers stay float; %.2f of %.2f MB\n", 100 * as_float, 100 * quantized, floats,
              j["layers"].size(), j["bytes"].get<double>() / 1e6, j["float_bytes"].get<double>() / 1e6);
}

}  // namespace

}  // namespace weft::model_test
