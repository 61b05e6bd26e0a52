// docs/operators.md is what the registry, the importer's rules and the lists of ONNX's node cases say. To write it:
//
//   build/release/tests/docs --update --gtest_filter='Operators*'
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "frontend/onnx/describe.h"
#include "frontend/onnx/node.h"
#include "ir/core/op_def.h"
#include "tests/support/update.h"

namespace weft::docs_test {

namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

Names read_names(const std::string& file) {
  Names out;
  std::ifstream in(std::string(WEFT_SOURCE_DIR) + "/tests/onnx/" + file);
  for (std::string line; std::getline(in, line);)
    if (!line.empty() && line[0] != '#') out.insert(line);
  return out;
}

// Operator → the node cases that hold it. Cases of expanded function bodies are about other operators.
std::map<std::string, Names> cases_by_operator() {
  std::map<std::string, Names> out;
  for (const auto& e : fs::directory_iterator(std::string(WEFT_ONNX_SRC) + "/onnx/backend/test/data/node")) {
    const std::string name = e.path().filename();
    if (name.find("_expanded") != std::string::npos) continue;
    Result<OnnxFacts> facts = describe_onnx_file((e.path() / "model.onnx").string());
    if (!facts.ok()) continue;
    for (const auto& [type, count] : facts->operators) out[type].insert(name);
  }
  return out;
}

// What an operator becomes on import.
std::string becomes(const std::string& type) {
  const size_t dot = type.rfind('.');
  const std::string domain = dot == std::string::npos ? "" : type.substr(0, dot), name = type.substr(dot == std::string::npos ? 0 : dot + 1);
  if (find_rule(domain, name)) return "by a rule";
  if (auto kind = domain.empty() ? op_from_onnx(name) : std::nullopt) return std::string("`") + op_name(*kind) + "`";
  return "its function body";
}

size_t count_outside(const Names& cases, const Names& left_out) {
  return std::count_if(cases.begin(), cases.end(), [&](const std::string& c) { return !left_out.contains(c); });
}

// Those of domains other than ONNX's own.
std::string other_domains() {
  std::map<std::string, Names> found;
#define WEFT_RULE(domain, name, function) \
  if (*domain && !std::string(domain).starts_with("ai.onnx")) found[domain].insert(name);
#include "frontend/onnx/rules/rules.def"
  std::string out;
  for (const auto& [domain, names] : found) {
    out += "\n`" + domain + "`, by rules:\n";
    std::string line;
    for (const std::string& name : names) {
      const std::string word = name + (name == *names.rbegin() ? "." : ",");
      if (line.size() + word.size() > 110) out += std::exchange(line, "") + "\n";
      line += (line.empty() ? "" : " ") + word;
    }
    out += line + "\n";
  }
  return out;
}

std::string document() {
  const Names cpu = read_names("unsupported_cpu.txt"), eval = read_names("unsupported_eval.txt");
  std::map<std::string, Names> operators = cases_by_operator();
  for (int k = 0; k < static_cast<int>(OpKind::kCount); ++k)
    if (const char* name = op_def(static_cast<OpKind>(k)).onnx) operators[name];
  std::ostringstream rows;
  size_t supported = 0;
  for (const auto& [type, cases] : operators) {
    const size_t compiled = count_outside(cases, cpu), evaluated = count_outside(cases, eval);
    const bool none = !cases.empty() && compiled + evaluated == 0;
    supported += !none;
    rows << "| " << type << " | " << (none ? "—" : becomes(type)) << " | ";
    if (cases.empty()) rows << "none | | |\n";
    else rows << cases.size() << " | " << compiled << " | " << evaluated << " |\n";
  }
  std::ostringstream out;
  out << "# Operators\n\nWritten by `tests/docs/operators_test.cpp` from the registry, the importer's rules and the lists of ONNX "
      << onnx_version()
      << "'s node\ncases; a test compares. \"Compiled\" counts the cases that run on `--target cpu`, \"evaluated\" those that the reference\n"
      << "evaluator computes. Opsets " << 7 << " to " << newest_opset()
      << " are read; an operator of an older opset becomes the newest one.\n\n"
      << supported << " of " << operators.size() << " operators run in some form.\n\n"
      << "| operator | becomes | cases | compiled | evaluated |\n| --- | --- | ---: | ---: | ---: |\n"
      << rows.str() << "\n## Of other domains\n"
      << other_domains();
  return out.str();
}

TEST(Operators, DocumentIsUpToDate) {
  const std::string path = std::string(WEFT_SOURCE_DIR) + "/docs/operators.md", now = document();
  if (update_requested()) {
    std::ofstream(path) << now;
    return;
  }
  std::ifstream in(path);
  std::string written{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(written, now) << "run build/release/tests/docs --update --gtest_filter='Operators*'";
}

}  // namespace

}  // namespace weft::docs_test
