// The lexer that the three texts (.wir, .wkernel, .wplan) share, and the helpers that print what it reads back.
// Tokens: identifiers [A-Za-z_$][A-Za-z0-9_.$]*, integers, floats (also inf, nan, 0x1.8p3), "strings" with escapes,
// punctuation. `//` starts a comment.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/dim.h"
#include "ir/base/result.h"

namespace weft {

struct Token {
  enum Kind : uint8_t { end, identifier, integer, number, string, punct } kind = end;
  std::string_view text;  // as written; strings without quotes, still escaped
  size_t offset = 0;
};

class Lexer {
 public:
  explicit Lexer(std::string_view text);
  const Token& peek() const { return tok_; }
  Token next();
  bool at(std::string_view text) const;      // identifier or punctuation, exact
  bool accept(std::string_view text);        // consumes it if it is next
  Status expect(std::string_view text);
  Result<std::string> identifier();
  Result<std::string> quoted();               // a string literal, unescaped
  Result<std::string> name();                 // identifier or quoted: value and node names
  Result<int64_t> integer();                  // with optional leading '-'
  Result<double> number();                    // integer or float, optional '-', inf, nan
  // kInvalidModel with line:column, what was found, and the byte offset.
  Error fail(std::string message) const;

 private:
  void scan();
  std::string_view text_;
  size_t pos_ = 0;
  Token tok_;
};

Result<Dim> parse_dim(Lexer& lx);

bool is_identifier(std::string_view s);
std::string quote(std::string_view s);         // with quotes and escapes; any byte survives
std::string name_text(std::string_view s);     // s when it is an identifier, else quoted
std::string number_text(double v);             // shortest text that reads back equal; always has '.', 'e', inf or nan
std::string join(const std::vector<std::string>& parts, std::string_view sep);
std::string human_bytes(double bytes);

}  // namespace weft
