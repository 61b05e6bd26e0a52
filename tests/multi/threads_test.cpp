// Ranks as threads: every collective, and what goes wrong between ranks.
#include "runtime/comm/threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <chrono>

#include "runtime/comm/reduce.h"
#include "tests/multi/ranks.h"

namespace weft::multi_test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;

std::vector<std::unique_ptr<Communicator>> ranks_of(int n, int timeout_ms = 30'000) {
  auto r = thread_ranks(n, {std::chrono::milliseconds(timeout_ms)});
  EXPECT_TRUE(r.ok()) << r.error().to_string();
  return std::move(*r);
}

class Threads : public testing::TestWithParam<int> {};

TEST_P(Threads, EveryCollective) {
  auto ranks = ranks_of(GetParam());
  for (Status& s : on_threads(ranks, check_all)) EXPECT_TRUE(s.ok()) << text(s);
}
INSTANTIATE_TEST_SUITE_P(Sizes, Threads, testing::Values(1, 2, 3, 4));

TEST(Reduce, SubByteTypesAndSpecialCases) {
  const uint8_t a[] = {0x21, 0xf7}, b[] = {0x11, 0x1a};  // i4: 1 2 7 -1, and 1 1 -6 1
  uint8_t out[2];
  const void* sources[] = {a, b};
  reduce_rows(DType::i4, CommReduction::sum, sources, out, 4);
  EXPECT_EQ(out[0], 0x32);
  EXPECT_EQ(out[1], 0x01);  // 7 - 6, -1 + 1
  const int8_t big[] = {127, -128}, one[] = {1, -1};
  int8_t wrapped[2];
  const void* narrow[] = {big, one};
  reduce_rows(DType::i8, CommReduction::sum, narrow, wrapped, 2);
  EXPECT_EQ(wrapped[0], -128);
  EXPECT_EQ(wrapped[1], 127);
  // f16: 2048 + 1 + 1 rounds once, to 2050; rounding at each step would lose both.
  const uint16_t large = float_to_half(2048), small = float_to_half(1);
  const void* halves[] = {&large, &small, &small};
  uint16_t sum;
  reduce_rows(DType::f16, CommReduction::sum, halves, &sum, 1);
  EXPECT_EQ(half_to_float(sum), 2050);
  // The order of the ranks decides in f32.
  const float x = 1e8f, y = -1e8f, z = 1;
  float first, last;
  reduce_rows(DType::f32, CommReduction::sum, std::vector<const void*>{&x, &y, &z}, &first, 1);
  reduce_rows(DType::f32, CommReduction::sum, std::vector<const void*>{&z, &x, &y}, &last, 1);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(last, 0);
}

TEST(Threads, SubByteRowsMustBeWholeBytes) {
  auto ranks = ranks_of(2);
  std::vector<Status> all = on_threads(ranks, [](Communicator& c) -> Status {
    const uint8_t mine[] = {static_cast<uint8_t>(0x10 + c.rank()), 0x32};
    uint8_t both[4] = {};
    TRY(c.run({.kind = CollectiveKind::all_gather, .dtype = DType::i4, .inner = 4}, mine, both));
    if (both[0] != 0x10 || both[2] != 0x11 || both[3] != 0x32) return error(Code::kCheckFailed, "packed rows are not joined");
    return c.run({.kind = CollectiveKind::all_gather, .dtype = DType::i4, .outer = 2, .inner = 3}, mine, both);
  });
  for (Status& s : all) EXPECT_THAT(text(s), HasSubstr("not whole bytes"));
}

