// The arena of the filled light models: hardly larger than the most bytes that are alive at once.
#include <gtest/gtest.h>

#include <cstdio>
#include <regex>

#include "frontend/api/compilation.h"
#include "tests/models/model_case.h"

namespace weft::model_test {

namespace {

constexpr double kMost = 1.03;

std::string light_model(const char* name) { return prepared("fill_light") + "/light_" + name + "/model.onnx"; }

class LightMemory : public testing::TestWithParam<const char*> {};
TEST_P(LightMemory, ArenaIsWithinThreePercentOfWhatIsAlive) {
  CompileOptions options;
  options.threads = 2;
  Compilation c(options);
  Status s = c.load_file(light_model(GetParam()));
  if (s.ok()) s = c.apply_shapes();
  if (s.ok()) s = c.optimise();
  if (s.ok()) s = c.lower();
  ASSERT_TRUE(s.ok()) << s.error().to_string();
  const Plan& p = c.lowered().plan;
  std::vector<ArenaRequest> requests;
  for (const PlanBuffer& b : p.buffers) {
    if (b.storage != Storage::arena || b.prepare || b.first < 0) continue;
    ASSERT_TRUE(b.bytes.is_const()) << "the light models have fixed dims";
    requests.push_back({b.bytes.value(), b.alignment, b.first, b.last});
  }
  ASSERT_GT(requests.size(), 3u);
  double ratio = static_cast<double>(p.arena_bytes) / static_cast<double>(max_live_bytes(requests));
  EXPECT_LE(ratio, kMost) << p.arena_bytes << " bytes for " << max_live_bytes(requests);
  std::printf("%zu buffers in %.2f MB, %.4f of what is alive at once\n", requests.size(), static_cast<double>(p.arena_bytes) * 1e-6, ratio);
}
INSTANTIATE_TEST_SUITE_P(All, LightMemory,
                         testing::Values("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet",
                                         "vgg19", "zfnet512"));

TEST(LightMemoryStats, TheProgramSaysIt) {
  FILE* pipe = popen((std::string(WEFT_BINARY) + " compile --quiet --stats " + light_model("squeezenet")).c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string text;
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, pipe)) text += buffer;
  EXPECT_EQ(pclose(pipe), 0) << text;
  std::smatch found;
  const std::regex line("arena +[0-9.]+ [A-Za-z]+; most bytes alive at once [0-9.]+ [A-Za-z]+ \\(([0-9.]+) of it\\)");
  ASSERT_TRUE(std::regex_search(text, found, line)) << text;
  EXPECT_LE(std::stod(found[1]), kMost);
}

}  // namespace

}  // namespace weft::model_test
