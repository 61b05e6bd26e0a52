// Ranks as processes of one machine: the rendezvous, collectives over shared memory, and ranks that die.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "runtime/comm/rendezvous.h"
#include "runtime/comm/wire.h"
#include "tests/multi/forked.h"
#include "tests/multi/ranks.h"

namespace weft::multi_test {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

RankPlace place_of(int rank, int size, const std::string& url, const std::string& nonce = "n") {
  return {.rank = rank, .size = size, .local_rank = rank, .local_size = size, .rendezvous = url, .nonce = nonce};
}

// f in each rank's process, with the meeting and all ranks.
using RankWork = std::function<Status(Rendezvous&, Communicator&)>;
std::string work(const RankPlace& place, const RankWork& f, milliseconds timeout = milliseconds(20'000), const JoinOptions& options = {}) {
  return text([&]() -> Status {
    TRY_ASSIGN(std::shared_ptr<Rendezvous> meeting, join_job(place, options));
    TRY_ASSIGN(std::unique_ptr<Communicator> world, meeting->host_ranks({timeout}));
    return f(*meeting, *world);
  }());
}

class Processes : public testing::TestWithParam<int> {};

TEST_P(Processes, EveryCollective) {
  const int n = GetParam();
  const std::string url = "file://" + fresh_folder();
  Forked ranks(n, [&](int r) { return work(place_of(r, n, url), [](Rendezvous&, Communicator& c) { return check_all(c); }); });
  EXPECT_THAT(ranks.finish(), Each("ok"));
  EXPECT_TRUE(std::filesystem::is_empty(url.substr(7)));
}
INSTANTIATE_TEST_SUITE_P(Sizes, Processes, testing::Values(1, 2, 3, 4));

TEST(Rendezvous, BroadcastsFromEachRankOverTcp) {
  const std::string url = "tcp://127.0.0.1:" + std::to_string(free_port());
  Forked ranks(3, [&](int r) {
    return work(place_of(r, 3, url), [r](Rendezvous& m, Communicator& c) -> Status {
      for (int root = 0; root < 3; ++root) {
        const std::string mine(static_cast<size_t>(100'000 * root + 128), static_cast<char>('a' + r));
        TRY_ASSIGN(std::string got, m.broadcast(mine, root));
        if (got != std::string(static_cast<size_t>(100'000 * root + 128), static_cast<char>('a' + root))) return usage("other bytes");
      }
      if (m.broadcast("", 3).ok() || m.place().size != 3 || std::string(c.transport()) != "processes") return usage("wrong");
      return reduce_some(c);
    });
  });
  EXPECT_THAT(ranks.finish(), Each("ok"));
}

TEST(Rendezvous, MissingRanksAreNamed) {
  const std::string url = "tcp://127.0.0.1:" + std::to_string(free_port());
  const JoinOptions soon{milliseconds(400), {}};
  Forked ranks(2, [&](int r) { return work(place_of(2 * r, 4, url), [](Rendezvous&, Communicator&) { return Status(); }, milliseconds(1), soon); });
  EXPECT_THAT(ranks.finish(), Each(HasSubstr("ranks 1, 3 of 4 did not come within 400 ms")));
  Forked alone(1, [&](int) { return work(place_of(1, 2, url), [](Rendezvous&, Communicator&) { return Status(); }, milliseconds(1), soon); });
  EXPECT_THAT(alone.finish()[0], HasSubstr("rank 1 did not find rank 0 at " + url));
}

TEST(Rendezvous, DifferencesAreFoundBeforeAnythingRuns) {
  const std::string url = "file://" + fresh_folder();
  Forked ranks(3, [&](int r) {
    JoinOptions o{milliseconds(10'000), {{"artefact", r == 1 ? "beef" : "cafe"}, {"mesh", "tp:3"}}};
    return work(place_of(r, 3, url), [](Rendezvous&, Communicator&) { return Status(); }, milliseconds(1), o);
  });
  std::vector<std::string> out = ranks.finish();
  EXPECT_THAT(out, Each(HasSubstr("usage: the ranks do not fit together")));
  EXPECT_THAT(out, Each(HasSubstr("has artefact \"beef\"")));
}

TEST(Rendezvous, AnotherNonceIsAnotherJob) {
  const std::string url = "tcp://127.0.0.1:" + std::to_string(free_port());
  Forked ranks(2, [&](int r) {
    return work(place_of(r, 2, url, r ? "old" : "new"), [](Rendezvous&, Communicator&) { return Status(); }, milliseconds(1), {milliseconds(500), {}});
  });
  std::vector<std::string> out = ranks.finish();
  EXPECT_THAT(out[0], HasSubstr("rank 1 of 2 did not come"));
  EXPECT_THAT(out[1], HasSubstr("another job has its rendezvous there"));
}

TEST(Rendezvous, ASecondRankOfOneNumberIsRefused) {
  const std::string url = "tcp://127.0.0.1:" + std::to_string(free_port());
  Forked ranks(3, [&](int r) {
    return work(place_of(r == 2 ? 1 : r, 3, url), [](Rendezvous&, Communicator&) { return Status(); }, milliseconds(1), {milliseconds(600), {}});
  });
  std::vector<std::string> out = ranks.finish();
  EXPECT_THAT(out, Contains(HasSubstr("there is a rank 1 already")));
  EXPECT_THAT(out[0], HasSubstr("rank 2 of 3 did not come"));
}

TEST(Rendezvous, AStaleFileIsNoRendezvous) {
  const std::string folder = fresh_folder(), url = "file://" + folder;
  // Leaves its file behind: killed while it waits.
  Forked old(1, [&](int) { return work(place_of(0, 2, url), [](Rendezvous&, Communicator&) { return Status(); }); });
  while (std::filesystem::is_empty(folder)) usleep(1000);
  kill(old.process(0), SIGKILL);
  old.finish();
  EXPECT_FALSE(std::filesystem::is_empty(folder));
  Forked ranks(2, [&](int r) {
    if (r == 0) usleep(200'000);  // the other one finds the old file
    return work(place_of(r, 2, url), [](Rendezvous&, Communicator& c) { return reduce_some(c); });
  });
  EXPECT_THAT(ranks.finish(), Each("ok"));
}

TEST(Rendezvous, StrangersDoNotDisturb) {
  const int port = free_port();
  const std::string url = "tcp://127.0.0.1:" + std::to_string(port);
  Forked ranks(2, [&](int r) {
    if (r == 1) usleep(300'000);
    return work(place_of(r, 2, url), [](Rendezvous&, Communicator& c) { return reduce_some(c); });
  });
  auto hello = [](uint64_t rank, uint64_t facts, const char* nonce = "n") {
    FrameWriter w(WireKind::hello);
    w.text("weft rendezvous").number(1).text(nonce).number(rank).number(2).text("h").text("h").number(1).number(facts);
    return w.frame();
  };
  std::vector<std::string> noise = {
      "GET / HTTP/1.1\r\n\r\n", std::string("\xff\xff\xff\xff\x01", 5), std::string("\0\0\0\0\x01", 5), std::string(100'000, '\1'),
      FrameWriter(WireKind::set).text("broadcast:0").text("x").frame(), FrameWriter(WireKind::bye).frame(), hello(1, ~uint64_t{0}), hello(~uint64_t{0}, 0)};
  std::mt19937 random(7);
  for (int i = 0; i < 100; ++i) {
    std::string bytes = hello(1, 0, "another nonce");
    for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    noise.push_back(bytes.substr(0, random() % 4 ? bytes.size() : random() % bytes.size()));
  }
  usleep(100'000);
  std::vector<Descriptor> open;  // all at once
  for (const std::string& bytes : noise) {
    Descriptor& fd = open.emplace_back(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<uint16_t>(port));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    send_all(fd.get(), bytes);
  }
  EXPECT_THAT(ranks.finish(), Each("ok"));
}

TEST(Rendezvous, BadPlaces) {
  RankPlace p = place_of(0, 2, "file:///no/such/folder");
  EXPECT_FALSE(join_job(p).ok());
  p.rendezvous = "tcp://127.0.0.1:1";
  p.listener = 0;
  Result<std::shared_ptr<Rendezvous>> r = join_job(p);
  ASSERT_FALSE(r.ok());
  EXPECT_THAT(r.error().to_string(), HasSubstr("WEFT_LISTENER=0"));
}

class Killed : public testing::TestWithParam<int> {};

TEST_P(Killed, RanksReturnAnErrorThatNamesIt) {
  const int victim = GetParam();
  const std::string url = "file://" + fresh_folder();
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  Forked ranks(3, [&](int r) {
    return work(place_of(r, 3, url), [&](Rendezvous&, Communicator& c) -> Status {
      TRY(reduce_some(c, "before"));
      if (c.rank() == victim) {
        (void)!write(ready[1], "x", 1);
        pause();
      }
      return reduce_some(c, "after");
    });
  });
  char x;
  ASSERT_EQ(read(ready[0], &x, 1), 1);
  usleep(100'000);  // the others wait in the collective now
  const Clock::time_point begin = Clock::now();
  kill(ranks.process(victim), SIGKILL);
  std::vector<std::string> out = ranks.finish();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
  for (int r = 0; r < 3; ++r) {
    if (r == victim) EXPECT_EQ(out[static_cast<size_t>(r)], "signal 9");
    else EXPECT_THAT(out[static_cast<size_t>(r)], testing::ContainsRegex("rank " + std::to_string(victim) + ".* has died"));
  }
  close(ready[0]), close(ready[1]);
}
INSTANTIATE_TEST_SUITE_P(Ranks, Killed, testing::Values(0, 2));

TEST(Processes, OutOfStepAndAbortReachAll) {
  const std::string url = "file://" + fresh_folder();
  Forked ranks(3, [&](int r) {
    return work(place_of(r, 3, url), [&](Rendezvous&, Communicator& c) { return reduce_some(c, r == 1 ? "b" : "a"); });
  });
  for (const std::string& s : ranks.finish()) {
    EXPECT_THAT(s, HasSubstr("out of step"));
    EXPECT_THAT(s, HasSubstr("last collectives of rank 1:\n    #1 all_reduce sum f32 400 bytes \"b\" (not done)"));
  }
  Forked more(3, [&](int r) {
    return work(place_of(r, 3, url), [&](Rendezvous& m, Communicator& c) -> Status {
      if (r == 0) {
        c.abort(resources("no memory"));
        m.abort(resources("no memory"));
        usleep(200'000);
        return {};
      }
      if (r == 1) return reduce_some(c);
      while (!m.failure()) usleep(1000);
      return *m.failure();
    });
  });
  std::vector<std::string> out = more.finish();
  EXPECT_EQ(out[0], "ok");
  EXPECT_THAT(out[1], HasSubstr("rank 0 failed: no memory"));
  EXPECT_THAT(out[2], HasSubstr("rank 0 failed: no memory"));
}

TEST(Wire, FramesAreBounded) {
  std::string bytes = FrameWriter(WireKind::set).text("k").number(7).frame();
  std::string part = bytes.substr(0, bytes.size() - 1);
  Result<std::optional<WireFrame>> f = take_frame(part, 100);
  ASSERT_TRUE(f.ok());
  EXPECT_FALSE(f->has_value());
  f = take_frame(bytes, 100);
  ASSERT_TRUE(f.ok() && f->has_value());
  FrameReader r(**f);
  EXPECT_EQ(r.text(), "k");
  EXPECT_EQ(r.number(), 7u);
  EXPECT_TRUE(r.done());
  EXPECT_EQ(r.number(), 0u);
  EXPECT_FALSE(r.ok());
  bytes = FrameWriter(WireKind::set).text(std::string(200, 'x')).frame();
  EXPECT_FALSE(take_frame(bytes, 100).ok());
  bytes = std::string("\0\0\0\0\x63", 5);
  EXPECT_FALSE(take_frame(bytes, 100).ok());
}

}  // namespace
}  // namespace weft::multi_test
