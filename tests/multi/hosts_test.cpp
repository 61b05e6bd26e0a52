// Two hosts with two ranks each: network namespaces with a cable between them, over which mpirun starts the ranks. A rank is killed,
// the cable is cut, or it becomes slow: every other rank ends with an Error that names whom it waited for, and nothing is left.
// Skipped without MPI, root, or the programs and kernel modules for such namespaces.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/multi/forked.h"
#include "tests/multi/shell.h"

namespace weft::multi_test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

constexpr int kRanks = 4;
// Open MPI's launcher waits for its lost daemon when it aborts a job of which a rank has failed.
constexpr const char* kNoAbort = "export OMPI_MCA_orte_abort_on_non_zero_status=0;";

class Hosts : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_mpi()) GTEST_SKIP() << "there is no MPI";
    if (geteuid() != 0) GTEST_SKIP() << "only root may make network namespaces";
    if (shell("command -v ip unshare tc").code != 0) GTEST_SKIP() << "there is no ip, tc or unshare (iproute2, util-linux)";
    folder_ = fresh_folder();
    const std::string id = std::to_string(getpid());
    for (const char* host : {"a", "b"}) names_ += (names_.empty() ? "" : " ") + ("weft-" + id) + host;
    std::istringstream(names_) >> a_ >> b_;
    const Outcome made = shell("set -e; for n in " + names_ + "; do ip netns add $n; ip -n $n link set lo up; done\n" +  //
                               "ip link add wa" + id + " netns " + a_ + " type veth peer name wb" + id + " netns " + b_ + "\n" +
                               "ip -n " + a_ + " addr add 10.77.0.1/24 dev wa" + id + "; ip -n " + a_ + " link set wa" + id + " up\n" +  //
                               "ip -n " + b_ + " addr add 10.77.0.2/24 dev wb" + id + "; ip -n " + b_ + " link set wb" + id + " up");
    if (made.code != 0) GTEST_SKIP() << "no network namespaces here: " << made.text;
    cable_ = "wa" + id;
    // What mpirun starts its daemons with, in place of ssh: ADDRESS COMMAND…
    std::ofstream agent(folder_ + "/agent");
    agent << "#!/bin/sh\nshift\nexec ip netns exec " << b_ << " unshare --uts sh -c \"hostname host-b; $*\"\n";
    agent.close();
    ASSERT_EQ(shell("chmod +x " + folder_ + "/agent").code, 0);
  }
  void TearDown() override {
    if (b_.empty()) return;
    // A daemon of the launcher may be left behind a cut cable, but no rank.
    const Outcome left = shell("for n in " + names_ + "; do for p in $(ip netns pids $n); do tr '\\0' ' ' < /proc/$p/cmdline; done; done | grep -e --as-rank");
    EXPECT_EQ(left.text, "");
    shell("for n in " + names_ + "; do for p in $(ip netns pids $n); do kill -9 $p; done; ip netns del $n; done");
  }

  // A line that starts four ranks of `command`, two on each host. Daemons that have lost each other notice it after eight seconds.
  std::string job(const std::string& command) const {
    std::ofstream(folder_ + "/job") << "hostname host-a\nexport OMPI_MCA_plm_rsh_agent=" << folder_ << "/agent OMPI_MCA_btl=self,vader,tcp"
                                    << " OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24"
                                    << " OMPI_MCA_oob_tcp_keepalive_time=6 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=2\n"
                                    << kMpirun << "--host 10.77.0.1:2,10.77.0.2:2 -n " << kRanks << " " << command << "\n";
    return "ip netns exec " + a_ + " unshare --uts sh " + folder_ + "/job";
  }

  struct Failure {
    std::vector<std::string> said;  // by each rank
    std::string launcher;           // what that said
    int ranks_ms = -1, launcher_ms = -1;
  };
  // Sums of so many elements without end, until `happens`; then when all have ended.
  Failure steps(int64_t elements, const std::string& happens, const std::string& settings = "") {
    const std::string rank = "sh -c 'cd " + folder_ + "; echo $$ > pid.$OMPI_COMM_WORLD_RANK; exec $RANK steps:" + std::to_string(elements) +
                             " > out.$OMPI_COMM_WORLD_RANK 2> said.$OMPI_COMM_WORLD_RANK'";
    const Outcome o = shell(settings + " cd " + folder_ + "; " + job(rank) + " > launcher 2>&1 & job=$!; cd " + folder_ + R"sh(
      for i in $(seq 300); do [ "$(cat out.? 2>/dev/null | grep -c begun)" = 4 ] && break; sleep 0.1; done
      begin=$(date +%s%N); since() { echo $(( ($(date +%s%N) - begin) / 1000000 )); }
      )sh" + happens + R"sh(
      for i in $(seq 400); do
        kill -0 $(cat pid.0) || kill -0 $(cat pid.1) || kill -0 $(cat pid.2) || kill -0 $(cat pid.3) || break
        sleep 0.05
      done 2>/dev/null
      ranks=$(since); wait $job; echo "ended after $ranks $(since)")sh");
    Failure f;
    if (const size_t at = o.text.rfind("ended after "); at != std::string::npos) std::istringstream(o.text.substr(at + 12)) >> f.ranks_ms >> f.launcher_ms;
    EXPECT_GT(f.launcher_ms, 0) << o.text;
    auto text_of = [&](const std::string& file) {
      std::ifstream in(folder_ + "/" + file);
      return std::string(std::istreambuf_iterator<char>(in), {});
    };
    for (int r = 0; r < kRanks; ++r) f.said.push_back(text_of("said." + std::to_string(r)));
    f.launcher = text_of("launcher");
    return f;
  }

  std::string folder_, names_, a_, b_, cable_;
};

