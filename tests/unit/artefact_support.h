// A folder for the artefacts of a test.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "runtime/artefact/artefact.h"
#include "weft/compile.h"

namespace weft::artefact_test {

namespace fs = std::filesystem;

class ArtefactFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("weft_artefact_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string read(const std::string& name) const {
    std::ifstream f(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(f), {}};
  }
  void write(const std::string& name, const std::string& bytes) const { std::ofstream(path(name), std::ios::binary) << bytes; }
  // Of model.wir.
  void compile_model(const std::vector<std::string>& targets, const std::string& name = "model.weft", const api::ArtefactOptions& options = {}) const {
    auto bytes = api::compile_to_file(path("model.wir"), path(name), targets, {.use_cache = false}, options);
    ASSERT_TRUE(bytes.ok()) << bytes.error().to_string();
    const uintmax_t beside = fs::exists(path(name + ".weights")) ? fs::file_size(path(name + ".weights")) : 0;
    EXPECT_EQ(static_cast<uintmax_t>(*bytes), fs::file_size(path(name)) + beside);
  }

  fs::path folder_;
};

}  // namespace weft::artefact_test
