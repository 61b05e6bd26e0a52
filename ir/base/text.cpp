#include "ir/base/text.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace weft {

static bool ident_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool ident_char(char c) { return ident_start(c) || digit(c) || c == '.'; }

bool is_identifier(std::string_view s) {
  if (s.empty() || !ident_start(s[0])) return false;
  for (char c : s)
    if (!ident_char(c)) return false;
  return true;
}

Lexer::Lexer(std::string_view text) : text_(text) { scan(); }

void Lexer::scan() {
  while (pos_ < text_.size()) {
    char c = text_[pos_];
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
      ++pos_;
    } else if (c == '/' && pos_ + 1 < text_.size() && text_[pos_ + 1] == '/') {
      while (pos_ < text_.size() && text_[pos_] != '\n') ++pos_;
    } else {
      break;
    }
  }
  size_t start = pos_;
  tok_ = Token{Token::end, {}, start};
  if (pos_ >= text_.size()) return;
  char c = text_[pos_];
  if (ident_start(c)) {
    while (pos_ < text_.size() && ident_char(text_[pos_])) ++pos_;
    tok_.kind = Token::identifier;
  } else if (digit(c)) {
    tok_.kind = Token::integer;
    bool hex = c == '0' && pos_ + 1 < text_.size() && (text_[pos_ + 1] == 'x');
    if (hex) pos_ += 2;
    while (pos_ < text_.size()) {
      char d = text_[pos_];
      if (d == '.' && pos_ + 1 < text_.size() && text_[pos_ + 1] == '.') break;  // a range: 1..64
      bool exp = hex ? (d == 'p' || d == 'P') : (d == 'e' || d == 'E');
      if (exp || d == '.') tok_.kind = Token::number;
      if (exp && pos_ + 1 < text_.size() && (text_[pos_ + 1] == '-' || text_[pos_ + 1] == '+')) {
        pos_ += 2;
      } else if (digit(d) || d == '.' || exp || (hex && std::isxdigit(static_cast<unsigned char>(d)))) {
        ++pos_;
      } else {
        break;
      }
    }
  } else if (c == '"') {
    ++pos_;
    while (pos_ < text_.size() && text_[pos_] != '"') pos_ += text_[pos_] == '\\' ? 2 : 1;
    if (pos_ >= text_.size()) {  // unterminated: reported as an unexpected token
      pos_ = text_.size();
      tok_ = Token{Token::punct, text_.substr(start), start};
      return;
    }
    tok_ = Token{Token::string, text_.substr(start + 1, pos_ - start - 1), start};
    ++pos_;
    return;
  } else {
    static const char* const kTwo[] = {"->", "..", "<=", ">=", "=="};
    size_t len = 1;
    for (const char* t : kTwo)
      if (text_.substr(pos_, 2) == t) len = 2;
    pos_ += len;
    tok_.kind = Token::punct;
  }
  tok_.text = text_.substr(start, pos_ - start);
}

Token Lexer::next() {
  Token t = tok_;
  scan();
  return t;
}
bool Lexer::at(std::string_view t) const { return (tok_.kind == Token::identifier || tok_.kind == Token::punct) && tok_.text == t; }
bool Lexer::accept(std::string_view t) {
  if (!at(t)) return false;
  scan();
  return true;
}
Status Lexer::expect(std::string_view t) {
  if (accept(t)) return {};
  return fail("expected `" + std::string(t) + "`");
}
Result<std::string> Lexer::identifier() {
  if (tok_.kind != Token::identifier) return fail("expected a name");
  return std::string(next().text);
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> Lexer::quoted() {
  if (tok_.kind != Token::string) return fail("expected a string");
  std::string_view s = tok_.text;
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '\\') {
      out += s[i];
      continue;
    }
    if (++i >= s.size()) return fail("string ends in a backslash");
    switch (s[i]) {
      case 'n': out += '\n'; break;
      case 't': out += '\t'; break;
      case '\\': out += '\\'; break;
      case '"': out += '"'; break;
      case 'x': {
        int h = i + 1 < s.size() ? hex_value(s[i + 1]) : -1, l = i + 2 < s.size() ? hex_value(s[i + 2]) : -1;
        if (h < 0 || l < 0) return fail("bad \\x escape");
        out += static_cast<char>(h * 16 + l);
        i += 2;
        break;
      }
      default: return fail("unknown escape");
    }
  }
  scan();
  return out;
}
Result<std::string> Lexer::name() { return tok_.kind == Token::string ? quoted() : identifier(); }

