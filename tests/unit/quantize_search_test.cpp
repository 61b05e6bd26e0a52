// The knapsack of the quantiser, against all assignments; budgets.
#include <gtest/gtest.h>

#include <cmath>

#include "frontend/quantize/measure.h"
#include "frontend/quantize/search.h"
#include "tests/support/float_models.h"

namespace weft::quantize {

namespace {

std::vector<std::vector<Option>> random_layers(size_t layers, uint64_t seed) {
  const std::vector<float> v = quantize_test::random_floats(layers * 8, seed);
  std::vector<std::vector<Option>> out;
  for (size_t i = 0; i < layers; ++i) {
    const double cost = 10 + std::fabs(v[i * 8]) * 20;
    out.push_back({{cost, 0}, {cost / 4, std::fabs(v[i * 8 + 1])}, {cost / 4, std::fabs(v[i * 8 + 2])}, {cost / 8, std::fabs(v[i * 8 + 3]) * 10}});
  }
  return out;
}

std::pair<double, double> sums(const std::vector<std::vector<Option>>& layers, const Assignment& a) {
  double cost = 0, error = 0;
  for (size_t i = 0; i < a.size(); ++i) cost += layers[i][a[i]].cost, error += layers[i][a[i]].error;
  return {cost, error};
}

TEST(QuantizeSearch, EveryAssignmentOfTheChainIsTheCheapestForItsError) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto layers = random_layers(5, seed);
    const std::vector<Assignment> chain = chain_of(layers);
    ASSERT_GE(chain.size(), 6u);
    for (const Assignment& a : chain) {
      const auto [cost, error] = sums(layers, a);
      Assignment b(5, 0);
      for (int n = 0; n < 1024; ++n) {  // all of them
        for (int i = 0; i < 5; ++i) b[i] = n >> (2 * i) & 3;
        const auto [other_cost, other_error] = sums(layers, b);
        EXPECT_FALSE(other_cost < cost - 1e-9 && other_error <= error + 1e-12) << seed;
      }
    }
  }
}

TEST(QuantizeSearch, LayersThatAreFloatLaterAreFloatBefore) {
  const std::vector<Assignment> chain = chain_of(random_layers(40, 3));
  EXPECT_EQ(chain.front(), Assignment(40, 0));
  for (size_t k = 1; k < chain.size(); ++k)
    for (size_t i = 0; i < 40; ++i)
      EXPECT_TRUE(chain[k][i] != 0 || chain[k - 1][i] == 0) << k << " " << i;
  EXPECT_EQ(std::count(chain.back().begin(), chain.back().end(), 0), 0);
}

TEST(QuantizeSearch, TighterBudgetsNeverGoFurther) {
  // What is measured is not what was predicted: it goes up and down.
  const std::vector<float> noise = quantize_test::random_floats(100, 5, 0.1f);
  for (size_t count : {1u, 2u, 7u, 16u, 17u, 60u, 100u}) {
    size_t last = 0;
    for (double limit = 0; limit < 1.3; limit += 0.01) {
      int asked = 0;
      auto found = last_that_holds(count, [&](size_t k) -> Result<bool> {
        ++asked;
        return static_cast<double>(k) / 100 + std::fabs(noise[k]) <= limit;
      });
      ASSERT_TRUE(found.ok());
      EXPECT_GE(*found, last) << count << " " << limit;
      EXPECT_TRUE(*found == 0 || static_cast<double>(*found) / 100 + std::fabs(noise[*found]) <= limit);
      EXPECT_LE(asked, 24);
      last = *found;
    }
    EXPECT_EQ(last, count - 1);
  }
}

TEST(QuantizeSearch, BudgetsAreRead) {
  EXPECT_FALSE(parse_budget("")->has_value());
  EXPECT_DOUBLE_EQ((*parse_budget("top1>=-0.5%"))->limit, 0.005);
  EXPECT_DOUBLE_EQ((*parse_budget("top1>=-0.01"))->limit, 0.01);
  EXPECT_DOUBLE_EQ((*parse_budget("mse<=1e-3"))->limit, 1e-3);
  EXPECT_EQ((*parse_budget("kl<=0.01"))->kind, Budget::Kind::kl);
  for (const char* wrong : {"top1>=0.5%", "top1<=1", "mse<=x", "mse<=", "mse<=1%", "kl<=-1", "accuracy>=1", "mse<=nan"})
    EXPECT_FALSE(parse_budget(wrong).ok()) << wrong;
}

TEST(QuantizeSearch, ScoresOfTwoRows) {
  Score s;
  const std::vector<int64_t> labels = {1, 0};
  s.add({{2, {1, 2, 3, 1}}}, {{2, {1, 2, 0.5, 1.5}}}, &labels);
  const api::QuantizeScore r = s.result();
  EXPECT_EQ(r.rows, 2);
  EXPECT_DOUBLE_EQ(r.mse, 6.5 / 4);
  EXPECT_DOUBLE_EQ(r.agreement, 0.5);
  EXPECT_DOUBLE_EQ(r.right, 1);
  EXPECT_DOUBLE_EQ(r.float_right, 0.5);
  // Of the second row: p = softmax(0.5, 1.5), q = softmax(3, 1).
  const double p = 1 / (1 + std::exp(1.0)), q = 1 / (1 + std::exp(-2.0));
  EXPECT_NEAR(r.kl, (p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q))) / 2, 1e-6);
  EXPECT_DOUBLE_EQ((*parse_budget("top1>=-1%"))->loss(r), -0.5);  // better than float
}

TEST(QuantizeSearch, HeldOutSamplesAreSpread) {
  const Samples s = split_samples(8, 0.25);
  EXPECT_EQ(s.held_out, (std::vector<int64_t>{3, 7}));
  EXPECT_EQ(s.search, (std::vector<int64_t>{0, 1, 2, 4, 5, 6}));
  EXPECT_TRUE(split_samples(3, 0.25).held_out.empty());
}

}  // namespace

}  // namespace weft::quantize
