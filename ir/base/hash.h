// 128-bit content hashes (XXH3) for constants, kernels and caches. Not cryptographic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace weft {

struct Hash {
  uint64_t lo = 0, hi = 0;
  bool operator==(const Hash&) const = default;
  auto operator<=>(const Hash&) const = default;
  std::string hex() const;  // 32 lower-case hex digits
  static bool from_hex(std::string_view text, Hash* out);
};

Hash hash_bytes(const void* data, size_t size, uint64_t seed = 0);
inline Hash hash_text(std::string_view s) { return hash_bytes(s.data(), s.size()); }

}  // namespace weft

template <>
struct std::hash<weft::Hash> {
  size_t operator()(const weft::Hash& h) const { return h.lo; }
};
