// Text: UTF-8, splitting, upper and lower case. No locale is consulted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// Code points. A byte that is not part of well-formed UTF-8 becomes 0xDC00 + byte, so that encoding gives it back.
std::vector<char32_t> decode_utf8(std::string_view text);
std::string encode_utf8(const std::vector<char32_t>& points);

// Simple case mappings (one code point to one) of Latin, Greek, Cyrillic, Armenian and full-width letters; others stay.
char32_t upper_case(char32_t c);
char32_t lower_case(char32_t c);
std::string upper_case(std::string_view text);
std::string lower_case(std::string_view text);

// At most `maxsplit` cuts (negative: any number); what remains is the last part. An empty delimiter cuts at runs of blanks,
// and blanks at the ends count for nothing; any other one cuts each time it occurs.
std::vector<std::string> split_text(std::string_view text, std::string_view delimiter, int64_t maxsplit);

}  // namespace weft
