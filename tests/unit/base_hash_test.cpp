#include "ir/base/hash.h"

#include <gtest/gtest.h>

namespace weft::hash_test {
namespace {

// Cache entries and artefacts store these: the values must never change.
TEST(Hash, KnownValues) {
  EXPECT_EQ(hash_text("").hex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash_text("abc").hex(), "06b05ab6733a618578af5f94892f3950");
}

TEST(Hash, HexRoundTrips) {
  Hash h = hash_text("weft"), back;
  EXPECT_EQ(h.hex().size(), 32u);
  ASSERT_TRUE(Hash::from_hex(h.hex(), &back));
  EXPECT_EQ(back, h);
  EXPECT_EQ((Hash{0x1, 0x2}).hex(), "00000000000000020000000000000001");
  for (const char* bad : {"", "00", "0000000000000002000000000000000G", "000000000000000200000000000000011", "0000000000000002000000000000000A"})
    EXPECT_FALSE(Hash::from_hex(bad, &back)) << bad;
}

TEST(Hash, SeedAndContentMatter) {
  EXPECT_NE(hash_bytes("ab", 2), hash_bytes("ab", 2, 1));
  EXPECT_NE(hash_bytes("ab", 2), hash_bytes("ab", 1));
  EXPECT_EQ(hash_bytes("ab", 2), hash_text("ab"));
}

}  // namespace
}  // namespace weft::hash_test
