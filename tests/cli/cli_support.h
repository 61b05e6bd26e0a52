// Runs the program as a user would, and small models to run it on.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/wait.h>
#include <vector>

namespace weft::cli_test {

namespace fs = std::filesystem;
using nlohmann::json;

struct Outcome {
  int code = -1;
  std::string out, err;
  json parsed() const { return json::parse(out, nullptr, false); }
};

inline std::string read_text(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), {}};
}

// A folder of this test's own, empty at its start.
inline std::string fresh_folder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  std::string path = testing::TempDir() + "weft-cli/" + info->test_suite_name() + "." + info->name();
  for (char& c : path)
    if (c == ' ') c = '_';
  fs::remove_all(path);
  fs::create_directories(path);
  return path;
}

// `command` is a line for the shell, in which `weft` is the program.
inline Outcome shell(const std::string& command, const std::string& folder = WEFT_SOURCE_DIR) {
  const std::string err = testing::TempDir() + "weft-cli-stderr." + std::to_string(getpid());
  const std::string line =
      "cd '" + folder + "' && PATH='" + fs::path(WEFT_BINARY).parent_path().string() + "':$PATH && { " + command + "\n} 2>'" + err + "'";
  Outcome o;
  FILE* pipe = popen(line.c_str(), "r");
  char buffer[1 << 14];
  for (size_t n; pipe && (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) o.out.append(buffer, n);
  int status = pipe ? pclose(pipe) : -1;
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  o.err = read_text(err);
  fs::remove(err);
  return o;
}

// y = relu(x * w), with an open batch.
inline std::string write_layer(const std::string& folder) {
  const std::string path = folder + "/layer.wir";
  std::ofstream(path) << R"(weft.module 1 "layer"
metadata "author" = "tests"
const @w : f32[3,2] = [1.0, 0.0, 0.0, 1.0, 1.0, -1.0]
graph @main(%x: f32[batch,3]) -> (y = %y) {
  %w = constant @w : f32[3,2]
  %p = contract(%x, %w) {spec="mk,kn->mn"} : f32[batch,2] loc("MatMul_0")
  %y = relu(%p) : f32[batch,2] loc("Relu_1")
}
)";
  return path;
}

inline std::string node_case(const std::string& name) { return std::string(WEFT_ONNX_SRC) + "/onnx/backend/test/data/node/" + name; }

}  // namespace weft::cli_test
