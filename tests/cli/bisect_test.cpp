// verify --bisect: the search, and what it names.
#include "tests/cli/cli_support.h"
#include "tools/weft/search.h"

namespace weft::cli_test {
namespace {

// Of `wrong` steps, each tried once at most.
int found(const std::vector<bool>& wrong, int* tries = nullptr) {
  std::vector<int> asked(wrong.size(), 0);
  auto r = cli::first_failure(static_cast<int>(wrong.size()), [&](int k) -> Result<bool> {
    EXPECT_EQ(++asked.at(k), 1);
    return bool(wrong[k]);
  });
  if (tries) *tries = static_cast<int>(std::count(asked.begin(), asked.end(), 1));
  return r.ok() ? *r : -1;
}

TEST(Bisect, FindsTheFirstWrongStep) {
  for (int n : {1, 2, 3, 10, 64, 1000})
    for (int first = 0; first < n; first += 1 + n / 11) {
      std::vector<bool> wrong(n, false);
      std::fill(wrong.begin() + first, wrong.end(), true);
      int tries = 0;
      EXPECT_EQ(found(wrong, &tries), first);
      EXPECT_LE(1 << std::max(tries - 1, 0), n);
    }
}

// Steps that hide what is wrong: one is found that is wrong, behind one that is not.
TEST(Bisect, FindsAWrongStepBehindARightOne) {
  std::vector<bool> wrong = {false, true, false, false, true, true, false, true};
  int k = found(wrong);
  EXPECT_TRUE(wrong.at(k));
  EXPECT_TRUE(k == 0 || !wrong.at(k - 1));
}

TEST(Bisect, StopsAtAnError) {
  auto r = cli::first_failure(8, [](int) -> Result<bool> { return error(Code::kCancelled, "enough"); });
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, Code::kCancelled);
}

struct BisectVerb : testing::Test {
  std::string folder = fresh_folder();
  // The one case of `verify --bisect`, which failed.
  json verify(const std::string& line) {
    Outcome o = shell("weft verify --bisect --json " + line, folder);
    EXPECT_EQ(o.code, 1) << o.out << o.err;
    json j = o.parsed();
    return j.contains("cases") ? j["cases"][0] : json::object();
  }
};

// Where all keys of a query are masked, the exporter's ops give NaN; attention gives zeros. So there is a pass after which
// the evaluator gives other outputs.
TEST_F(BisectVerb, NamesAPass) {
  std::ofstream(folder + "/masked.wir") << R"(weft.module 1 "masked"
const @mask : f32[2,3] = [0.0, 0.0, -inf, -inf, -inf, -inf]
graph @main(%q: f32[1,1,2,4], %k: f32[1,1,4,3], %v: f32[1,1,3,4]) -> (y = %y) {
  %mask = constant @mask : f32[2,3]
  %s = contract(%q, %k) {spec="abmk,abkn->abmn"} loc("MatMul_0")
  %m = add(%s, %mask) loc("Add_1")
  %p = softmax(%m) loc("Softmax_2")
  %z = contract(%p, %v) {spec="abmk,abkn->abmn"} loc("MatMul_3")
  %y = relu(%z) loc("Relu_4")
}
)";
  json wrong = verify("masked.wir")["first_wrong"];
  EXPECT_EQ(wrong["kind"], "pass");
  EXPECT_EQ(wrong["name"], "raise-attention:1");
  EXPECT_NE(wrong["difference"].get<std::string>().find("y[0,0,1,0]"), std::string::npos) << wrong;
  Outcome text = shell("weft verify --bisect masked.wir", folder);
  EXPECT_NE(text.out.find("first wrong after pass raise-attention:1"), std::string::npos) << text.out;
  EXPECT_EQ(shell("weft verify masked.wir --disable-pass raise-attention", folder).code, 0);
}

// With no tolerance at all: sums of many halves are rounded from f32 by kernels, from f64 by the evaluator. All other ops of
// the model are exact.
TEST_F(BisectVerb, NamesAnOp) {
  std::ofstream(folder + "/half.wir") << R"(weft.module 1 "half"
const @axes : i64[1] = [1]
graph @main(%x: f16[64,3000], %w: f16[3000,64]) -> (y = %y) {
  %axes = constant @axes : i64[1]
  %a = abs(%x) loc("Abs_0")
  %m = reduce_max(%a, %axes) loc("Max_1")
  %n = sub(%a, %m) loc("Sub_2")
  %p = contract(%n, %w) {spec="mk,kn->mn"} loc("MatMul_3")
  %t = reduce_max(%p, %axes) loc("Max_4")
  %u = neg(%t) loc("Neg_5")
  %y = max(%p, %u) loc("Max_6")
}
)";
  json wrong = verify("half.wir --rtol 0 --atol 0")["first_wrong"];
  EXPECT_EQ(wrong["kind"], "op");
  EXPECT_NE(wrong["name"].get<std::string>().find("contract"), std::string::npos) << wrong;
  EXPECT_EQ(wrong["nodes"], json::array({"MatMul_3"}));
  EXPECT_EQ(wrong["difference"].get<std::string>().rfind("p[", 0), 0u) << wrong;
}

// Recorded outputs that are others': no pass and no op is to blame.
TEST_F(BisectVerb, NamesTheImport) {
  fs::copy(node_case("test_relu"), folder + "/relu", fs::copy_options::recursive);
  fs::copy(folder + "/relu/test_data_set_0/input_0.pb", folder + "/relu/test_data_set_0/output_0.pb", fs::copy_options::overwrite_existing);
  EXPECT_EQ(verify("relu")["first_wrong"]["kind"], "import");
}

TEST_F(BisectVerb, SaysNothingOfWhatPassed) {
  write_layer(folder);
  json j = shell("weft verify --bisect --json layer.wir", folder).parsed();
  EXPECT_EQ(j["cases"][0]["status"], "passed");
  EXPECT_FALSE(j["cases"][0].contains("first_wrong"));
}

}  // namespace
}  // namespace weft::cli_test
