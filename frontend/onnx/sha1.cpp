// SHA-1 (FIPS 180-4), for the checksum that external data may carry. Integrity against accidents, not against attackers.
#include <bit>
#include <cstdint>
#include <cstring>

#include "frontend/onnx/external_data.h"

namespace weft {

static void sha1_block(uint32_t h[5], const unsigned char* p) {
  uint32_t w[80];
  for (int i = 0; i < 16; ++i) w[i] = uint32_t{p[4 * i]} << 24 | uint32_t{p[4 * i + 1]} << 16 | uint32_t{p[4 * i + 2]} << 8 | p[4 * i + 3];
  for (int i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
  for (int i = 0; i < 80; ++i) {
    uint32_t f, k;
    if (i < 20) f = (b & c) | (~b & d), k = 0x5a827999;
    else if (i < 40) f = b ^ c ^ d, k = 0x6ed9eba1;
    else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
    else f = b ^ c ^ d, k = 0xca62c1d6;
    uint32_t t = std::rotl(a, 5) + f + e + k + w[i];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = t;
  }
  h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

std::string sha1_hex(const std::byte* data, size_t size) {
  uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  const unsigned char* p = reinterpret_cast<const unsigned char*>(data);
  size_t i = 0;
  for (; i + 64 <= size; i += 64) sha1_block(h, p + i);
  unsigned char tail[128] = {};
  size_t rest = size - i;
  if (rest) std::memcpy(tail, p + i, rest);
  tail[rest] = 0x80;
  size_t total = rest < 56 ? 64 : 128;
  for (int b = 0; b < 8; ++b) tail[total - 1 - b] = static_cast<unsigned char>(uint64_t{size} * 8 >> 8 * b);
  for (size_t t = 0; t < total; t += 64) sha1_block(h, tail + t);
  std::string out;
  for (uint32_t word : h)
    for (int s = 28; s >= 0; s -= 4) out += "0123456789abcdef"[word >> s & 15];
  return out;
}

}  // namespace weft
