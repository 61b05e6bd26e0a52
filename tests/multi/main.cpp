// The tests; or, as `multi --as-rank WORK`, one rank of a job that something else has started:
//   check     every collective
//   step:R    rank R runs something else than the others
//   fail:R, kill:R, late:R, abort:R   rank R ends, is killed, comes late, gives up, while the others wait for it
//   mesh:R    rank R has another mesh
//   steps:N   sums of N elements without end, of which it says when they have begun
#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/comm/rendezvous.h"
#include "tests/multi/ranks.h"

namespace weft::multi_test {

static std::atomic<bool> told_to_end{false};

static Status be_rank(const std::string& work) {
  const std::string what = work.substr(0, work.find(':'));
  const int special = what == work ? -1 : std::atoi(work.c_str() + what.size() + 1);
  TRY_ASSIGN(RankPlace place, find_place());
  const std::string mesh = what == "mesh" && place.rank == special ? "tp:1" : "tp:" + std::to_string(place.size);
  TRY_ASSIGN(std::shared_ptr<Rendezvous> meeting, join_job(place, {std::chrono::seconds(20), {{"mesh", mesh}}}));
  const std::chrono::milliseconds timeout(what == "late" ? 300 : what == "steps" ? 5'000 : 20'000);
  TRY_ASSIGN(std::unique_ptr<Communicator> world, meeting->host_ranks({.timeout = timeout, .cancel = &told_to_end}));
  TRY_ASSIGN(std::string word, meeting->broadcast(world->rank() == 1 ? "secret" : "", 1));
  if (word != "secret") return error(Code::kCheckFailed, "the broadcast brought \"" + word + "\"");
  if (what == "check") {
    TRY(check_all(*world));
    std::printf("%s of %d by %s: all is well\n", place.source.c_str(), world->size(), world->transport());
    return {};
  }
  if (what == "steps") {
    std::signal(SIGTERM, [](int) { told_to_end = true; });
    for (int step = 0;; ++step) {
      TRY(reduce_some(*world, "step", special));
      if (step == 9) std::printf("begun\n"), std::fflush(stdout);
    }
  }
  const bool mine = world->rank() == special;
  if (mine && what == "fail") _exit(9);
  if (mine && what == "kill") raise(SIGKILL);
  if (mine && what == "late") usleep(1'000'000);
  if (mine && what == "abort") {
    const Error e = resources("no memory");
    world->abort(e);
    return e;
  }
  return reduce_some(*world, "sum", mine && what == "step" ? 3 : 4);
}

}  // namespace weft::multi_test

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--as-rank") == 0) {
    const weft::Status s = weft::multi_test::be_rank(argv[2]);
    if (s.ok()) return 0;
    std::fprintf(stderr, "%s\n", s.error().to_string().c_str());
    return static_cast<int>(s.error().code);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
