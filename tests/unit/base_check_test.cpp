// CHECK: what it says, and whose hook runs.
#include "ir/base/check.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <thread>

namespace weft::base_check_test {
namespace {

void hook(const char*) { std::fputs("the hook\n", stderr); }

void fail() { CHECK(1 + 1 == 3); }

TEST(Check, NamesThePlaceAndRunsTheHook) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(fail(), "internal error: .*base_check_test.cpp:[0-9]+: CHECK.1 . 1 == 3.");
  EXPECT_DEATH((set_crash_hook(hook), fail()), "the hook");
}

// Modules are compiled by several threads at once, each with a module to write down.
TEST(Check, EachThreadHasItsOwnHook) {
  ASSERT_EQ(set_crash_hook(hook), nullptr);
  std::thread([] { EXPECT_EQ(set_crash_hook(nullptr), nullptr); }).join();
  EXPECT_EQ(set_crash_hook(nullptr), hook);
}

}  // namespace
}  // namespace weft::base_check_test