TEST(Threads, AMissingRankIsNamed) {
  auto ranks = ranks_of(4, 200);
  std::vector<Status> all = on_threads(ranks, [](Communicator& c) -> Status {
    TRY(reduce_some(c, "first", 10));
    if (c.rank() == 1 || c.rank() == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(600));
      return reduce_some(c, "late", 10);
    }
    return reduce_some(c, "MatMul_3", 10);
  });
  for (Status& s : all) {  // the late ones hear of it as well
    ASSERT_FALSE(s.ok());
    EXPECT_EQ(s.error().code, Code::kDevice);
    EXPECT_THAT(text(s), HasSubstr("ms for ranks 1, 2"));
    EXPECT_THAT(text(s), HasSubstr("#2 all_reduce sum f32 40 bytes \"MatMul_3\""));
    EXPECT_THAT(text(s), HasSubstr("last collectives of rank 1:\n    #1 all_reduce sum f32 40 bytes \"first\"\n"));
  }
}

TEST(Threads, ARankThatEndsIsNamedAtOnce) {
  auto ranks = ranks_of(2);
  const auto begin = Clock::now();
  std::thread leaves([&] { ranks[1].reset(); });
  Status s = reduce_some(*ranks[0]);
  leaves.join();
  EXPECT_THAT(text(s), HasSubstr("without it has ended rank 1"));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
}

TEST(Threads, RanksOutOfStepSeeBothHistories) {
  struct Difference {
    Collective other;
    const char* says;
  };
  const Difference cases[] = {
      {{.kind = CollectiveKind::broadcast, .inner = 8, .label = "x"}, "broadcast f32 32 bytes"},
      {{.dtype = DType::i32, .inner = 8, .label = "x"}, "all_reduce sum i32 32 bytes"},
      {{.inner = 9, .label = "x"}, "all_reduce sum f32 36 bytes"},
      {{.reduction = CommReduction::max, .inner = 8, .label = "x"}, "all_reduce max f32 32 bytes"},
      {{.inner = 8, .label = "y"}, "all_reduce sum f32 32 bytes \"y\""},
  };
  for (const Difference& d : cases) {
    auto ranks = ranks_of(3);
    std::vector<Status> all = on_threads(ranks, [&](Communicator& c) -> Status {
      for (int i = 0; i < 12; ++i) TRY(reduce_some(c, "step" + std::to_string(i), 4));
      std::vector<float> x(16);
      return c.run(c.rank() == 2 ? d.other : Collective{.inner = 8, .label = "x"}, x.data(), x.data());
    });
    for (Status& s : all) {
      ASSERT_FALSE(s.ok()) << d.says;
      EXPECT_EQ(s.error().code, Code::kCheckFailed);
      EXPECT_THAT(text(s), HasSubstr("out of step"));
      EXPECT_THAT(text(s), HasSubstr(d.says));
      EXPECT_THAT(text(s), HasSubstr("last collectives of rank 2:\n    #4 all_reduce sum f32 16 bytes \"step3\""));  // ten of thirteen
      EXPECT_THAT(text(s), Not(HasSubstr("step2\"")));
    }
    Status later = reduce_some(*ranks[0]);
    EXPECT_THAT(text(later), HasSubstr("out of step"));
  }
}

TEST(Threads, MessagesMustAgree) {
  auto ranks = ranks_of(2);
  std::vector<Status> all = on_threads(ranks, [&](Communicator& c) -> Status {
    int32_t x[4] = {};
    if (c.rank() == 0) {
      TRY(c.run({.kind = CollectiveKind::send, .dtype = DType::i32, .inner = 4, .root = 1, .label = "logits"}, x, nullptr));
      return reduce_some(c);
    }
    return c.run({.kind = CollectiveKind::recv, .dtype = DType::i32, .inner = 3, .root = 0}, nullptr, x);
  });
  for (Status& s : all) {
    EXPECT_THAT(text(s), HasSubstr("recv i32 12 bytes \"from rank 0\""));
    EXPECT_THAT(text(s), HasSubstr("send i32 16 bytes \"to rank 1: logits\""));
  }
}

