// The README is true: its example compiles and runs, and so does every command of its command line section.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/cuda_kernels.h"

namespace weft::docs_test {

namespace {

namespace fs = std::filesystem;

// The contents of the document's blocks ```<language>.
std::vector<std::string> blocks(const std::string& language) {
  std::ifstream in(std::string(WEFT_SOURCE_DIR) + "/README.md");
  std::vector<std::string> out;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (!inside && line == "```" + language) {
      inside = true;
      out.emplace_back();
    } else if (inside && line == "```") {
      inside = false;
    } else if (inside) {
      out.back() += line + "\n";
    }
  }
  return out;
}

// A folder that holds model.onnx and case/, as the README supposes.
fs::path workplace(const std::string& name) {
  fs::path folder = fs::path(WEFT_BUILD_DIR) / "readme" / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  const fs::path shared = fs::path(WEFT_SOURCE_DIR) / "tests/models/shared/bert_ts17";
  fs::copy(shared / "model.onnx", folder / "model.onnx");
  fs::copy(shared, folder / "case", fs::copy_options::recursive);
  return folder;
}

struct Outcome {
  int status;
  std::string text;
};
// In that folder, with the built program first in the path.
Outcome shell(const fs::path& folder, const std::string& command) {
  const std::string path = std::string("PATH='") + WEFT_BUILD_DIR + "':\"$PATH\"";
  FILE* pipe = popen(("cd '" + folder.string() + "' && export " + path + " && { " + command + "\n} 2>&1").c_str(), "r");
  Outcome out{-1, ""};
  char buffer[4096];
  for (size_t n; pipe && (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.text.append(buffer, n);
  if (pipe) out.status = pclose(pipe);
  return out;
}

TEST(Readme, ExampleCompilesAndRuns) {
  std::vector<std::string> examples = blocks("cpp");
  ASSERT_EQ(examples.size(), 1u);
  fs::path folder = workplace("example");
  std::ofstream(folder / "example.cpp") << examples[0];
  const std::string source = WEFT_SOURCE_DIR, lib = std::string(WEFT_BUILD_DIR) + "/lib";
  Outcome built = shell(folder, "c++ -std=c++20 -Wall -Werror -I'" + source + "' -I'" + source + "/frontend/api/include' example.cpp -o example -L'" +
                                    lib + "' -lweft -lweft-runtime -Wl,-rpath,'" + lib + "'");
  ASSERT_EQ(built.status, 0) << built.text;
  Outcome run = shell(folder, "./example");
  EXPECT_EQ(run.status, 0) << run.text;
  EXPECT_NE(run.text.find("f32[2,"), std::string::npos) << run.text;
}

TEST(Readme, CommandsRun) {
  fs::path folder = workplace("commands");
  int seen = 0;
  for (const std::string& block : blocks("sh")) {
    std::istringstream lines(block);
    for (std::string command; std::getline(lines, command); ++seen) {
      ASSERT_TRUE(command.starts_with("weft ")) << command;
      Outcome out = shell(folder, command);
      if (command.find("cuda") != std::string::npos && !test::nvrtc_missing().empty()) {
        EXPECT_NE(out.text.find("tools/setup --with-nvrtc"), std::string::npos) << command << "\n" << out.text;
        continue;
      }
      EXPECT_EQ(out.status, 0) << command << "\n" << out.text;
      EXPECT_FALSE(out.text.empty() && command.find(" -o ") == std::string::npos) << command << " printed nothing";
    }
  }
  EXPECT_GE(seen, 10);
}

}  // namespace

}  // namespace weft::docs_test
