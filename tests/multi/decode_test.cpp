// A decode on processes one of which is killed, hangs or comes late: what the others say, and a job started again that goes on from
// the last snapshot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>

#include "ir/base/result.h"
#include "tests/multi/forked.h"
#include "tests/multi/shell.h"
#include "weft/weft.h"

namespace weft::multi_test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;

constexpr int kSteps = 10, kTokens = 3;  // in each step

// A decoder whose keys and values are states, on as many ranks as it has heads for.
struct Decoder {
  std::string model, ids;
  bool has_positions = false;
  std::vector<std::string> states;
  int ranks = 0;
  NamedTensors inputs(int step) const {
    std::vector<int64_t> tokens(kTokens), positions(kTokens);
    for (int k = 0; k < kTokens; ++k) tokens[static_cast<size_t>(k)] = (step * 37 + k * 11 + 5) % 256;
    std::iota(positions.begin(), positions.end(), step * kTokens);
    NamedTensors in;
    in.add(ids, *Tensor::view(tokens.data(), {1, kTokens}).copy());
    if (has_positions) in.add("pos", *Tensor::view(positions.data(), {kTokens}).copy());
    return in;
  }
};

Decoder static_cache() { return {WEFT_SOURCE_DIR "/tests/models/shared/kv_static_dynamo23/model.onnx", "i", true, {"k=stack", "v=stack_1"}, 2}; }
Decoder growing_cache(const std::string& folder) {
  const std::string model = folder + "/llama.onnx";
  const Outcome made = shell(WEFT_SOURCE_DIR "/tools/bench/make_models llama-8b " + model + " --small --dtype f32");
  EXPECT_EQ(made.code, 0) << made.text;
  return {model, "ids", false, {"auto"}, 4};
}

struct Job {
  std::string folder, snapshot;
  double timeout_s = 20;
  int first = 0;  // step; later ones go on from the snapshot
  std::function<void(int rank, int step)> before_step = [](int, int) {};
};

// Rank r of the job, with a snapshot after each step. "ok:" and the bits of all logits, or the Error.
std::string decode(const Decoder& d, const Job& job, int rank) {
  std::string bits = "ok:";
  const Status s = [&]() -> Status {
    GroupOptions o;
    o.rank = rank, o.size = d.ranks, o.rendezvous = "file://" + job.folder, o.timeout_s = job.timeout_s;
    TRY_ASSIGN(const Group group, Group::from_environment(o));
    CompileOptions options;
    options.target = "cpu", options.mesh = "tp=" + std::to_string(d.ranks), options.group = group;
    options.states = d.states, options.cache_dir = job.folder + "-cache";
    TRY_ASSIGN(const Executable exe, compile(d.model, options));
    Context c = exe.context();
    if (job.first > 0) TRY(c.restore(job.snapshot));
    for (int step = job.first; step < kSteps; ++step) {
      job.before_step(rank, step);
      TRY_ASSIGN(const NamedTensors out, c.run(d.inputs(step)));
      const Tensor& logits = out.begin()->tensor;
      bits.append(static_cast<const char*>(logits.data()), static_cast<size_t>(logits.bytes()));
      TRY(c.save(job.snapshot));
    }
    TRY(group.exchange("the end"));
    return {};
  }();
  return s.ok() ? bits : s.error().to_string();
}

class Restart : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = fresh_folder();
    if (GetParam() == std::string("growing") && !*WEFT_ORACLE_PYTHON) GTEST_SKIP() << "tools/setup found no Python";
    decoder_ = GetParam() == std::string("growing") ? growing_cache(folder_) : static_cache();
  }
  Job job(const std::string& name) const {
    const std::string meet = folder_ + "/meet";
    std::filesystem::create_directories(meet);
    return {.folder = meet, .snapshot = folder_ + "/" + name};
  }
  std::unique_ptr<Forked> start(const Job& job) const {
    return std::make_unique<Forked>(decoder_.ranks, [&](int rank) { return decode(decoder_, job, rank); });
  }
  std::string folder_;
  Decoder decoder_;
};

// All are started again, or the killed one alone: the others then make a new group in the same process.
TEST_P(Restart, AKilledRanksJobGoesOnWithTheSameBits) {
  const std::string whole = start(job("whole"))->finish(0);
  ASSERT_THAT(whole, StartsWith("ok:"));
  constexpr int kKilledAt = kSteps / 2;
  const std::string want = "ok:" + whole.substr(3 + (whole.size() - 3) / kSteps * kKilledAt);
  for (int victim : {0, decoder_.ranks - 1})
    for (bool all : {true, false}) {
      Job broken = job("snapshot" + std::to_string(victim) + (all ? "all" : "one")), again = broken;
      again.first = kKilledAt;
      int ready[2];
      ASSERT_EQ(pipe(ready), 0);
      broken.before_step = [&](int rank, int step) {
        if (rank != victim || step != kKilledAt) return;
        (void)!write(ready[1], "x", 1);
        pause();
      };
      Forked ranks(decoder_.ranks, [&](int r) {
        std::string text = decode(decoder_, broken, r);
        if (!all) text += decode(decoder_, again, r);
        return text;
      });
      char x;
      ASSERT_EQ(read(ready[0], &x, 1), 1);
      usleep(100'000);  // the others wait in the step now
      const Clock::time_point killed = Clock::now();
      kill(ranks.process(victim), SIGKILL);
      std::vector<std::string> said, after;
      if (all) said = ranks.finish(), after = start(again)->finish();
      else after = Forked(1, [&](int) { return decode(decoder_, again, victim); }).finish(), said = ranks.finish();
      EXPECT_LT(Clock::now() - killed, std::chrono::seconds(5));
      close(ready[0]), close(ready[1]);
      for (int r = 0; r < decoder_.ranks; ++r) {
        const std::string& text = said[static_cast<size_t>(r)];
        EXPECT_THAT(text, ContainsRegex(r == victim ? "signal 9" : "rank " + std::to_string(victim) + ".* has died")) << r;
        if (!all && r != victim) after.push_back(text);
      }
      ASSERT_EQ(after.size(), static_cast<size_t>(decoder_.ranks));
      for (const std::string& bits : after) EXPECT_TRUE(bits.ends_with(want)) << victim << all << bits.substr(0, 300);
    }
}

TEST_P(Restart, AHungOrLateRankIsNamedByAllOthers) {
  for (bool hangs : {true, false}) {
    const int victim = decoder_.ranks - 1;
    Job slow = job(hangs ? "hung" : "late");
    slow.timeout_s = 5;
    slow.before_step = [&](int rank, int step) {
      if (rank != victim || step != 2) return;
      if (hangs) raise(SIGSTOP);
      else sleep(8);
    };
    const Clock::time_point begin = Clock::now();
    auto ranks = start(slow);
    for (int r = 0; r < victim; ++r) EXPECT_THAT(ranks->finish(r), ContainsRegex("waited 5[0-9][0-9][0-9] ms for rank " + std::to_string(victim)));
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
    if (hangs) kill(ranks->process(victim), SIGKILL);
    EXPECT_THAT(ranks->finish(victim), hangs ? HasSubstr("signal 9") : HasSubstr("for rank " + std::to_string(victim)));
  }
}

INSTANTIATE_TEST_SUITE_P(Caches, Restart, testing::Values("static", "growing"), [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace weft::multi_test