Result<int64_t> Lexer::integer() {
  bool neg = accept("-");
  if (tok_.kind != Token::integer) return fail("expected an integer");
  uint64_t v = 0;
  std::string_view t = tok_.text;
  int base = 10;
  if (t.size() > 2 && t[1] == 'x') {
    base = 16;
    t.remove_prefix(2);
  }
  auto r = std::from_chars(t.data(), t.data() + t.size(), v, base);
  uint64_t limit = static_cast<uint64_t>(INT64_MAX) + (neg ? 1 : 0);
  if (r.ec != std::errc() || r.ptr != t.data() + t.size() || v > limit) return fail("integer out of range");
  scan();
  return static_cast<int64_t>(neg ? 0 - v : v);
}

Result<double> Lexer::number() {
  bool neg = accept("-");
  double v = 0;
  if (accept("inf")) {
    v = std::numeric_limits<double>::infinity();
  } else if (accept("nan")) {
    v = std::numeric_limits<double>::quiet_NaN();
  } else if (tok_.kind == Token::integer || tok_.kind == Token::number) {
    std::string_view t = tok_.text;
    auto fmt = std::chars_format::general;
    if (t.size() > 2 && t[1] == 'x') {
      fmt = std::chars_format::hex;
      t.remove_prefix(2);
    }
    auto r = std::from_chars(t.data(), t.data() + t.size(), v, fmt);
    if (r.ptr != t.data() + t.size() || r.ec == std::errc::invalid_argument) return fail("malformed number");
    scan();
  } else {
    return fail("expected a number");
  }
  return neg ? -v : v;
}

Error Lexer::fail(std::string message) const {
  size_t line = 1, col = 1;
  for (size_t i = 0; i < tok_.offset && i < text_.size(); ++i) {
    if (text_[i] == '\n') {
      ++line;
      col = 1;
    } else {
      ++col;
    }
  }
  std::string found = tok_.kind == Token::end ? "the end of the text" : "`" + std::string(tok_.text.substr(0, 40)) + "`";
  Error e = invalid("line " + std::to_string(line) + ", column " + std::to_string(col) + ": " + message + ", found " + found);
  e.offset = static_cast<long long>(tok_.offset);
  return e;
}

std::string quote(std::string_view s) {
  std::string out = "\"";
  for (unsigned char c : s) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c < 0x20 || c == 0x7f) {
      static const char* hex = "0123456789abcdef";
      out += "\\x";
      out += hex[c >> 4];
      out += hex[c & 15];
    } else {
      out += static_cast<char>(c);
    }
  }
  return out + "\"";
}
std::string name_text(std::string_view s) { return is_identifier(s) ? std::string(s) : quote(s); }

std::string number_text(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v < 0 ? "-inf" : "inf";
  char buf[40];
  auto r = std::to_chars(buf, buf + sizeof buf, v);
  std::string s(buf, r.ptr);
  if (s.find_first_of(".e") == std::string::npos) s += ".0";
  return s;
}
std::string join(const std::vector<std::string>& parts, std::string_view sep) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i) out += sep;
    out += parts[i];
  }
  return out;
}
std::string human_bytes(double b) {
  static const char* const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int u = 0;
  while (b >= 1024 && u < 4) {
    b /= 1024;
    ++u;
  }
  char buf[32];
  std::snprintf(buf, sizeof buf, u == 0 ? "%.0f %s" : "%.2f %s", b, unit[u]);
  return buf;
}

}  // namespace weft
