#include "tests/rules/tree.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace weft::rules {

namespace fs = std::filesystem;

namespace {

bool is_text(const fs::path& p) {
  static const std::vector<std::string> kExtensions = {
      ".h", ".cpp", ".def", ".cuh", ".cmake", ".md", ".txt", ".py", ".json", ".wir", ".wplan", ".wkernel", ".in", ""};
  return std::find(kExtensions.begin(), kExtensions.end(), p.extension().string()) != kExtensions.end();
}

void add_file(const fs::path& root, const fs::path& p, std::vector<TextFile>& out) {
  TextFile file{fs::relative(p, root).generic_string(), {}};
  std::ifstream in(p);
  for (std::string line; std::getline(in, line);) file.lines.push_back(line);
  out.push_back(std::move(file));
}

std::vector<TextFile> read_tree() {
  const fs::path root = WEFT_SOURCE_DIR;
  std::vector<TextFile> out;
  for (const fs::directory_entry& top : fs::directory_iterator(root)) {
    const std::string name = top.path().filename().string();
    if (top.is_regular_file() && is_text(top.path()) && name != ".git") add_file(root, top.path(), out);
    if (!top.is_directory() || name == "build" || (name.starts_with('.') && name != ".ci")) continue;
    for (const fs::directory_entry& e : fs::recursive_directory_iterator(top.path()))
      if (e.is_regular_file() && is_text(e.path())) add_file(root, e.path(), out);
  }
  std::sort(out.begin(), out.end(), [](const TextFile& a, const TextFile& b) { return a.path < b.path; });
  return out;
}

}  // namespace

const std::vector<TextFile>& tree() {
  static const std::vector<TextFile> files = read_tree();
  return files;
}

}  // namespace weft::rules
