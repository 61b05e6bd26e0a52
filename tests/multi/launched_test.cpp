// Ranks that `weft launch` starts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/multi/shell.h"

namespace weft::multi_test {
namespace {

using testing::HasSubstr;

TEST(Launched, RunEveryCollective) {
  for (int n : {3, 4}) {
    Outcome o = shell("weft launch -n " + std::to_string(n) + " -- $RANK check");
    EXPECT_EQ(o.code, 0) << o.text;
    for (int r = 0; r < n; ++r)
      EXPECT_THAT(o.text, HasSubstr("[" + std::to_string(r) + "] weft launch of " + std::to_string(n) + " by processes: all is well\n"));
  }
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
  for (int n : {2, 4}) {
    Outcome o = shell(with_torchruns_variables(n, WEFT_BUILD_DIR "/tests/multi --as-rank check"));
    EXPECT_THAT(o.text, HasSubstr("torchrun of " + std::to_string(n) + " by processes: all is well"));
    EXPECT_THAT(o.text, HasSubstr(n == 2 ? "codes 0 0\n" : "codes 0 0 0 0\n"));
  }
}

}  // namespace
}  // namespace weft::multi_test
