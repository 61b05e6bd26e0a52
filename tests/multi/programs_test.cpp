// `weft` on models with a mesh, as the processes of a job: whoever started them, they give what threads of one process give.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "tests/multi/forked.h"
#include "tests/multi/shell.h"

namespace weft::multi_test {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kModels = WEFT_SOURCE_DIR "/tests/models/shared/";
const std::string kBert = kModels + "bert_ts17/model.onnx";
const std::string kBertRun = "weft run " + kBert + " --shapes in0=2x5 --seed 7";

std::string read_file(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), {}};
}

// What threads of one process compute, as the bytes of a file.
std::string by_threads(const std::string& folder, const std::string& mesh) {
  Outcome o = shell(kBertRun + " --save-outputs " + folder + "/threads.npz " + mesh);
  EXPECT_EQ(o.code, 0) << o.text;
  return read_file(folder + "/threads.npz");
}

struct ModelCase {
  const char* model;
  const char* batch;  // --shapes whose batch two ranks can share
};
class Model : public testing::TestWithParam<ModelCase> {};
TEST_P(Model, IsRightOnProcesses) {
  const std::string model = kModels + GetParam().model, batch = model + "/model.onnx " + GetParam().batch;
  const std::string jobs[] = {"-n 2 -- weft verify " + model + " --tp 2", "-n 2 -- weft verify " + model + " --pp 2",
                              "-n 2 -- weft verify " + batch + " --dp 2", "-n 4 -- weft verify " + batch + " --mesh dp=2,tp=2"};
  for (const std::string& job : jobs) {
    Outcome o = shell("weft launch " + job);
    EXPECT_EQ(o.code, 0) << o.text;
    EXPECT_THAT(o.text, HasSubstr("[0] 1 passed, 0 failed"));
    EXPECT_THAT(o.text, Not(HasSubstr("[1]")));
  }
}
INSTANTIATE_TEST_SUITE_P(Shared, Model,
                         testing::Values(ModelCase{"bert_ts17", "--shapes in0=2x5"}, ModelCase{"kv_static_dynamo23", ""},
                                         ModelCase{"llama_dynamo23", "--shapes x=2x3"}, ModelCase{"lstm_gru_ts17", ""},
                                         ModelCase{"vit_tiny_dynamo", "--shapes x=2x3x96x96"}),
                         [](const auto& info) { return std::string(info.param.model); });

// Meshes of processes, and how many ranks they have.
const std::pair<const char*, int> kMeshes[] = {{"--tp 2", 2}, {"--dp 2", 2}, {"--tp 4", 4}, {"--mesh dp=2,tp=2", 4}};

TEST(Programs, OfLaunchGiveTheBitsOfThreads) {
  const std::string folder = fresh_folder();
  for (const auto& [mesh, n] : kMeshes) {
    const std::string want = by_threads(folder, mesh), file = folder + "/launch.npz";
    Outcome o = shell("weft launch -n " + std::to_string(n) + " -- " + kBertRun + " --save-outputs " + file + " " + mesh);
    EXPECT_EQ(o.code, 0) << o.text;
    EXPECT_FALSE(want.empty());
    EXPECT_EQ(read_file(file), want) << mesh;
  }
}

TEST(Programs, APipelineGivesTheBitsOfOneRank) {
  const std::string folder = fresh_folder(), one = by_threads(folder, "");
  EXPECT_TRUE(by_threads(folder, "--pp 2") == one);
  EXPECT_TRUE(by_threads(folder, "--pp 4") == one);
  EXPECT_TRUE(by_threads(folder, "--pp 2 --tp 2") == by_threads(folder, "--tp 2"));
  Outcome o = shell("weft launch -n 2 -- " + kBertRun + " --save-outputs " + folder + "/launch.npz --pp 2");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_TRUE(read_file(folder + "/launch.npz") == one);
}

TEST(Programs, AnAnnotatedModelHasAsManyRanksAsDevices) {
  for (const std::string options : {"-n 4 -- weft verify --configuration grid ", "-n 2 -- weft verify --configuration line "}) {
    Outcome o = shell("weft launch " + options + WEFT_SOURCE_DIR "/tests/models/annotated/mlp");
    EXPECT_EQ(o.code, 0) << o.text;
    EXPECT_THAT(o.text, HasSubstr("[0] 1 passed, 0 failed"));
  }
}

