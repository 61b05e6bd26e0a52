// Passes on texts. A case is a file tests/golden/cases/**.wir:
//
//   // passes: canonicalize-views, eliminate-dead          or  level: 2  (all passes of a level)
//   // states: past=present, auto                          (what --state would say; may be left out)
//   // precision: f16                                   (what --precision would say; and keep: Conv_0, --keep-f32)
//   // mesh: dp=2,tp=2                                   (what --mesh would say)
//   // deterministic: 4                                 (what --deterministic would say)
//   // devices: h20x2-pcie-x8                           (the target's usual ones where it is left out)
//   // target: cuda:sm_90a                               (x86-64-v3 where it is left out)
//   // what the case is about
//   weft.module 1 "…"
//   …
//   // ---- becomes
//   weft.module 1 "…"
//   …
//
// What stands behind the line is compared with what the passes make of what stands before it. `golden --update` writes it
// anew. In every case both modules give the same outputs on the same random inputs, and the result prints, parses and
// prints to the same text.
#include <filesystem>
#include <fstream>

#include "ir/base/text.h"
#include "ir/text/parser.h"
#include "ir/text/printer.h"
#include "frontend/api/device_tables.h"
#include "passes/pass_manager.h"
#include "tests/support/same_module.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
constexpr const char* kMark = "// ---- becomes\n";
bool update = false;

std::string read_text(const fs::path& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), {}};
}

std::vector<std::string> case_names() {
  std::vector<std::string> out;
  fs::path root = fs::path(WEFT_SOURCE_DIR) / "tests/golden/cases";
  for (auto& e : fs::recursive_directory_iterator(root))
    if (e.path().extension() == ".wir") out.push_back(e.path().lexically_relative(root).string());
  std::sort(out.begin(), out.end());
  return out;
}

// The words behind `// KEY:` in the header.
std::vector<std::string> header_words(const std::string& text, const std::string& key) {
  std::vector<std::string> out;
  size_t at = text.find("// " + key + ":");
  if (at == std::string::npos) return out;
  std::stringstream line(text.substr(at + key.size() + 4, text.find('\n', at) - at - key.size() - 4));
  for (std::string word; std::getline(line, word, ',');) {
    word.erase(0, word.find_first_not_of(' '));
    word.erase(word.find_last_not_of(' ') + 1);
    out.push_back(word);
  }
  return out;
}

PipelineOptions options_of(const std::string& text) {
  PipelineOptions o;
  o.check_types = o.check_changed = true;
  if (auto level = header_words(text, "level"); !level.empty()) o.opt_level = std::stoi(level[0]);
  else o.passes = header_words(text, "passes");
  return o;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, Case) {
  fs::path path = fs::path(WEFT_SOURCE_DIR) / "tests/golden/cases" / GetParam();
  std::string text = read_text(path);
  size_t mark = text.find(kMark);
  std::string input = text.substr(0, mark), want = mark == std::string::npos ? "" : text.substr(mark + std::strlen(kMark));

  auto before = parse_module(input), m = parse_module(input);
  ASSERT_TRUE(m.ok()) << m.error().to_string();
  PassContext cx;
  const std::vector<std::string> target = header_words(input, "target");
  cx.target = *parse_target(target.empty() ? "cpu:x86-64-v3" : target[0]);
  cx.states = header_words(input, "states");
  cx.mesh = *parse_mesh(join(header_words(input, "mesh"), ","));
  for (const std::string& n : header_words(input, "deterministic")) cx.deterministic = std::stoll(n);
  for (const std::string& table : header_words(input, "devices")) cx.devices = api::find_device_table(table).value();
  for (const std::string& t : header_words(input, "precision")) cx.precision = precision_from_name(t);
  cx.keep_f32 = header_words(input, "keep");
  Status s = run_pipeline(**m, cx, options_of(input));
  ASSERT_TRUE(s.ok()) << s.error().to_string();

  std::string got = print_module(**m);
  if (update && got != want) std::ofstream(path, std::ios::binary) << input << kMark << got;
  else EXPECT_EQ(got, want);
  auto again = parse_module(got);
  ASSERT_TRUE(again.ok()) << again.error().to_string() << got;
  EXPECT_EQ(print_module(**again), got);

  auto inputs = test::random_inputs(**before, 1);
  ASSERT_TRUE(inputs.ok()) << inputs.error().to_string();
  auto expected = test::run_main(**before, *inputs), result = test::run_main(**m, *inputs);
  ASSERT_TRUE(expected.ok()) << expected.error().to_string();
  ASSERT_TRUE(result.ok()) << result.error().to_string();
  EXPECT_EQ(test::difference(*result, *expected, cx.precision ? 2e-3 : 1e-5), "");
}

INSTANTIATE_TEST_SUITE_P(All, Golden, testing::ValuesIn(case_names()), [](const auto& info) {
  std::string name = info.param.substr(0, info.param.size() - 4);
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

}  // namespace
}  // namespace weft

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) weft::update = weft::update || std::string(argv[i]) == "--update";
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
