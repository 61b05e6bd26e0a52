// Tuning tables, and what choosing makes of them.
#include <gtest/gtest.h>

#include <set>

#include "codegen/backend.h"
#include "ir/base/mapped_file.h"

namespace weft {
namespace {

KernelSpec product(const std::string& name) {
  auto file = MappedFile::open(std::string(WEFT_SOURCE_DIR) + "/tests/cuda/cases/" + name + ".wkernel");
  EXPECT_TRUE(file.ok());
  auto spec = parse_spec({reinterpret_cast<const char*>((*file)->data()), (*file)->size()});
  EXPECT_TRUE(spec.ok());
  spec->typical["n0"] = 500;
  return std::move(*spec);
}

KernelSpec chosen(const Target& target, const Tuning* tuning, const std::string& name = "linear_bf16") {
  KernelSpec s = product(name);
  target.backend == Backend::cuda ? choose_cuda(s, target, tuning) : choose_cpu(s, target, nullptr, tuning);
  return s;
}

TEST(Tuning, RanksFollowThePredictionAndEntriesOverrideIt) {
  for (const char* name : {"cuda:sm_90a", "cpu:x86-64-v3"}) {
    SCOPED_TRACE(name);
    const Target target = parse_target(name).value();
    Tuning t;
    const KernelSpec plain = chosen(target, nullptr), best = chosen(target, &t);
    EXPECT_EQ(print_spec(plain), print_spec(best));
    ASSERT_GT(best.choice.candidates, 2u);
    t.rank = 1;
    const KernelSpec second = chosen(target, &t);
    EXPECT_EQ(second.choice.key, best.choice.key);
    EXPECT_NE(second.choice.name, best.choice.name);
    EXPECT_FALSE(second.config == best.config);
    t.rank = 1000;
    const KernelSpec last = chosen(target, &t);
    t.rank = 0;
    t.chosen[best.choice.key] = last.choice.name;
    EXPECT_TRUE(chosen(target, &t).config == last.config);
    t.chosen[best.choice.key] = "of another version";
    EXPECT_TRUE(chosen(target, &t).config == best.config);
  }
}

TEST(Tuning, EveryConfigurationHasANameOfItsOwn) {
  for (const char* target : {"cuda:sm_90a", "cuda:sm_80", "cpu:x86-64-v3"})
    for (const char* name : {"linear_bf16", "product_f32", "product_tf32"}) {
      const Target t = parse_target(target).value();
      Tuning tuning;
      std::set<std::string> names;
      const size_t all = chosen(t, &tuning, name).choice.candidates;
      ASSERT_GT(all, 2u) << target << " " << name;
      for (tuning.rank = 0; tuning.rank < all; ++tuning.rank) names.insert(chosen(t, &tuning, name).choice.name);
      EXPECT_EQ(names.size(), all) << target << " " << name;
    }
}

TEST(Tuning, TablesAreLines) {
  const std::string key(32, 'a'), other(32, '1');
  auto t = parse_tuning("# a comment\n\n" + key + " tile 64x64 by 2  # why\r\n" + other + " rows 16", "t.txt");
  ASSERT_TRUE(t.ok()) << t.error().to_string();
  EXPECT_EQ(t->chosen.at(key), "tile 64x64 by 2");
  EXPECT_EQ(print_tuning(*t), other + " rows 16\n" + key + " tile 64x64 by 2\n");
  for (const std::string& bad : {std::string("x tile\n"), key + "\n", std::string("aa bb")}) {
    auto r = parse_tuning("# one\n" + bad, "t.txt");
    ASSERT_FALSE(r.ok()) << bad;
    EXPECT_EQ(r.error().code, Code::kUsage);
    EXPECT_NE(r.error().message.find("t.txt, line 2"), std::string::npos) << r.error().message;
  }
}

}  // namespace
}  // namespace weft
