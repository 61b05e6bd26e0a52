// JSON to write: values in the order they were set. Bytes that are not UTF-8 (names in models may hold any) are written as
// U+FFFD, numbers that JSON lacks (nan, inf) as null.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace weft::cli {

class Json {
 public:
  Json() = default;  // null, until it is given elements
  Json(bool v) : kind_(Kind::word), text_(v ? "true" : "false") {}
  Json(double v);
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  Json(T v) : kind_(Kind::word), text_(std::to_string(v)) {}
  Json(const char* s) : Json(std::string_view(s)) {}
  Json(const std::string& s) : Json(std::string_view(s)) {}
  Json(std::string_view s) : kind_(Kind::string), text_(s) {}
  template <class T>
  Json(const std::vector<T>& items) : kind_(Kind::array) {
    for (const T& v : items) items_.push_back(Json(v));
  }
  static Json array() { return with(Kind::array); }
  static Json object() { return with(Kind::object); }

  // The member of an object, made if absent.
  Json& operator[](std::string_view key);
  void push_back(Json v);
  bool is_null() const { return kind_ == Kind::null; }
  const std::vector<std::string>& keys() const { return keys_; }
  const std::vector<Json>& items() const { return items_; }  // elements, or members in the order of keys()

  std::string dump() const;  // two spaces of indentation; arrays of plain values on one line

 private:
  enum class Kind : uint8_t { null, word, string, array, object };
  static Json with(Kind k) {
    Json j;
    j.kind_ = k;
    return j;
  }
  void write(std::string& out, int depth) const;
  bool flat() const;

  Kind kind_ = Kind::null;
  std::string text_;
  std::vector<std::string> keys_;
  std::vector<Json> items_;
};

}  // namespace weft::cli
