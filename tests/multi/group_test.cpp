// The public Group: what ranks agree on, and what they get when one of them fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "ir/base/result.h"
#include "tests/multi/forked.h"
#include "weft/weft.h"

namespace weft::multi_test {
namespace {

using testing::HasSubstr;

constexpr const char* kProduct = R"(weft.module 1 "product"
const @w : f32[8,8] = splat(0.25)
graph @main(%x: f32[n,8]) -> (y = %y) {
  %w = constant @w : f32[8,8]
  %y = contract(%x, %w) {spec="mk,kn->mn"}
}
)";

std::span<const std::byte> bytes_of(const std::string& s) { return std::as_bytes(std::span(s)); }

Result<Group> join(int rank, int size, const std::string& folder, double timeout_s = 20) {
  GroupOptions o;
  o.rank = rank;
  o.size = size;
  o.rendezvous = "file://" + folder;
  o.timeout_s = timeout_s;
  return Group::from_environment(o);
}
CompileOptions options_of(const Group& g, const std::string& folder) {
  CompileOptions o;
  o.target = "cpu";
  o.mesh = "tp=" + std::to_string(g.size());
  o.group = g;
  o.cache_dir = folder + "/cache";
  return o;
}
// "" or what went wrong.
std::string text_of(const Status& s) { return s.ok() ? "" : s.error().to_string(); }

TEST(Groups, EachProcessHasTheWholeResultAndOneCompiles) {
  const std::string folder = fresh_folder();
  Forked ranks(2, [&](int r) {
    return text_of([&]() -> Status {
      TRY_ASSIGN(Group g, join(r, 2, folder));
      if (g.rank() != r || g.size() != 2 || g.source() != "options") return usage("another place");
      TRY_ASSIGN(std::vector<std::string> all, g.exchange("I am " + std::to_string(r)));
      if (all != std::vector<std::string>{"I am 0", "I am 1"}) return usage("an exchange");
      TRY_ASSIGN(Executable exe, compile(bytes_of(kProduct), options_of(g, folder)));
      if ((exe.stats().kernels_compiled > 0) != (r == 0) || (exe.stats().kernels_cached > 0) != (r == 1)) return usage("kernels");
      Context c = exe.context();
      const std::vector<float> x(3 * 8, 2);
      for (int k = 0; k < 3; ++k) {
        TRY_ASSIGN(NamedTensors out, c.run({{"x", Tensor::view(x.data(), {3, 8})}}));
        const Tensor& y = out["y"];
        if (y.dims() != Tensor::Dims{3, 8}) return usage("dims");
        for (int i = 0; i < 24; ++i)
          if (y.data_as<const float>()[i] != 4) return usage("a value");
      }
      TRY(g.exchange(""));
      return {};
    }());
  });
  EXPECT_THAT(ranks.finish(), testing::Each(""));
}

TEST(Groups, ARankWhoseInputIsWrongIsNotMistakenForTheNextRun) {
  const std::string folder = fresh_folder();
  Forked ranks(2, [&](int r) {
    return text_of([&]() -> Status {
      TRY_ASSIGN(Group g, join(r, 2, folder));
      TRY_ASSIGN(Executable exe, compile(bytes_of(kProduct), options_of(g, folder)));
      Context c = exe.context();
      const std::vector<float> x(4 * 8, 2);
      if (r == 1 && c.run({{"x", Tensor::view(x.data(), {8, 4})}}).ok()) return usage("took it");
      Status s;
      if (auto out = c.run({{"x", Tensor::view(x.data(), {4, 8})}}); !out.ok()) s = std::move(out.error());
      return s;
    }());
  });
  EXPECT_THAT(ranks.finish(), testing::Each(HasSubstr("out of step")));
}

TEST(Groups, AFailureIsEveryRanks) {
  const std::string folder = fresh_folder();
  Forked ranks(3, [&](int r) {
    return text_of([&]() -> Status {
      TRY_ASSIGN(Group g, join(r, 3, folder));
      CompileOptions o = options_of(g, folder);
      return r == 1 ? Status(compile("nowhere.onnx", o).error()) : Status(compile(bytes_of(kProduct), o).error());
    }());
  });
  const std::vector<std::string> said = ranks.finish();
  EXPECT_THAT(said[1], HasSubstr("usage: there is no file nowhere.onnx"));
  for (int r : {0, 2}) EXPECT_THAT(said[static_cast<size_t>(r)], HasSubstr("usage: rank 1 failed: there is no file nowhere.onnx"));
}

TEST(Groups, RanksAtDifferentPointsAreNamed) {
  const std::string folder = fresh_folder();
  Forked ranks(2, [&](int r) {
    return text_of([&]() -> Status {
      TRY_ASSIGN(Group g, join(r, 2, folder));
      TRY_ASSIGN(Executable exe, compile(bytes_of(kProduct), options_of(g, folder)));
      if (r == 1) TRY(compile(bytes_of(kProduct), options_of(g, folder)));
      else TRY(g.exchange("the end"));
      return {};
    }());
  });
  EXPECT_THAT(ranks.finish()[1], HasSubstr("rank 0 is at \"the end\", rank 1 at \"a model's plan\""));
}

TEST(Groups, TheFirstRankLeavesLast) {
  const std::string folder = fresh_folder();
  Forked ranks(3, [&](int r) {
    return text_of([&]() -> Status {
      TRY_ASSIGN(Group g, join(r, 3, folder));
      if (r == 0) return {};  // and ends
      usleep(300'000);
      return g.failure() ? Status(*g.failure()) : Status();
    }());
  });
  EXPECT_THAT(ranks.finish(), testing::Each(""));
  // A rank that dies while the first one takes its leave is still heard of.
  Forked others(3, [&](int r) {
    return text_of([&]() -> Status {
      TRY_ASSIGN(Group g, join(r, 3, folder + "/"));
      if (r == 0) return {};
      usleep(200'000);
      if (r == 1) _exit(9);
      return g.failure(1).value_or(usage("nobody said it"));
    }());
  });
  EXPECT_THAT(others.finish()[2], HasSubstr("rank 1 (process "));
}

TEST(Groups, OfThreads) {
  auto two = Group::threads(2);
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(two->size(), 2);
  CompileOptions o = options_of(*two, fresh_folder());
  auto right = compile(bytes_of(kProduct), o);
  EXPECT_TRUE(right.ok()) << right.error().to_string();
  o.mesh = "tp=4";
  auto wrong = compile(bytes_of(kProduct), o);
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, Code::kUsage);
  EXPECT_THAT(wrong.error().message, HasSubstr("the model is for a mesh of 4 (tp=4), the group (threads) has 2 ranks"));
  o.mesh.clear();
  EXPECT_FALSE(compile(bytes_of(kProduct), o).ok());
  EXPECT_FALSE(Group::threads(0).ok());
  EXPECT_FALSE(Group::threads(257).ok());
  GroupOptions options;
  options.timeout_s = 0;
  EXPECT_FALSE(Group::threads(2, options).ok());
  options.timeout_s = NAN;
  EXPECT_FALSE(Group::from_environment(options).ok());
}

}  // namespace
}  // namespace weft::multi_test
