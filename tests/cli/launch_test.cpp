// weft launch: what the processes get, and how they end.
#include <csignal>
#include <thread>

#include "tests/cli/cli_support.h"

namespace weft::cli_test {
namespace {

using testing::Test;

int lines_with(const std::string& text, const std::string& part) {
  int n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
  return n;
}
// Processes whose command line holds the word.
int running(const std::string& word) {
  int n = 0;
  for (const fs::directory_entry& e : fs::directory_iterator("/proc")) {
    const std::string name = e.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::string line = read_text(e.path().string() + "/cmdline");
    if (line.find(word) != std::string::npos && line.find("launch") == std::string::npos && line.find("cmdline") == std::string::npos) ++n;
  }
  return n;
}
bool soon(const std::function<bool()>& f) {
  for (int i = 0; i < 300; ++i) {
    if (f()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}
// An argument that no other process has.
std::string mark() { return "weft" + std::to_string(getpid()) + testing::UnitTest::GetInstance()->current_test_info()->name(); }

TEST(Launch, LinesCarryTheirRank) {
  Outcome o = shell("weft launch -n 3 -- sh -c 'printf \"a\\nb\"; echo e >&2; test -z \"$(cat)\"; echo $WEFT_RANK/$WEFT_SIZE >&2'");
  EXPECT_EQ(o.code, 0) << o.err;
  for (const char* line : {"[0] a\n", "[1] a\n", "[2] b\n"}) EXPECT_EQ(lines_with(o.out, line), 1) << o.out;
  for (const char* line : {"[0] e\n", "[0] 0/3\n", "[2] 2/3\n"}) EXPECT_EQ(lines_with(o.err, line), 1) << o.err;
  EXPECT_EQ(lines_with(o.out, "\n"), 6) << o.out;
}

TEST(Launch, LongOutputComesWhole) {
  Outcome o = shell("weft launch -n 2 -- sh -c 'seq 20000; head -c 100000 /dev/zero | tr \"\\0\" x'");
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(lines_with(o.out, "[1] 20000\n"), 1);
  EXPECT_EQ(lines_with(o.out, "x"), 200000);
}

TEST(Launch, TheFirstFailureEndsTheOthers) {
  Outcome o = shell("weft launch -n 3 -- sh -c 'test $WEFT_RANK != 1 || exit 33; sleep 30'");
  EXPECT_EQ(o.code, 33);
  EXPECT_NE(o.err.find("rank 1 ended with exit code 33"), std::string::npos) << o.err;
  o = shell("weft launch -n 2 -- sh -c 'test $WEFT_RANK != 0 || kill -9 $$; sleep 30'");
  EXPECT_EQ(o.code, 128 + SIGKILL);
  EXPECT_NE(o.err.find("by signal 9"), std::string::npos) << o.err;
}

TEST(Launch, WhoDoesNotEndIsKilled) {
  // Deaf, with a process of its own.
  const std::string word = mark();
  Outcome o = shell("ln -s $(command -v sleep) " + word + "\n" +
                        "weft launch -n 2 --grace 0.2 -- sh -c 'trap \"\" TERM; test $WEFT_RANK = 1 || { sleep 0.3; exit 5; }; ./" + word + " 30; exit 0'",
                    fresh_folder());
  EXPECT_EQ(o.code, 5);
  EXPECT_TRUE(soon([&] { return running(word) == 0; }));
}

TEST(Launch, TimeOut) {
  Outcome o = shell("weft launch -n 2 --timeout 0.3 -- sleep 30");
  EXPECT_EQ(o.code, 5);
  EXPECT_NE(o.err.find("did not end within 0.3 s"), std::string::npos) << o.err;
}

TEST(Launch, SignalsArePassedOn) {
  for (const char* signal : {"INT", "TERM"}) {
    const std::string rank = std::string("trap \"echo got; exit 0\" ") + signal + "; echo up; while :; do sleep 0.05; done";
    Outcome o = shell("weft launch -n 2 -- sh -c '" + rank + "' > out & pid=$!\n" +
                          "for i in $(seq 200); do test \"$(grep -c up out)\" != 2 || break; sleep 0.05; done\n" +
                          "kill -" + signal + " $pid; wait $pid; code=$?; cat out; exit $code",
                      fresh_folder());
    EXPECT_EQ(o.code, 7) << o.err;
    EXPECT_EQ(lines_with(o.out, "got\n"), 2) << o.out;
  }
}

TEST(Launch, ADeadLauncherLeavesNoOrphan) {
  const std::string word = mark();
  Outcome o = shell("ln -s $(command -v sleep) " + word + "; weft launch -n 3 -- ./" + word + " 30 & pid=$!\n" +
                        "count() { grep -lx './" + word + "' /proc/[0-9]*/cmdline 2> /dev/null | wc -l; }\n" +
                        "for i in $(seq 200); do test $(count) -lt 4 || break; sleep 0.05; done\n" +
                        "kill -9 $pid; echo $i; wait $pid",
                    fresh_folder());
  EXPECT_EQ(o.code, 128 + SIGKILL);
  EXPECT_NE(o.out, "200\n");  // three of them, and the launcher, whose argument it is, were there
  EXPECT_TRUE(soon([&] { return running(word) == 0; }));
}

TEST(Launch, ProcessorsAreShared) {
  Outcome o = shell("weft launch -n 2 -- nproc; weft launch -n 2 --no-bind -- nproc; nproc");
  std::istringstream lines(o.out);
  std::vector<int> n;
  for (std::string line; std::getline(lines, line);) n.push_back(std::stoi(line.substr(line.find(']') + 1)));
  ASSERT_EQ(n.size(), 5u) << o.out;
  EXPECT_EQ(n[0] + n[1], n[4] < 2 ? 2 : n[4]);
  EXPECT_EQ(n[2], n[4]);
}

TEST(Launch, WrongUseAndJson) {
  for (const char* line : {"weft launch -n 2", "weft launch -n 0 -- true", "weft launch -n 2 -- no-such-program", "weft launch -n 2 --none -- true"})
    EXPECT_EQ(shell(line).code, 2) << line;
  Outcome o = shell("weft launch -n 2 --json -- sh -c 'exit $WEFT_RANK'");
  EXPECT_EQ(o.code, 1);
  json j = o.parsed();
  EXPECT_EQ(j["schema"], "weft.launch/1") << o.out;
  EXPECT_EQ(j["ranks"][1]["exit_code"], 1);
}

}  // namespace
}  // namespace weft::cli_test