TEST_F(Hosts, EveryCollective) {
  Outcome o = shell(job("$RANK check"));
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("Open MPI of 4 by mpi: all is well\n"));
}

TEST_F(Hosts, AModelGivesTheBitsOfThreads) {
  const std::string run = "weft run " WEFT_SOURCE_DIR "/tests/models/shared/bert_ts17/model.onnx --shapes in0=2x5 --seed 7 --tp 4 --save-outputs " + folder_;
  Outcome o = shell(run + "/threads.npz && " + job(run + "/hosts.npz") + " && cmp " + folder_ + "/threads.npz " + folder_ + "/hosts.npz");
  EXPECT_EQ(o.code, 0) << o.text;
  o = shell(job("weft bench --collectives --tp 4 --target cpu"));
  EXPECT_THAT(o.text, ContainsRegex("mpi +all_reduce .*TCP over loopback"));
}

TEST_F(Hosts, AKilledRankIsNamedByAllOthers) {
  const Failure f = steps(1000, "kill -9 $(cat pid.3)");
  // MPI itself ends a rank that has something to send to the dead one, with its own words.
  int named = 0;
  for (const std::string& said : f.said) {
    if (said.empty()) continue;
    EXPECT_THAT(said, ContainsRegex("rank [0-2] in #[0-9]+ all_reduce .* for rank.* 3"));
    ++named;
  }
  EXPECT_GE(named, 1) << f.launcher;
  EXPECT_THAT(f.launcher, HasSubstr("process rank 3 with PID"));
  EXPECT_LT(f.ranks_ms, 6'500);
  EXPECT_LT(f.launcher_ms, 10'000);
}

TEST_F(Hosts, WhenTheCableIsCutEachSideNamesTheOther) {
  const Failure f = steps(1000, "ip -n " + a_ + " link set " + cable_ + " down", kNoAbort);
  for (int r = 0; r < kRanks; ++r)
    EXPECT_THAT(f.said[static_cast<size_t>(r)], ContainsRegex(std::string("in #[0-9]+ all_reduce .* for ranks? ") + (r < 2 ? "[23]" : "[01]"))) << r;
  EXPECT_LT(f.ranks_ms, 6'500);  // after a time-out of five seconds
  EXPECT_LT(f.launcher_ms, 20'000);
}

TEST_F(Hosts, OverASlowCableRanksDoNotWaitForever) {
  const std::string slow = "tc -n " + a_ + " qdisc add dev " + cable_ + " root tbf rate 64kbit burst 4kb latency 50ms";
  if (Outcome o = shell(slow + " && tc -n " + a_ + " qdisc del dev " + cable_ + " root"); o.code != 0) GTEST_SKIP() << "no tbf here: " << o.text;
  const Failure f = steps(1 << 20, slow, kNoAbort);
  for (const std::string& said : f.said) EXPECT_THAT(said, ContainsRegex("in #[0-9]+ all_reduce .* for ranks? [0-3]"));
  EXPECT_LT(f.ranks_ms, 7'500);
  EXPECT_LT(f.launcher_ms, 20'000);
}

}  // namespace
}  // namespace weft::multi_test
