// What `weft opt --dump-ir` writes of real models can be fed back: every file parses, prints to the same text, and
// compiles to what the model computes.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "frontend/api/compilation.h"
#include "ir/text/module_file.h"
#include "tests/models/model_case.h"

namespace weft::model_test {

namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The dumps of a model's passes, in order.
std::vector<std::string> dump(const std::string& model, const std::string& name) {
  const fs::path folder = fs::path(WEFT_BUILD_DIR) / "dumps" / name;
  fs::remove_all(folder);
  CompileOptions options;
  options.dump_ir = folder.string();
  Compilation c(options);
  Status s = c.load_file(model);
  if (s.ok()) s = c.apply_shapes();
  if (s.ok()) s = c.optimise();
  EXPECT_TRUE(s.ok()) << s.error().to_string();
  std::vector<std::string> files;
  for (const auto& e : fs::directory_iterator(folder))
    if (e.path().extension() == ".wir") files.push_back(e.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

// Read and written again, a file is what it was, its large constants included.
void expect_fixed_point(const std::string& file) {
  auto m = load_module(file);
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  const std::string weights = fs::path(file).replace_extension(".weights").string();
  const std::string text = text_of(file), bytes = text_of(weights);
  Status s = save_module(**m, file);
  ASSERT_TRUE(s.ok()) << s.error().to_string();
  EXPECT_TRUE(text_of(file) == text) << file << " prints to another text";
  EXPECT_TRUE(text_of(weights) == bytes) << weights << " is written with other contents";
}

// `cases`: a folder in ONNX's backend-test layout.
void expect_dumps_can_be_fed_back(const std::string& cases, const std::string& name) {
  const std::vector<std::string> files = dump(cases + "/model.onnx", name);
  EXPECT_GT(files.size(), 5u);
  for (const std::string& file : files) {
    SCOPED_TRACE(file);
    ASSERT_NO_FATAL_FAILURE(expect_fixed_point(file));
    ASSERT_NO_FATAL_FAILURE(expect_recorded(compiled(file), cases));
  }
}

const std::string kExports = std::string(WEFT_SOURCE_DIR) + "/tests/models/shared/";

TEST(Dumps, Bert) { expect_dumps_can_be_fed_back(kExports + "bert_ts17", "bert"); }
TEST(Dumps, Llama) { expect_dumps_can_be_fed_back(kExports + "llama_dynamo23", "llama"); }
TEST(Dumps, OcrRecogniser) { expect_dumps_can_be_fed_back(prepared("record_models") + "/rapidocr/ch_PP-OCRv4_rec_infer", "ocr"); }

}  // namespace

}  // namespace weft::model_test