TEST(Threads, AbortWakesTheOthers) {
  auto ranks = ranks_of(4);
  const auto begin = Clock::now();
  std::vector<Status> all = on_threads(ranks, [&](Communicator& c) -> Status {
    std::vector<int> pair = {c.rank() / 2 * 2, c.rank() / 2 * 2 + 1};
    TRY_ASSIGN(std::unique_ptr<Communicator> group, c.split(pair));
    if (c.rank() == 3) {
      Error e = resources("no memory for the arena");
      c.abort(e.at_node("Conv_1"));
      return e;
    }
    return reduce_some(c.rank() == 0 ? *group : c);  // rank 0 waits in another group
  });
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
  for (int r = 0; r < 3; ++r) {
    EXPECT_THAT(text(all[static_cast<size_t>(r)]), HasSubstr("rank 3 failed: no memory for the arena"));
    EXPECT_THAT(text(all[static_cast<size_t>(r)]), HasSubstr("Conv_1"));
    EXPECT_EQ(all[static_cast<size_t>(r)].error().code, Code::kResources);
  }
}

TEST(Threads, BadCallsAreErrorsOfAll) {
  const Collective bad[] = {
      {.dtype = DType::str, .inner = 1},
      {.dtype = DType::c64, .reduction = CommReduction::max, .inner = 1},
      {.kind = CollectiveKind::broadcast, .inner = 1, .root = 2},
      {.kind = CollectiveKind::broadcast, .inner = -1},
      {.kind = CollectiveKind::permute, .inner = 1, .pairs = {0}},
      {.kind = CollectiveKind::permute, .inner = 1, .pairs = {0, 7}},
      {.kind = CollectiveKind::permute, .inner = 1, .pairs = {0, 1, 1, 1}},
      {.kind = CollectiveKind::send, .inner = 1, .root = 0},
      {.kind = CollectiveKind::all_gather, .outer = int64_t{1} << 40, .inner = int64_t{1} << 40},
  };
  for (const Collective& c : bad) {
    auto ranks = ranks_of(2);
    float x[4] = {};
    Status s = ranks[0]->run(c, x, x);
    EXPECT_FALSE(s.ok()) << collective_name(c.kind);
    Status other = reduce_some(*ranks[1]);
    EXPECT_THAT(text(other), HasSubstr("rank 0 failed")) << collective_name(c.kind);
  }
  auto ranks = ranks_of(3);
  for (std::vector<int> group : {std::vector<int>{1}, {0, 0}, {0, 3}}) EXPECT_FALSE(ranks[0]->split(group).ok());
  EXPECT_FALSE(thread_ranks(0).ok());
  EXPECT_FALSE(thread_ranks(257).ok());
}

TEST(Threads, ExtentsAreChecked) {
  Collective c{.kind = CollectiveKind::reduce_scatter};
  const std::vector<int64_t> dims = {4, 6};
  EXPECT_FALSE(c.set_extents(dims, 1, 0, 4).ok());
  EXPECT_FALSE(c.set_extents(dims, 2, 0, 2).ok());
  EXPECT_TRUE(c.set_extents(dims, -1, 0, 2).ok());
  EXPECT_EQ(c.inner, 3);
}

TEST(Threads, HistoryIsTheLastTen) {
  auto ranks = ranks_of(1);
  for (int i = 0; i < 11; ++i) ASSERT_TRUE(reduce_some(*ranks[0], "n" + std::to_string(i), 1).ok());
  EXPECT_THAT(ranks[0]->history(), Not(HasSubstr("\"n0\"")));
  EXPECT_THAT(ranks[0]->history(), HasSubstr("#11 all_reduce sum f32 4 bytes \"n10\"\n"));
}

TEST(Threads, NamesAreTheOps) {
  for (int i = 0; i <= static_cast<int>(CollectiveKind::recv); ++i)
    EXPECT_EQ(collective_from_name(collective_name(static_cast<CollectiveKind>(i))), static_cast<CollectiveKind>(i));
  EXPECT_EQ(collective_from_name("collective_permute"), CollectiveKind::permute);
  EXPECT_EQ(collective_from_name("relu"), std::nullopt);
  EXPECT_EQ(reduction_from_name("mean"), CommReduction::mean);
}

}  // namespace
}  // namespace weft::multi_test
