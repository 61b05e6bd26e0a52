// The tests; or, as `multi --as-rank WORK`, one rank of a job that something else has started:
//   check     every collective
//   fail:R    rank R ends in the middle of it, the others go on
//   step:R    rank R runs something else than the others
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/comm/rendezvous.h"
#include "tests/multi/ranks.h"

namespace weft::multi_test {

static Status be_rank(const std::string& work) {
  TRY_ASSIGN(Place place, find_place());
  TRY_ASSIGN(std::shared_ptr<Rendezvous> meeting, join(place, {std::chrono::seconds(20), {}}));
  TRY_ASSIGN(std::unique_ptr<Communicator> world, meeting->host_ranks({std::chrono::seconds(20)}));
  TRY_ASSIGN(std::string word, meeting->broadcast(world->rank() == 1 ? "secret" : "", 1));
  if (word != "secret") return error(Code::kCheckFailed, "the broadcast brought \"" + word + "\"");
  const int special = work.find(':') == std::string::npos ? -1 : std::atoi(work.c_str() + work.find(':') + 1);
  if (work.starts_with("fail") && world->rank() == special) _exit(9);
  if (!work.starts_with("check")) {
    float x[4] = {};
    return world->run({.inner = world->rank() == special ? 3 : 4, .label = "sum"}, x, x);
  }
  TRY(check_all(*world));
  std::printf("%s of %d by %s: all is well\n", place.source.c_str(), world->size(), world->transport());
  return {};
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
