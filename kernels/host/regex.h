// Regular expressions in RE2's syntax, for whole-text matches. The pattern becomes a program whose states run side by side,
// so that time is (text length × pattern length) for every pattern and nothing recurses over the text.
// Not handled: \p{...} (classes of Unicode properties), \C (one byte); as in RE2 there are no back-references and no
// look-around. \d \s \w and [[:name:]] mean ASCII characters.
#pragma once

#include <string_view>
#include <vector>

#include "ir/base/result.h"

namespace weft {

struct RegexRange {
  char32_t lo, hi;
};
struct RegexInst {
  enum class Kind : uint8_t { set, split, jump, text_start, text_end, line_start, line_end, word_edge, no_word_edge, match };
  Kind kind = Kind::match;
  bool negated = false, fold = false;  // set
  int to = 0, other = 0;               // split: both; jump: to
  std::vector<RegexRange> ranges;      // set
};
struct Regex {
  std::vector<RegexInst> program;

  // Error kInvalidModel for a pattern that breaks the syntax, kUnsupported for what is named above.
  static Result<Regex> compile(std::string_view pattern);
  bool matches(std::string_view text) const;  // all of it
};

}  // namespace weft
