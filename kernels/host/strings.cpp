#include "kernels/host/strings.h"

namespace weft {

// --- UTF-8 ----------------------------------------------------------------------------------------------------------

// The length of the well-formed sequence at p (at most n bytes) and its code point; 0 when there is none.
static int decode_point(const unsigned char* p, size_t n, char32_t* c) {
  if (p[0] < 0x80) return *c = p[0], 1;
  int length = p[0] >= 0xF0 && p[0] < 0xF5 ? 4 : p[0] >= 0xE0 && p[0] < 0xF0 ? 3 : p[0] >= 0xC2 && p[0] < 0xE0 ? 2 : 0;
  if (length == 0 || static_cast<size_t>(length) > n) return 0;
  char32_t v = p[0] & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    if ((p[i] & 0xC0) != 0x80) return 0;
    v = v << 6 | (p[i] & 0x3F);
  }
  const bool overlong = (length == 3 && v < 0x800) || (length == 4 && v < 0x10000);
  if (overlong || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000)) return 0;
  *c = v;
  return length;
}
std::vector<char32_t> decode_utf8(std::string_view text) {
  std::vector<char32_t> out;
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  for (size_t i = 0; i < text.size();) {
    char32_t c = 0;
    int n = decode_point(p + i, text.size() - i, &c);
    out.push_back(n ? c : 0xDC00 + p[i]);
    i += n ? n : 1;
  }
  return out;
}
std::string encode_utf8(const std::vector<char32_t>& points) {
  std::string out;
  auto put = [&](char32_t v) { out += static_cast<char>(v); };
  for (char32_t c : points) {
    if (c >= 0xDC00 && c < 0xDD00) {
      put(c - 0xDC00);
    } else if (c < 0x80) {
      put(c);
    } else if (c < 0x800) {
      put(0xC0 | c >> 6);
      put(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      put(0xE0 | c >> 12);
      put(0x80 | (c >> 6 & 0x3F));
      put(0x80 | (c & 0x3F));
    } else {
      put(0xF0 | c >> 18);
      put(0x80 | (c >> 12 & 0x3F));
      put(0x80 | (c >> 6 & 0x3F));
      put(0x80 | (c & 0x3F));
    }
  }
  return out;
}

// --- case -----------------------------------------------------------------------------------------------------------

namespace {
// Capitals [first, last], `step` apart, whose small letters stand `offset` further on.
struct CaseRange {
  char32_t first, last;
  int step, offset;
};
constexpr CaseRange kCases[] = {
    {'A', 'Z', 1, 32},           {0xC0, 0xD6, 1, 32},         {0xD8, 0xDE, 1, 32},         {0x100, 0x12E, 2, 1},
    {0x132, 0x136, 2, 1},        {0x139, 0x147, 2, 1},        {0x14A, 0x176, 2, 1},        {0x178, 0x178, 1, -121},
    {0x179, 0x17D, 2, 1},        {0x1CD, 0x1DB, 2, 1},        {0x1DE, 0x1EE, 2, 1},        {0x1F8, 0x21E, 2, 1},
    {0x222, 0x232, 2, 1},        {0x386, 0x386, 1, 38},       {0x388, 0x38A, 1, 37},       {0x38C, 0x38C, 1, 64},
    {0x38E, 0x38F, 1, 63},       {0x391, 0x3A1, 1, 32},       {0x3A3, 0x3AB, 1, 32},       {0x3D8, 0x3EE, 2, 1},
    {0x400, 0x40F, 1, 80},       {0x410, 0x42F, 1, 32},       {0x460, 0x480, 2, 1},        {0x48A, 0x4BE, 2, 1},
    {0x4C1, 0x4CD, 2, 1},        {0x4D0, 0x52E, 2, 1},        {0x531, 0x556, 1, 48},       {0x1E00, 0x1E94, 2, 1},
    {0x1EA0, 0x1EFE, 2, 1},      {0xFF21, 0xFF3A, 1, 32},
};
}  // namespace

char32_t lower_case(char32_t c) {
  for (const CaseRange& r : kCases)
    if (c >= r.first && c <= r.last && (c - r.first) % r.step == 0) return c + r.offset;
  return c;
}
char32_t upper_case(char32_t c) {
  if (c == 0x3C2) return 0x3A3;  // the sigma at a word's end
  for (const CaseRange& r : kCases) {
    char32_t capital = c - r.offset;
    if (capital >= r.first && capital <= r.last && (capital - r.first) % r.step == 0) return capital;
  }
  return c;
}
template <char32_t (*f)(char32_t)>
static std::string mapped(std::string_view text) {
  std::vector<char32_t> points = decode_utf8(text);
  for (char32_t& c : points) c = f(c);
  return encode_utf8(points);
}
std::string upper_case(std::string_view text) { return mapped<upper_case>(text); }
std::string lower_case(std::string_view text) { return mapped<lower_case>(text); }

// --- splitting ------------------------------------------------------------------------------------------------------

static bool is_blank(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
// Bytes of the blank at `at`, 0 when there is none.
static size_t blank_at(std::string_view text, size_t at) {
  char32_t c = 0;
  int n = decode_point(reinterpret_cast<const unsigned char*>(text.data()) + at, text.size() - at, &c);
  return n && is_blank(c) ? n : 0;
}
static std::vector<std::string> split_blanks(std::string_view text, int64_t maxsplit) {
  std::vector<std::string> out;
  size_t at = 0;
  while (true) {
    while (at < text.size() && blank_at(text, at)) at += blank_at(text, at);
    if (at >= text.size()) return out;
    if (maxsplit >= 0 && static_cast<int64_t>(out.size()) == maxsplit) break;
    size_t from = at;
    while (at < text.size() && !blank_at(text, at)) ++at;
    out.emplace_back(text.substr(from, at - from));
  }
  out.emplace_back(text.substr(at));
  return out;
}
std::vector<std::string> split_text(std::string_view text, std::string_view delimiter, int64_t maxsplit) {
  if (delimiter.empty()) return split_blanks(text, maxsplit);
  std::vector<std::string> out;
  while (maxsplit < 0 || static_cast<int64_t>(out.size()) < maxsplit) {
    size_t cut = text.find(delimiter);
    if (cut == std::string_view::npos) break;
    out.emplace_back(text.substr(0, cut));
    text.remove_prefix(cut + delimiter.size());
  }
  out.emplace_back(text);
  return out;
}

}  // namespace weft
