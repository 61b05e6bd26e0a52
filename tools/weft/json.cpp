#include "tools/weft/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace weft::cli {

namespace {

// Length of the UTF-8 sequence at s[i]; 0 when it is none.
size_t sequence(std::string_view s, size_t i) {
  auto c = static_cast<unsigned char>(s[i]);
  size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  if (n == 0 || i + n > s.size()) return 0;
  for (size_t k = 1; k < n; ++k)
    if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return 0;
  if (n < 3) return n;
  auto d = static_cast<unsigned char>(s[i + 1]);
  bool overlong = (c == 0xe0 && d < 0xa0) || (c == 0xf0 && d < 0x90), outside = (c == 0xed && d >= 0xa0) || (c == 0xf4 && d >= 0x90);
  return overlong || outside ? 0 : n;
}

void write_string(std::string& out, std::string_view s) {
  out += '"';
  for (size_t i = 0; i < s.size();) {
    size_t n = sequence(s, i);
    char c = s[i];
    if (n == 0) {
      out += "\xef\xbf\xbd";
      n = 1;
    } else if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
      out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : buffer;
    } else {
      out.append(s.substr(i, n));
    }
    i += n;
  }
  out += '"';
}

}  // namespace

Json::Json(double v) {
  if (!std::isfinite(v)) return;
  char buffer[32];
  auto [end, ec] = std::to_chars(buffer, buffer + sizeof buffer, v);
  kind_ = Kind::word;
  text_.assign(buffer, end);
}

Json& Json::operator[](std::string_view key) {
  if (kind_ == Kind::null) kind_ = Kind::object;
  auto it = std::find(keys_.begin(), keys_.end(), key);
  if (it != keys_.end()) return items_[static_cast<size_t>(it - keys_.begin())];
  keys_.emplace_back(key);
  return items_.emplace_back();
}

void Json::push_back(Json v) {
  if (kind_ == Kind::null) kind_ = Kind::array;
  items_.push_back(std::move(v));
}

bool Json::flat() const {
  return kind_ == Kind::array &&
         std::all_of(items_.begin(), items_.end(), [](const Json& j) { return j.kind_ != Kind::array && j.kind_ != Kind::object; });
}

void Json::write(std::string& out, int depth) const {
  const std::string line = "\n" + std::string(static_cast<size_t>(depth) * 2 + 2, ' ');
  switch (kind_) {
    case Kind::null: out += "null"; return;
    case Kind::word: out += text_; return;
    case Kind::string: write_string(out, text_); return;
    default: break;
  }
  const bool object = kind_ == Kind::object, one_line = items_.empty() || flat();
  out += object ? '{' : '[';
  for (size_t i = 0; i < items_.size(); ++i) {
    if (i) out += one_line ? ", " : ",";
    if (!one_line) out += line;
    if (object) {
      write_string(out, keys_[i]);
      out += ": ";
    }
    items_[i].write(out, depth + 1);
  }
  if (!one_line) out.append(line, 0, line.size() - 2);
  out += object ? '}' : ']';
}

std::string Json::dump() const {
  std::string out;
  write(out, 0);
  return out;
}

}  // namespace weft::cli
