// --tune and --tuning.
#include <fstream>

#include "tests/cli/cli_support.h"

namespace weft::cli_test {
namespace {

constexpr const char* kProduct = R"(weft.module 1 "product"
symbol n = 1..1000
graph @main(%x: f32[n,96], %y: f32[96,80]) -> (z = %z) {
  %z = contract(%x, %y) {spec="mk,kn->mn"} : f32[n,80] loc("MatMul")
}
)";

TEST(Tune, WritesATableThatOtherRunsTake) {
  const std::string folder = fresh_folder();
  std::ofstream(folder + "/product.wir") << kProduct;
  const std::string line = "weft run product.wir --target cpu --shapes x=60x96 ";
  Outcome tuned = shell(line + "--tune=5 --tuning table.txt", folder);
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_NE(tuned.err.find("wrote table.txt"), std::string::npos) << tuned.err;
  EXPECT_EQ(shell(line + "--tuning table.txt", folder).out, tuned.out);
  // Into an artefact, and beside what the table holds already.
  EXPECT_EQ(shell("weft compile product.wir --target cpu --tune=5 --tuning table.txt -o product.weft", folder).code, 0);
  std::ofstream(folder + "/bad.txt") << "tile\n";
  EXPECT_EQ(shell(line + "--tuning bad.txt", folder).code, 2);
  EXPECT_EQ(shell(line + "--tuning none.txt", folder).code, 5);
  EXPECT_EQ(shell(line + "--tune", folder).code, 2);
  EXPECT_EQ(shell(line + "--tune=soon --tuning table.txt", folder).code, 2);
  EXPECT_EQ(shell("weft run product.weft --tune --tuning table.txt", folder).code, 2);
}

}  // namespace
}  // namespace weft::cli_test