TEST(Programs, CompiledPipelines) {
  const std::string folder = fresh_folder();
  auto run = [&](const std::string& launch, const std::string& model) {
    Outcome o = shell(launch + "weft run " + folder + "/" + model + " --seed 7 --save-outputs " + folder + "/out.npz");
    EXPECT_EQ(o.code, 0) << o.text;
    return read_file(folder + "/out.npz");
  };
  for (const char* pp : {"1", "2"}) {
    Outcome o = shell("weft compile " + kBert + " --shapes in0=2x5 --pp " + pp + " -o " + folder + "/" + pp + ".weft");
    EXPECT_EQ(o.code, 0) << o.text;
  }
  const std::string one = run("", "1.weft");
  EXPECT_TRUE(run("", "2.weft") == one);
  EXPECT_TRUE(run("weft launch -n 2 -- ", "2.weft") == one);
  Outcome o = shell("weft extract " + folder + "/2.weft -o " + folder + "/parts && ls " + folder + "/parts");
  EXPECT_THAT(o.text, HasSubstr("cpu_x86-64-v3.stage0\ncpu_x86-64-v3.stage1\n"));
  o = shell("weft compile " + kBert + " --pp 2 -o " + folder + "/p.wplan && ls " + folder);
  EXPECT_THAT(o.text, HasSubstr("p.stage0.wplan\np.stage1.wplan\n"));
}

TEST(Programs, MicrobatchesGiveWhatTheWholeBatchGives) {
  const std::string folder = fresh_folder(), run = "weft run " + kBert + " --shapes 'in0=1..4x5@4' --seed 7 --save-outputs " + folder + "/";
  Outcome o = shell(run + "one.npz");
  EXPECT_EQ(o.code, 0) << o.text;
  const std::string one = read_file(folder + "/one.npz");
  for (const char* launch : {"", "weft launch -n 2 -- "})
    for (const char* parts : {"1", "2", "4"}) {
      o = shell(launch + run + "parts.npz --pp 2 --microbatches " + parts);
      EXPECT_EQ(o.code, 0) << o.text;
      EXPECT_TRUE(read_file(folder + "/parts.npz") == one) << launch << parts;
    }
  o = shell(run + "parts.npz --pp 2 --microbatches 3");
  EXPECT_EQ(o.code, 2) << o.text;
  EXPECT_THAT(o.text, HasSubstr("a batch of 4 in 3 microbatches"));
}

TEST(Programs, PipelinesThatCannotBe) {
  Outcome o = shell(kBertRun + " --pp 200 --rendezvous none");
  EXPECT_EQ(o.code, 4) << o.text;
  EXPECT_THAT(o.text, HasSubstr("cannot be cut into 200 stages"));
  o = shell(kBertRun + " --pp 2 --microbatches 2");
  EXPECT_EQ(o.code, 2) << o.text;
  EXPECT_THAT(o.text, HasSubstr("the model's batch, dim 0 of its inputs, is fixed"));
  o = shell(kBertRun + " --microbatches 2");
  EXPECT_EQ(o.code, 2) << o.text;
  EXPECT_THAT(o.text, HasSubstr("microbatches are for models that are cut into stages"));
}

TEST(Programs, WithTorchrunsVariables) {
  const std::string folder = fresh_folder(), file = folder + "/torchrun.npz";
  for (const auto& [mesh, n] : kMeshes) {
    Outcome o = shell(with_torchruns_variables(n, kBertRun + " --save-outputs " + file + " " + mesh));
    EXPECT_THAT(o.text, HasSubstr(n == 2 ? "codes 0 0\n" : "codes 0 0 0 0\n"));
    EXPECT_EQ(read_file(file), by_threads(folder, mesh)) << mesh;
  }
  // The variables of somebody else's job.
  Outcome o = shell("WORLD_SIZE=8 RANK=3 " + kBertRun + " --tp 2 --rendezvous none");
  EXPECT_EQ(o.code, 0) << o.text;
}

