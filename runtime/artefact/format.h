// Numbers and texts of an artefact's sections, and the rules of their places.
#pragma once

#include <array>
#include <cstring>
#include <span>
#include <string>

#include "ir/base/hash.h"
#include "ir/base/result.h"
#include "runtime/bytes_check.h"

namespace weft::artefact {

constexpr std::array<char, 8> kMagic = {'W', 'E', 'F', 'T', '\r', '\n', '\x1a', '\n'};
constexpr uint64_t kHeaderBytes = 64, kEntryBytes = 64, kAlignment = 64, kPage = 4096, kChunk = BytesCheck::kStep, kHashBytes = 16;

inline uint64_t aligned_to(uint64_t n, uint64_t alignment) { return (n + alignment - 1) / alignment * alignment; }

class Writer {
 public:
  template <class T>
  void number(T v) {
    char b[sizeof(T)];
    std::memcpy(b, &v, sizeof v);
    text_.append(b, sizeof b);
  }
  void hash(const Hash& h) { number(h.lo), number(h.hi); }
  void raw(std::string_view s) { text_ += s; }
  void zeros(size_t n) { text_.append(n, '\0'); }
  void text(std::string_view s) {
    number(static_cast<uint64_t>(s.size()));
    raw(s);
  }
  std::string& bytes() { return text_; }

 private:
  std::string text_;
};

// Reads within its bytes; afterwards ok() says whether all that was asked for was there.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> b) : bytes_(b) {}
  template <class T>
  T number() {
    T v{};
    if (!take(sizeof v)) return v;
    std::memcpy(&v, bytes_.data() + at_ - sizeof v, sizeof v);
    return v;
  }
  Hash hash() {
    Hash h;
    h.lo = number<uint64_t>();
    h.hi = number<uint64_t>();
    return h;
  }
  std::string text() {
    const auto n = number<uint64_t>();
    if (!take(n)) return {};
    return {reinterpret_cast<const char*>(bytes_.data()) + at_ - n, static_cast<size_t>(n)};
  }
  // A count of items of at least `least` bytes each: no more than can be there.
  uint32_t count(uint64_t least) {
    const auto n = number<uint32_t>();
    if (n > (bytes_.size() - at_) / least) ok_ = false;
    return ok_ ? n : 0;
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && at_ == bytes_.size(); }
  uint64_t at() const { return at_; }

 private:
  bool take(uint64_t n) {
    ok_ = ok_ && n <= bytes_.size() - at_;
    if (ok_) at_ += n;
    return ok_;
  }
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
  bool ok_ = true;
};

}  // namespace weft::artefact
