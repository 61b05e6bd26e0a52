#include "ir/base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace weft {

Hash hash_bytes(const void* data, size_t size, uint64_t seed) {
  XXH128_hash_t h = XXH3_128bits_withSeed(data, size, seed);
  return {h.low64, h.high64};
}

std::string Hash::hex() const {
  static const char* const kDigits = "0123456789abcdef";
  std::string s(32, '0');
  for (int i = 0; i < 32; ++i) {
    uint64_t word = i < 16 ? hi : lo;
    s[static_cast<size_t>(i)] = kDigits[word >> (60 - 4 * (i % 16)) & 15];
  }
  return s;
}

bool Hash::from_hex(std::string_view text, Hash* out) {
  if (text.size() != 32) return false;
  uint64_t words[2] = {0, 0};
  for (size_t i = 0; i < 32; ++i) {
    char c = text[i];
    int v;
    if (c >= '0' && c <= '9') v = c - '0';
    else if (c >= 'a' && c <= 'f') v = c - 'a' + 10;
    else return false;
    words[i / 16] = words[i / 16] << 4 | static_cast<uint64_t>(v);
  }
  *out = {words[1], words[0]};
  return true;
}

}  // namespace weft
