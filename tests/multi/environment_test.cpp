// Which rank a process is, by the variables of each launcher.
#include "runtime/comm/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace weft::multi_test {
namespace {

using Variables = std::map<std::string, std::string>;

Result<RankPlace> place(const Variables& v, const RankPlaceOptions& o = {}) {
  return find_place(o, [&](const char* name) -> const char* {
    auto it = v.find(name);
    return it == v.end() ? nullptr : it->second.c_str();
  });
}
std::string brief(const Variables& v, const RankPlaceOptions& o = {}) {
  Result<RankPlace> p = place(v, o);
  if (!p.ok()) return p.error().to_string();
  return p->source + ": " + std::to_string(p->rank) + "/" + std::to_string(p->size) + " local " + std::to_string(p->local_rank) + "/" +
         std::to_string(p->local_size) + " at " + p->rendezvous + " nonce " + p->nonce;
}

const Variables kLaunch = {{"WEFT_RANK", "1"}, {"WEFT_SIZE", "4"}, {"WEFT_RENDEZVOUS", "tcp://127.0.0.1:5000"}, {"WEFT_NONCE", "n"}};
const Variables kTorchrun = {{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "4"}, {"MASTER_ADDR", "node1"},
                             {"MASTER_PORT", "29500"}, {"TORCHELASTIC_RUN_ID", "abc"}, {"TORCHELASTIC_RESTART_COUNT", "2"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"PMIX_RANK", "3"}};
const Variables kSlurm = {{"SLURM_PROCID", "6"}, {"SLURM_NTASKS", "9"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_LOCALID", "2"},
                          {"SLURM_STEP_NODELIST", "gpu[07-08,11]"}, {"SLURM_JOB_ID", "1000"}, {"SLURM_STEP_ID", "1"},
                          {"SLURM_STEP_TASKS_PER_NODE", "4(x2)"}};
const Variables kLws = {{"LWS_WORKER_INDEX", "1"}, {"LWS_GROUP_SIZE", "2"}, {"LWS_LEADER_ADDRESS", "lws-0.lws"}};

TEST(Place, OfEachLauncher) {
  EXPECT_EQ(brief({}), "alone: 0/1 local 0/1 at  nonce ");
  EXPECT_EQ(brief(kLaunch), "weft launch: 1/4 local 1/4 at tcp://127.0.0.1:5000 nonce n");
  EXPECT_EQ(brief(kTorchrun), "torchrun: 5/8 local 1/4 at tcp://node1:29500 nonce abc.2");
  EXPECT_EQ(brief(kOpenMpi), "Open MPI: 3/4 local 1/2 at mpi:// nonce ");
  EXPECT_EQ(brief({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "1"}}), "PMI: 1/2 local 0/1 at mpi:// nonce ");
  EXPECT_EQ(brief({{"PMIX_RANK", "1"}}), "PMIx: 1/0 local 1/0 at mpi:// nonce ");
  EXPECT_EQ(brief(kSlurm), "Slurm: 6/8 local 2/4 at tcp://gpu07:21001 nonce 1000.1.");
  EXPECT_EQ(brief(kLws), "LeaderWorkerSet: 1/2 local 0/1 at tcp://lws-0.lws:29477 nonce lws-0.lws");
}

TEST(Place, TheAgentsPortIsNotOurs) {
  Variables v = kTorchrun;
  v["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  EXPECT_EQ(place(v)->rendezvous, "tcp://node1:29501");
}

TEST(Place, TheNearestLauncherCounts) {
  Variables v = kLws;
  const std::vector<std::pair<Variables, std::string>> order = {
      {kSlurm, "Slurm"}, {kOpenMpi, "Open MPI"}, {kTorchrun, "torchrun"}, {kLaunch, "weft launch"}};
  for (const auto& [more, source] : order) {
    v.insert(more.begin(), more.end());
    EXPECT_EQ(place(v)->source, source);
  }
  RankPlaceOptions o{.rank = 2, .size = 3, .rendezvous = "file:///tmp/meet", .nonce = "x"};
  EXPECT_EQ(brief(v, o), "options: 2/3 local 2/3 at file:///tmp/meet nonce x");
  o.rank.reset(), o.size.reset();
  EXPECT_EQ(brief(v, o), "weft launch: 1/4 local 1/4 at file:///tmp/meet nonce x");
  o.rendezvous = "env://";
  EXPECT_EQ(place(v, o)->rendezvous, "tcp://127.0.0.1:5000");
}

TEST(Place, ABatchScriptIsAlone) {
  Variables v = kSlurm;
  v.erase("SLURM_STEP_ID");
  EXPECT_EQ(place(v)->source, "alone");
  EXPECT_EQ(place({{"RANK", "3"}})->source, "alone");
}

TEST(Place, ContradictionsAreErrors) {
  using testing::HasSubstr;
  EXPECT_THAT(brief({{"WEFT_RANK", "1"}}), HasSubstr("WEFT_RANK but not WEFT_SIZE"));
  EXPECT_THAT(brief({{"WEFT_RANK", "x"}, {"WEFT_SIZE", "2"}}), HasSubstr("WEFT_RANK=\"x\""));
  EXPECT_THAT(brief({{"WEFT_RANK", "2"}, {"WEFT_SIZE", "2"}}), HasSubstr("rank 2 of 2"));
  EXPECT_THAT(brief({{"WEFT_RANK", "0"}, {"WEFT_SIZE", "0"}}), HasSubstr("rank 0 of 0"));
  EXPECT_THAT(brief({{"WEFT_RANK", "0"}, {"WEFT_SIZE", "2"}}), HasSubstr("does not know where the ranks meet"));
  EXPECT_THAT(brief({}, {.rank = 1}), HasSubstr("not how many"));
  EXPECT_THAT(brief({}, {.size = 2}), HasSubstr("not which one"));
  EXPECT_THAT(brief({{"PMIX_RANK", "1"}}, {.rendezvous = "tcp://h:1"}), HasSubstr("give the rank and the number of ranks"));
  EXPECT_THAT(brief({{"LWS_WORKER_INDEX", "0"}, {"LWS_GROUP_SIZE", "2"}}), HasSubstr("LWS_LEADER_ADDRESS"));
}

TEST(Place, Urls) {
  EXPECT_EQ(parse_rendezvous("tcp://[::1]:80")->host, "::1");
  EXPECT_EQ(parse_rendezvous("tcp://a.b:65535")->port, 65535);
  EXPECT_EQ(parse_rendezvous("file:///a/b")->path, "/a/b");
  for (const char* bad : {"", "a:1", "tcp://a", "tcp://a:0", "tcp://a:65536", "tcp://a:1x", "tcp://:1", "file://a", "http://a:1", "mpi://x"}) {
    Result<RendezvousUrl> u = parse_rendezvous(bad);
    ASSERT_FALSE(u.ok()) << bad;
    EXPECT_EQ(u.error().code, Code::kUsage);
  }
}

}  // namespace
}  // namespace weft::multi_test