TEST(Programs, WithMpirun) {
  if (!has_mpi()) GTEST_SKIP() << "there is no MPI";
  const std::string folder = fresh_folder();
  for (const auto& [mesh, n] : kMeshes) {
    const std::string file = folder + "/mpi.npz";
    Outcome o = shell(kMpirun + "-n " + std::to_string(n) + " " + kBertRun + " --save-outputs " + file + " " + mesh);
    EXPECT_EQ(o.code, 0) << o.text;
    EXPECT_EQ(read_file(file), by_threads(folder, mesh));
  }
  Outcome o = shell(kMpirun + "-n 2 weft bench " + kBert + " --tp 2 --duration 0.2");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("throughput"));
}

TEST(Programs, BenchMakesAsManyRunsOnAllRanks) {
  Outcome o = shell("weft launch -n 2 -- weft bench " + kBert + " --tp 2 --duration 0.3 --profile --json --quiet");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("\"schema\": \"weft.bench/1\""));
  EXPECT_THAT(o.text, HasSubstr("\"name\": \"collective\""));
  EXPECT_THAT(o.text, Not(HasSubstr("[1]")));
  o = shell("weft launch -n 2 -- weft bench " + kBert + " --tp 2 --iterations 7");
  EXPECT_THAT(o.text, HasSubstr("runs         7 in"));
  o = shell("weft bench " + kBert + " --tp 2 --concurrency 2");
  EXPECT_EQ(o.code, 2) << o.text;
}

TEST(Programs, BenchOfCollectivesAlone) {
  std::vector<std::pair<std::string, const char*>> jobs = {{"", "threads"}, {"weft launch -n 2 -- ", "processes"}};
  if (has_mpi()) jobs.push_back({kMpirun + "-n 2 ", "mpi"});
  for (const auto& [launch, transport] : jobs) {
    Outcome o = shell(launch + "weft bench --collectives --tp 2 --target cpu --json --quiet");
    EXPECT_EQ(o.code, 0) << o.text;
    EXPECT_THAT(o.text, HasSubstr("\"schema\": \"weft.bench/1\""));
    EXPECT_THAT(o.text, HasSubstr(std::string("\"transport\": \"") + transport + "\""));
    EXPECT_THAT(o.text, HasSubstr("\"link\": \"memory_copy\""));
    EXPECT_THAT(o.text, Not(HasSubstr("\"share_of_link\": null")));
    EXPECT_THAT(o.text, testing::ContainsRegex("\"tcp_loopback\": [1-9][0-9.e+]+,"));
    for (const char* kind : {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"}) EXPECT_THAT(o.text, HasSubstr(kind));
    EXPECT_THAT(o.text, Not(HasSubstr("[1]")));
  }
  EXPECT_THAT(shell("weft bench --collectives").text, HasSubstr("--collectives needs several ranks"));
  EXPECT_THAT(shell("weft bench " + kBert + " --collectives --tp 2").text, HasSubstr("without a model"));
}

TEST(Programs, AMeshOfAnotherSizeThanTheJob) {
  Outcome o = shell("weft launch -n 3 -- " + kBertRun + " --tp 2");
  EXPECT_EQ(o.code, 2) << o.text;
  EXPECT_THAT(o.text, HasSubstr("the mesh tp=2 has 2 ranks, the job (weft launch) has 3"));
  // Without a mesh the processes have nothing to do with each other.
  o = shell("weft launch -n 2 -- " + kBertRun);
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("[1] 317: f32[2,5,64]"));
  o = shell(kBertRun + " --rendezvous tcp://127.0.0.1:1 --tp 2");
  EXPECT_EQ(o.code, 2) << o.text;
  EXPECT_THAT(o.text, HasSubstr("does not say which rank"));
}

TEST(Programs, RanksThatDoNotFitAllSaySo) {
  struct {
    const char *zero, *one, *says;
  } cases[] = {{"--tp 2", "--dp 2", "rank 0 has mesh tp=2, rank 1 has mesh dp=2"},
               {"--tp 2", "--tp 2 -O 1", "rank 0 has plan "},
               {"--tp 2", "--tp 2 --target cpu:x86-64-v2", "rank 1 has target cpu:x86-64-v2"}};
  for (const auto& c : cases) {
    Outcome o = shell(with_torchruns_variables(2, "sh -c 'if [ $RANK = 0 ]; then " + kBertRun + " " + c.zero + "; else " + kBertRun + " " + c.one + "; fi'"));
    EXPECT_THAT(o.text, HasSubstr("codes 2 2"));
    const size_t first = o.text.find(c.says);
    EXPECT_NE(first, std::string::npos) << o.text;
    EXPECT_NE(o.text.find(c.says, first + 1), std::string::npos) << o.text;
  }
}

TEST(Programs, AKilledRankEndsTheOthers) {
  const std::string folder = fresh_folder();
  const std::string bench = "exec weft bench " + kBert + " --tp 2 --duration 60 --comm-timeout 10";
  for (const std::string victim : {"0", "1"}) {
    // Its last words are those of the other one, which MPI's and other launchers leave alone.
    const std::string killed = "sh -c 'echo $$ > " + folder + "/$RANK; [ $RANK = " + victim + " ] && { sleep 0.7; kill -9 $$; } & " + bench + "'";
    Outcome o = shell(with_torchruns_variables(2, killed));
    EXPECT_THAT(o.text, HasSubstr(victim == "0" ? "codes 137 6" : "codes 6 137"));
    // With the collective, unless a slow build had not come to the first one.
    EXPECT_THAT(o.text, testing::ContainsRegex("rank " + victim + " .*has died"));
    o = shell("weft launch -n 2 -- sh -c 'echo $$ > " + folder + "/$WEFT_RANK; [ $WEFT_RANK = " + victim + " ] && { sleep 0.7; kill -9 $$; } & " + bench + "'");
    EXPECT_EQ(o.code, 137) << o.text;
    EXPECT_THAT(o.text, HasSubstr("rank " + victim + " ended by signal 9"));
    for (const char* rank : {"0", "1"}) {
      const int pid = std::atoi(read_file(folder + "/" + rank).c_str());
      EXPECT_TRUE(pid > 0 && kill(pid, 0) != 0) << "rank " << rank << " still runs";
    }
  }
}

TEST(Programs, AStoppedRankIsNamedWithinTheTimeOut) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "stops a program half a second after its start, where a sanitizer's build has not come to its first run";
#endif
  Outcome o = shell(with_torchruns_variables(2, "sh -c '[ $RANK = 1 ] && { sleep 0.7; kill -STOP $$; sleep 1.5; kill -CONT $$; } & exec weft bench " + kBert +
                        " --tp 2 --duration 60 --comm-timeout 0.5'"));
  EXPECT_THAT(o.text, HasSubstr("codes 6 6"));
  EXPECT_THAT(o.text, testing::ContainsRegex("rank 0 in #[0-9]+ all_[a-z]+ .*: waited 5[0-9][0-9] ms for rank 1"));
}

