#include "ir/base/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace weft::mapped_file_test {
namespace {

class MappedFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "weft-mapped-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::string folder_;
};

TEST_F(MappedFileTest, MapsTheBytes) {
  std::string path = write("a", "hello");
  auto f = MappedFile::open(path);
  ASSERT_TRUE(f.ok());
  EXPECT_EQ((*f)->size(), 5u);
  EXPECT_EQ(std::memcmp((*f)->data(), "hello", 5), 0);
  EXPECT_EQ((*f)->path(), path);
  ASSERT_EQ(::unlink(path.c_str()), 0);  // the mapping outlives the name
  EXPECT_EQ(std::memcmp((*f)->data(), "hello", 5), 0);
}

TEST_F(MappedFileTest, EmptyFile) {
  auto f = MappedFile::open(write("empty", ""));
  ASSERT_TRUE(f.ok());
  EXPECT_EQ((*f)->size(), 0u);
}

TEST_F(MappedFileTest, Refusals) {
  std::string fifo = folder_ + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {folder_ + "/missing", folder_, fifo, std::string("/dev/null")}) {
    auto f = MappedFile::open(path);
    ASSERT_FALSE(f.ok()) << path;
    EXPECT_EQ(f.error().code, Code::kResources);
    EXPECT_NE(f.error().message.find(path), std::string::npos);
  }
}

TEST_F(MappedFileTest, FromFdClosesIt) {
  int fd = ::open(write("b", "xy").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  ASSERT_TRUE(MappedFile::from_fd(fd, "b").ok());
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
  fd = ::open(folder_.c_str(), O_RDONLY);
  EXPECT_FALSE(MappedFile::from_fd(fd, folder_).ok());
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

}  // namespace
}  // namespace weft::mapped_file_test
