// Literals: numbers, strings and nested lists of them.
#include <charconv>
#include <cmath>
#include <cstring>
#include <numeric>

#include "ir/base/text.h"
#include "tools/weft/inputs.h"

namespace weft::cli {

namespace {

struct Literal {
  std::vector<std::string> items;
  std::vector<int64_t> dims;
  bool nested = false;
};

class LiteralParser {
 public:
  explicit LiteralParser(std::string_view text) : text_(text) {}

  Result<Literal> parse() {
    skip();
    if (at('[')) {
      out_.nested = true;
      TRY(list(0));
    } else {
      TRY(items());
      out_.dims = {static_cast<int64_t>(out_.items.size())};
    }
    skip();
    if (pos_ != text_.size()) return fail("unexpected `" + std::string(text_.substr(pos_, 10)) + "`");
    return std::move(out_);
  }

 private:
  bool at(char c) const { return pos_ < text_.size() && text_[pos_] == c; }
  void skip() {
    while (at(' ')) ++pos_;
  }
  Error fail(const std::string& what) const { return usage("in the literal " + std::string(text_.substr(0, 40)) + ": " + what); }

  Status list(size_t depth) {
    if (depth >= 64) return fail("lists are nested too deeply");
    ++pos_;
    int64_t count = 0;
    skip();
    while (!at(']')) {
      if (at('[')) TRY(list(depth + 1));
      else TRY(item());
      ++count;
      skip();
      if (at(',')) ++pos_;
      else if (!at(']')) return fail("a list does not end");
      skip();
    }
    ++pos_;
    if (out_.dims.size() <= depth) out_.dims.resize(depth + 1, -1);
    if (out_.dims[depth] >= 0 && out_.dims[depth] != count) return fail("lists beside each other have different lengths");
    out_.dims[depth] = count;
    return {};
  }

  Status items() {
    while (pos_ < text_.size()) {
      TRY(item());
      skip();
      if (at(',')) ++pos_;
      else break;
      skip();
    }
    return {};
  }

  Status item() {
    if (at('"')) {
      size_t from = pos_++;
      while (pos_ < text_.size() && !at('"')) pos_ += at('\\') ? 2 : 1;
      if (!at('"')) return fail("a string does not end");
      ++pos_;
      Lexer lx(text_.substr(from, pos_ - from));
      TRY_ASSIGN(std::string s, lx.quoted());
      out_.items.push_back(std::move(s));
      return {};
    }
    size_t from = pos_;
    while (pos_ < text_.size() && !std::strchr(",[] ", text_[pos_])) ++pos_;
    if (pos_ == from) return fail("a value is missing");
    out_.items.emplace_back(text_.substr(from, pos_ - from));
    return {};
  }

  std::string_view text_;
  size_t pos_ = 0;
  Literal out_;
};

template <class T>
bool parse_number(const std::string& s, T* out) {
  const char* begin = s.data() + (s.size() > 1 && s[0] == '+');
  auto [end, ec] = std::from_chars(begin, s.data() + s.size(), *out);
  return ec == std::errc() && end == s.data() + s.size();
}

// Values go through a carrier, so that every dtype is stored in one way.
Status store(const std::vector<std::string>& items, DType t, std::byte* to) {
  auto bad = [&](const std::string& s) { return usage("`" + s + "` is no value of type " + dtype_name(t)); };
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string& s = items[i];
    std::byte* at = to + i * static_cast<size_t>(byte_size(t));
    switch (dtype_class(t)) {
      case 'f': {
        double v = 0;
        if (!parse_number(s, &v)) return bad(s);
        store_row_f64(t, &v, at, 1);
        break;
      }
      case 'b':
      case 'i': {
        int64_t v = s == "true" ? 1 : 0;
        if (s != "true" && s != "false" && (!parse_number(s, &v) || v < int_min(t) || v > int_max(t))) return bad(s);
        store_row_i64(t, &v, at, 1);
        break;
      }
      case 'u': {
        uint64_t v = 0;
        if (!parse_number(s, &v) || (t != DType::u64 && v > static_cast<uint64_t>(int_max(t)))) return bad(s);
        store_row_u64(t, &v, at, 1);
        break;
      }
      default: return unsupported(std::string("literals of type ") + dtype_name(t) + "; use a .npy file");
    }
  }
  return {};
}

// A list without brackets takes the model's dims; one of them may be open.
Result<std::vector<int64_t>> fit(const std::vector<int64_t>& dims, int64_t count) {
  std::vector<int64_t> out = dims;
  int64_t known = 1, open = 0;
  for (int64_t d : dims) d < 0 ? ++open : known *= d;
  if (open == 1 && known > 0 && count % known == 0) {
    for (int64_t& d : out)
      if (d < 0) d = count / known;
    return out;
  }
  if (open == 0 && known == count) return out;
  Error e = usage(std::to_string(count) + " values do not fill the input's dims");
  return e.with_hint("write nested lists, [[1,2],[3,4]]"), e;
}

}  // namespace

Result<api::Tensor> parse_literal(const std::string& text, DType dtype, const std::vector<int64_t>& dims) {
  TRY_ASSIGN(Literal l, LiteralParser(text).parse());
  if (!l.nested) {
    TRY_ASSIGN(l.dims, fit(dims, static_cast<int64_t>(l.items.size())));
  }
  for (int64_t& d : l.dims) d = std::max<int64_t>(d, 0);
  int64_t n = std::accumulate(l.dims.begin(), l.dims.end(), int64_t{1}, std::multiplies<>());
  if (n != static_cast<int64_t>(l.items.size())) return usage("the literal " + shape_text(to_shape(l.dims)) + " is not rectangular");
  TRY_ASSIGN(api::Tensor t, api::Tensor::make(dtype, l.dims));
  if (dtype == DType::str) return std::copy(l.items.begin(), l.items.end(), t.data_as<std::string>()), t;
  if (!is_subbyte(dtype)) {
    TRY(store(l.items, dtype, static_cast<std::byte*>(t.mutable_data())));
    return t;
  }
  std::vector<std::byte> bytes(l.items.size());
  TRY(store(l.items, dtype, bytes.data()));
  pack_subbyte(dtype, bytes.data(), t.mutable_data(), n);
  return t;
}

}  // namespace weft::cli
