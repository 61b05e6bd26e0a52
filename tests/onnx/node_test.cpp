// ONNX's node cases through `weft verify`, in shards so that several run at once. No case may fail. Those that are
// unsupported or skipped are listed by name in unsupported_<target>.txt and skipped_<target>.txt, and these lists may only
// get shorter: a case that is missing from its list fails the test, and so does one that is on it without need. After an
// improvement, the lists are brought up to date by
//
//   build/release/tests/onnx --update --gtest_filter='*NodeCases*'
//
// `cpu` is the host with all it has; where that is more than AVX2, the cases run for cpu:x86-64-v3, too.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "ir/base/target.h"
#include "tests/support/update.h"

namespace weft::node_test {

namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

constexpr int kShards = 8;
constexpr size_t kCases = 1765;

const std::vector<std::string>& all_cases() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const auto& e : fs::directory_iterator(std::string(WEFT_ONNX_SRC) + "/onnx/backend/test/data/node")) out.push_back(e.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }();
  return names;
}

// Neighbours have similar costs, so that every shard gets some of each kind.
Names cases_of(int shard) {
  Names out;
  for (size_t i = shard; i < all_cases().size(); i += kShards) out.insert(all_cases()[i]);
  return out;
}

// All CPUs share their lists.
std::string list_path(const std::string& status, const std::string& target) {
  return std::string(WEFT_SOURCE_DIR) + "/tests/onnx/" + status + "_" + target.substr(0, target.find(':')) + ".txt";
}

Names read_list(const std::string& path) {
  Names out;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (!line.empty() && line[0] != '#') out.insert(line);
  return out;
}

void write_list(const std::string& path, const std::string& status, const Names& names) {
  std::ofstream out(path);
  out << "# Node cases of ONNX that are " << status << "; written by tests/onnx/node_test.cpp, may only get shorter.\n";
  for (const std::string& name : names) out << name << "\n";
}

// Null when the program gave none.
nlohmann::json verify(const Names& names, const std::string& target) {
  std::string command = std::string(WEFT_BINARY) + " verify --json --jobs 1 --threads 1 --quiet --target " + target;
  for (const std::string& name : names) command += " " + std::string(WEFT_ONNX_SRC) + "/onnx/backend/test/data/node/" + name;
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[1 << 16];
  for (size_t n; pipe && (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  // A failed case is reported by its name; anything else, such as what a sanitizer finds at the end, only by the status.
  const int status = pipe ? pclose(pipe) : -1;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) <= 1) << "weft verify ended with wait status " << status;
  nlohmann::json result = nlohmann::json::parse(text, nullptr, false);
  return result.is_discarded() ? nlohmann::json() : result;
}

// What the lists say about the shard's cases against what they are.
void check_list(const std::string& status, const std::string& target, const Names& shard, const std::map<std::string, std::string>& found) {
  const std::string path = list_path(status, target);
  Names listed = read_list(path);
  if (update_requested()) {
    for (const std::string& name : shard) listed.erase(name);
    for (const auto& [name, reason] : found) listed.insert(name);
    return write_list(path, status, listed);
  }
  for (const auto& [name, reason] : found)
    EXPECT_TRUE(listed.contains(name)) << name << " is " << status << ", which it was not before: " << reason;
  for (const std::string& name : shard)
    if (listed.contains(name) && !found.contains(name))
      ADD_FAILURE() << name << " is no longer " << status << ": run build/release/tests/onnx --update --gtest_filter='*NodeCases*'";
}

// A build without the code generator (the sanitizers') has the evaluator only.
std::vector<const char*> targets() {
  std::vector<const char*> out{"eval"};
  if (!fs::exists(std::string(WEFT_BUILD_DIR) + "/lib/libweft-llvm.so")) return out;
  out.push_back("cpu");
  Result<Target> host = parse_target("cpu"), level = parse_target("cpu:x86-64-v3");
  if (host.ok() && level.ok() && runs_here(*level) && host->vector_bytes > level->vector_bytes) out.push_back("cpu:x86-64-v3");
  return out;
}

class NodeCases : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(NodeCases, NoneFails) {
  const auto [target, number] = GetParam();
  const Names shard = cases_of(number);
  nlohmann::json result = verify(shard, target);
  ASSERT_TRUE(result.contains("cases")) << "weft verify gave no result";
  ASSERT_EQ(result["cases"].size(), shard.size());
  std::map<std::string, std::map<std::string, std::string>> by_status;
  for (const auto& c : result["cases"]) {
    const std::string name = c["name"], status = c["status"], reason = c["reason"];
    by_status[status][name] = reason;
    EXPECT_NE(status, "failed") << name << ": " << reason;
  }
  for (const char* status : {"unsupported", "skipped"}) check_list(status, target, shard, by_status[status]);
  std::printf("%zu passed, %zu unsupported, %zu skipped\n", by_status["passed"].size(), by_status["unsupported"].size(), by_status["skipped"].size());
}

std::string case_name(const testing::TestParamInfo<std::tuple<const char*, int>>& info) {
  std::string target = std::get<0>(info.param);
  for (char& c : target)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return target + "_" + std::to_string(std::get<1>(info.param));
}
INSTANTIATE_TEST_SUITE_P(All, NodeCases, testing::Combine(testing::ValuesIn(targets()), testing::Range(0, kShards)), case_name);

TEST(NodeCaseLists, NameCasesThatExist) {
  EXPECT_EQ(all_cases().size(), kCases);
  const Names all(all_cases().begin(), all_cases().end());
  for (const char* target : {"cpu", "eval"})
    for (const char* status : {"unsupported", "skipped"})
      for (const std::string& name : read_list(list_path(status, target)))
        EXPECT_TRUE(all.contains(name)) << name << " on " << list_path(status, target);
}

// What is supported is not measured by cutting the lists: this is the least that the compiler must do.
TEST(NodeCaseLists, LeaveTwelveHundred) {
  for (const char* target : {"cpu", "eval"}) {
    size_t left_out = read_list(list_path("unsupported", target)).size() + read_list(list_path("skipped", target)).size();
    EXPECT_GE(kCases - left_out, 1200u) << target;
  }
}

}  // namespace

}  // namespace weft::node_test
