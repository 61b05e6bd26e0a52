// Ranks that `weft launch` starts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/multi/shell.h"

namespace weft::multi_test {
namespace {

using testing::HasSubstr;

TEST(Launched, RunEveryCollective) {
  Outcome o = shell("weft launch -n 3 -- $RANK check");
  EXPECT_EQ(o.code, 0) << o.text;
  for (int r = 0; r < 3; ++r) EXPECT_THAT(o.text, HasSubstr("[" + std::to_string(r) + "] weft launch of 3 by processes: all is well\n"));
}

TEST(Launched, OneAfterTheOtherAtOneRendezvous) {
  Outcome o = shell("weft launch -n 2 -- sh -c 'for i in 1 2 3; do $RANK step || exit; done; echo done'");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("[1] done\n"));
}

TEST(Launched, TheFirstFailureDecides) {
  for (int victim : {0, 2}) {
    Outcome o = shell("weft launch -n 3 -- $RANK fail:" + std::to_string(victim));
    // Another rank may have noticed the death before the launcher did.
    EXPECT_TRUE(o.code == 9 || o.code == 6) << o.code << o.text;
  }
  Outcome o = shell("weft launch -n 3 -- $RANK step:1");
  EXPECT_EQ(o.code, 1) << o.text;
  EXPECT_THAT(o.text, HasSubstr("out of step"));
}

TEST(Launched, TorchrunsVariablesServeAsWell) {
  Outcome o = shell(
      "export MASTER_ADDR=127.0.0.1 MASTER_PORT=$((20000 + $$ % 10000)) WORLD_SIZE=2\n"
      "RANK=1 " WEFT_BUILD_DIR "/tests/multi --as-rank check & RANK=0 " WEFT_BUILD_DIR "/tests/multi --as-rank check; wait $!");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("torchrun of 2 by processes: all is well"));
}

}  // namespace
}  // namespace weft::multi_test