TEST(Programs, CompiledModels) {
  const std::string folder = fresh_folder(), model = folder + "/m.weft";
  Outcome o = shell("weft compile " + kBert + " --shapes in0=2x5 --tp 2 -o " + model);
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, Not(HasSubstr("warning")));
  EXPECT_THAT(shell("weft inspect " + model).text, HasSubstr("mesh: tp=2, 2 ranks\n"));
  EXPECT_THAT(shell("weft inspect --json " + model).text, HasSubstr("\"mesh\": {\n    \"tp\": 2\n  }"));
  o = shell("weft run " + model + " --seed 7 --save-outputs " + folder + "/threads.npz");
  EXPECT_EQ(o.code, 0) << o.text;
  o = shell("weft launch -n 2 -- weft run " + model + " --seed 7 --save-outputs " + folder + "/launch.npz");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(read_file(folder + "/launch.npz"), read_file(folder + "/threads.npz"));
  o = shell("weft launch -n 2 -- weft verify " + kBert + " --shapes in0=2x5 --artefact " + model);
  EXPECT_EQ(o.code, 0) << o.text;
  o = shell("weft launch -n 3 -- weft run " + model);
  EXPECT_EQ(o.code, 2) << o.text;
  EXPECT_THAT(o.text, HasSubstr("the mesh tp=2 has 2 ranks, the job (weft launch) has 3"));
}

}  // namespace
}  // namespace weft::multi_test
