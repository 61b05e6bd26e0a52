// Plans of a pipeline's stages against each other: exchanges that fit, that do not, and that wait for each other forever.
#include <gmock/gmock.h>

#include "ir/plan/plan.h"

namespace weft {
namespace {

using testing::HasSubstr;

struct Stages {
  std::vector<Plan> plans;
  explicit Stages(const std::vector<std::string>& commands) {
    for (size_t k = 0; k < commands.size(); ++k) {
      const std::string n = std::to_string(commands.size());
      auto p = parse_plan("wplan 1 stage " + std::to_string(k) + " mesh @mesh = pp:" + n + ",tp:2 group pp axes [\"pp\"] group tp axes [\"tp\"]\n" +
                          "buffer #x input 0 bytes 64 buffer #a arena bytes 64 buffer #h arena bytes 32\n" +
                          "tensor %x f32[16] #x tensor %a f32[16] #a tensor %h f32[8] #h input x %x\nmain { " + commands[k] + " }");
      EXPECT_TRUE(p.ok()) << p.error().to_string();
      if (p.ok()) plans.push_back(std::move(*p));
    }
  }
  std::string problem() const {
    std::vector<const Plan*> all;
    for (const Plan& p : plans) all.push_back(&p);
    Status s = verify_collectives(all);
    return s.ok() ? "" : s.error().message;
  }
};
std::string problem(const std::vector<std::string>& commands) { return Stages(commands).problem(); }

std::string send(int to, int tag, const std::string& what = "x") {
  return "collective send(%" + what + ") group pp \"root=" + std::to_string(to) + " tag=" + std::to_string(tag) + "\" ";
}
std::string recv(int from, int tag, const std::string& what = "a") {
  return "collective recv(-> %" + what + ") group pp \"root=" + std::to_string(from) + " tag=" + std::to_string(tag) + "\" ";
}
const std::string kSum = "collective all_reduce(%x -> %a) group tp \"reduction=sum\" ";
const std::string kAll = "collective all_reduce(%x -> %a) group pp \"reduction=sum\" ";

TEST(VerifyCollectives, WhatFits) {
  EXPECT_EQ(problem({kSum + send(1, 0), recv(0, 0) + kSum}), "");
  EXPECT_EQ(problem({send(1, 0) + send(2, 1) + recv(2, 3), recv(0, 0) + send(2, 2), recv(0, 1) + recv(1, 2) + send(0, 3)}), "");
  EXPECT_EQ(problem({send(1, 0) + kAll, recv(0, 0) + kAll}), "");
  EXPECT_EQ(problem({"loop 2 { " + send(1, 0) + "} ", "loop 2 { " + recv(0, 0) + "} "}), "");
  EXPECT_EQ(problem({""}), "");
}

TEST(VerifyCollectives, WhatDoesNot) {
  EXPECT_THAT(problem({send(1, 0), recv(0, 0, "h")}), HasSubstr("stage 0 of the pipeline: send of f32[16] to stage 1, tag 0: stage 1 is at recv of f32[8]"));
  EXPECT_THAT(problem({send(1, 0), recv(0, 1)}), HasSubstr("tag 1"));
  EXPECT_THAT(problem({send(2, 0), ""}), HasSubstr("there is no such stage"));
  EXPECT_THAT(problem({send(0, 0), ""}), HasSubstr("there is no such stage"));
}

TEST(VerifyCollectives, WhoWaitsForever) {
  EXPECT_THAT(problem({send(1, 0), ""}), HasSubstr("its ranks would wait forever; stage 1 has ended"));
  // Each sends before it receives.
  EXPECT_THAT(problem({send(1, 0) + recv(1, 1), send(0, 1) + recv(0, 0)}), HasSubstr("wait forever; stage 1 is at send of f32[16] to stage 0, tag 1"));
  // In a circle.
  EXPECT_THAT(problem({recv(2, 2) + send(1, 0), recv(0, 0) + send(2, 1), recv(1, 1) + send(0, 2)}), HasSubstr("stage 2 is at recv of f32[16] from stage 1"));
  EXPECT_THAT(problem({kAll + send(1, 0), recv(0, 0) + kAll}), HasSubstr("wait forever"));
}

}  // namespace
}  // namespace weft
