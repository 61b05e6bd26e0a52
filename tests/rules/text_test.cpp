// The shape of the repository's texts: lengths, and words that have no place in them.
#include <gtest/gtest.h>

#include <regex>

#include "tests/rules/tree.h"

namespace weft::rules {

namespace {

constexpr size_t kFileLines = 500, kPassLines = 300, kCodeColumns = 160, kDocumentColumns = 120;

// In characters, not bytes.
size_t columns(const std::string& line) {
  size_t n = 0;
  for (unsigned char c : line) n += (c & 0xc0) != 0x80;
  return n;
}

TEST(TextRules, FilesAreShort) {
  for (const TextFile& file : tree()) {
    if (!file.is_cpp() && !file.path.ends_with(".py") && !file.path.ends_with(".cmake")) continue;
    size_t limit = file.is_below("passes") ? kPassLines : kFileLines;
    EXPECT_LE(file.lines.size(), limit) << file.path << ": a file that wants to be longer is usually two ideas";
  }
}

TEST(TextRules, LinesAreShort) {
  for (const TextFile& file : tree()) {
    bool document = file.path.ends_with(".md");
    if (!file.is_cpp() && !document) continue;
    for (size_t i = 0; i < file.lines.size(); ++i)
      EXPECT_LE(columns(file.lines[i]), document ? kDocumentColumns : kCodeColumns) << file.path << ":" << i + 1;
  }
}

TEST(TextRules, HeadersBeginWithWhatTheyAreFor) {
  for (const TextFile& file : tree()) {
    if (!file.path.ends_with(".h")) continue;
    EXPECT_TRUE(!file.lines.empty() && file.lines[0].starts_with("// ")) << file.path;
    bool once = false;
    for (const std::string& line : file.lines) once |= line == "#pragma once";
    EXPECT_TRUE(once) << file.path << " lacks #pragma once";
  }
}

TEST(TextRules, NothingIsLeftForLater) {
  // The words are put together here, so that this file does not hold them.
  const std::regex later("\\b(TO" "DO|FIX" "ME|XX" "X|HA" "CK)\\b");
  for (const TextFile& file : tree())
    for (size_t i = 0; i < file.lines.size(); ++i)
      EXPECT_FALSE(std::regex_search(file.lines[i], later)) << file.path << ":" << i + 1 << ": " << file.lines[i];
}

TEST(TextRules, NoFoldersOfSomebodysMachine) {
  const std::regex machine("(^|[\\s\"'=(:])/(home|root|wo" "rk|Users|mnt)/");
  for (const TextFile& file : tree())
    for (size_t i = 0; i < file.lines.size(); ++i)
      EXPECT_FALSE(std::regex_search(file.lines[i], machine)) << file.path << ":" << i + 1 << ": " << file.lines[i];
}

}  // namespace

}  // namespace weft::rules
