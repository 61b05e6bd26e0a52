#include "runtime/cache/disk_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace weft::disk_cache_test {
namespace {

namespace fs = std::filesystem;

class DiskCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "weft-cache-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  DiskCache open(int64_t limit = kDefaultCacheLimit) {
    auto c = DiskCache::open(folder_ + "/cache", "kernels", limit);
    EXPECT_TRUE(c.ok()) << c.error().to_string();
    return *c;
  }
  std::string file_of(const std::string& key) const { return folder_ + "/cache/kernels/" + hash_text(key).hex() + ".entry"; }
  std::string folder_;
};

Status put(const DiskCache& c, const std::string& key, const std::string& object, const std::string& source = "source") {
  const CacheBlob blobs[] = {text_blob("object", object), text_blob("source", source)};
  return c.put(key, blobs);
}
std::optional<CacheEntry> get(const DiskCache& c, const std::string& key) {
  auto e = c.get(key);
  EXPECT_TRUE(e.ok()) << e.error().to_string();
  return e.ok() ? *e : std::nullopt;
}
std::string slurp(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), {}};
}
void spew(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes; }
void set_age(const std::string& path, int64_t seconds) {
  const struct timespec t[2] = {{::time(nullptr) - seconds, 0}, {::time(nullptr) - seconds, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), t, 0), 0);
}

TEST_F(DiskCacheTest, PutAndGet) {
  const DiskCache c = open();
  EXPECT_TRUE(c.enabled());
  EXPECT_FALSE(get(c, "k"));
  const std::string binary("\0\x01\xff", 3);
  ASSERT_TRUE(put(c, "k", binary).ok());
  auto e = get(c, "k");
  ASSERT_TRUE(e);
  EXPECT_EQ(e->key(), "k");
  EXPECT_EQ(e->text("object"), binary);
  EXPECT_EQ(e->text("source"), "source");
  EXPECT_EQ(e->blob("absent").size(), 0u);
  EXPECT_EQ(e->blobs().size(), 2u);
  for (const CacheBlob& b : e->blobs()) EXPECT_EQ(reinterpret_cast<uintptr_t>(b.bytes.data()) % 64, 0u);
  ASSERT_TRUE(put(c, "k", "new").ok());
  EXPECT_EQ(get(c, "k")->text("object"), "new");
  EXPECT_EQ(e->text("object"), binary);  // who read the old entry keeps it
  EXPECT_EQ(get(open(), "k")->text("object"), "new");
}

TEST_F(DiskCacheTest, OddContents) {
  const DiskCache c = open();
  ASSERT_TRUE(c.put("", {}).ok());
  ASSERT_TRUE(get(c, ""));
  EXPECT_TRUE(get(c, "")->blobs().empty());
  const std::string large(300001, 'x'), key(5000, '\n');
  const CacheBlob blobs[] = {text_blob("empty", ""), text_blob("large", large), text_blob("", "nameless"), text_blob("last", "")};
  ASSERT_TRUE(c.put(key, blobs).ok());
  auto e = get(c, key);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->text("large"), large);
  EXPECT_EQ(e->text(""), "nameless");
  EXPECT_EQ(e->blobs()[3].name, "last");
}

TEST_F(DiskCacheTest, Disabled) {
  const DiskCache c;
  EXPECT_FALSE(c.enabled());
  EXPECT_EQ(c.folder(), "");
  EXPECT_TRUE(put(c, "k", "v").ok());
  EXPECT_FALSE(get(c, "k"));
  EXPECT_TRUE(c.add_user("k", "m").ok());
  EXPECT_EQ(c.list()->size(), 0u);
  EXPECT_EQ(c.stat()->entries, 0);
  EXPECT_EQ(c.clear()->entries, 0);
}

TEST_F(DiskCacheTest, AnotherKeyOfTheSameHashIsAMiss) {
  const DiskCache c = open();
  ASSERT_TRUE(put(c, "a", "1").ok());
  fs::copy(file_of("a"), file_of("b"));
  EXPECT_FALSE(get(c, "b"));
  EXPECT_TRUE(get(c, "a"));
  ASSERT_TRUE(put(c, "b", "2").ok());
  EXPECT_EQ(get(c, "b")->text("object"), "2");
}

TEST_F(DiskCacheTest, AnyDamageIsAMissAndGoes) {
  const DiskCache c = open();
  ASSERT_TRUE(put(c, "k", "object bytes").ok());
  const std::string good = slurp(file_of("k"));
  auto object_at = good.find("object bytes");
  ASSERT_NE(object_at, std::string::npos);
  size_t padding = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    std::string b = good;
    b[i] = static_cast<char>(b[i] ^ 0x10);
    spew(file_of("k"), b);
    auto e = get(c, "k");
    if (e) {  // only bytes between the parts carry nothing
      EXPECT_EQ(good[i], '\0') << i;
      EXPECT_EQ(e->text("object"), "object bytes");
      ++padding;
    } else {
      EXPECT_FALSE(fs::exists(file_of("k"))) << i;
    }
  }
  EXPECT_LT(padding, 128u);
  for (size_t n = 0; n < good.size(); ++n) {
    spew(file_of("k"), good.substr(0, n));
    EXPECT_FALSE(get(c, "k")) << n;
  }
  spew(file_of("k"), good + "x");
  EXPECT_FALSE(get(c, "k"));
  spew(file_of("k"), good);
  EXPECT_TRUE(get(c, "k"));
}

TEST_F(DiskCacheTest, FoldersOfOthersAreRefused) {
  open();
  const std::string root = folder_ + "/cache";
  struct stat st;
  ASSERT_EQ(::stat((root + "/kernels").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
  for (const std::string& path : {root, root + "/kernels"}) {
    for (mode_t mode : {0770, 0702, 0777}) {
      ASSERT_EQ(::chmod(path.c_str(), mode), 0);
      auto c = DiskCache::open(root, "kernels");
      ASSERT_FALSE(c.ok());
      EXPECT_EQ(c.error().code, Code::kResources);
      EXPECT_NE(c.error().hint.find("WEFT_CACHE_DIR"), std::string::npos);
    }
    ASSERT_EQ(::chmod(path.c_str(), 0755), 0);  // others may look
    EXPECT_TRUE(DiskCache::open(root, "kernels").ok());
  }
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown((root + "/kernels").c_str(), 12345, 12345), 0);
    auto c = DiskCache::open(root, "kernels");
    ASSERT_FALSE(c.ok());
    EXPECT_NE(c.error().message.find("another user"), std::string::npos);
    ASSERT_EQ(::chown((root + "/kernels").c_str(), 0, 0), 0);
  }
  fs::remove_all(root + "/kernels");
  fs::create_directory(folder_ + "/elsewhere");
  fs::create_directory_symlink(folder_ + "/elsewhere", root + "/kernels");
  EXPECT_FALSE(DiskCache::open(root, "kernels").ok());
  spew(folder_ + "/file", "");
  EXPECT_FALSE(DiskCache::open(folder_ + "/file", "kernels").ok());
  EXPECT_FALSE(DiskCache::open(folder_ + "/file/below", "kernels").ok());
  EXPECT_FALSE(DiskCache::open("", "kernels").ok());
}

TEST_F(DiskCacheTest, EntriesThatOthersMayWriteAreMisses) {
  const DiskCache c = open();
  ASSERT_TRUE(put(c, "k", "v").ok());
  ASSERT_EQ(::chmod(file_of("k").c_str(), 0666), 0);
  EXPECT_FALSE(get(c, "k"));
  EXPECT_FALSE(fs::exists(file_of("k")));
  ASSERT_TRUE(put(c, "k", "v").ok());
  fs::rename(file_of("k"), folder_ + "/aside");
  fs::create_symlink(folder_ + "/aside", file_of("k"));
  EXPECT_FALSE(get(c, "k"));
  EXPECT_TRUE(fs::exists(folder_ + "/aside"));
}

TEST_F(DiskCacheTest, DefaultFolder) {
  auto with = [](const char* weft, const char* xdg, const char* home) {
    std::vector<std::pair<const char*, std::optional<std::string>>> old;
    for (auto [name, value] : {std::pair{"WEFT_CACHE_DIR", weft}, {"XDG_CACHE_HOME", xdg}, {"HOME", home}}) {
      const char* before = std::getenv(name);
      old.push_back({name, before ? std::optional<std::string>(before) : std::nullopt});
      value ? ::setenv(name, value, 1) : ::unsetenv(name);
    }
    auto r = default_cache_folder();
    for (auto& [name, value] : old) value ? ::setenv(name, value->c_str(), 1) : ::unsetenv(name);
    return r.ok() ? *r : "error";
  };
  EXPECT_EQ(with("/a", "/b", "/c"), "/a");
  EXPECT_EQ(with("", "/b", "/c"), "/b/weft");
  EXPECT_EQ(with(nullptr, "relative", "/c"), "/c/.cache/weft");
  EXPECT_EQ(with(nullptr, nullptr, "/c"), "/c/.cache/weft");
  EXPECT_EQ(with(nullptr, nullptr, nullptr), "error");
}

TEST_F(DiskCacheTest, ListStatAndRead) {
  const DiskCache c = open();
  for (int i = 0; i < 5; ++i) {
    const std::string key = "key" + std::to_string(i);
    ASSERT_TRUE(put(c, key, std::string(100, 'x')).ok());
    set_age(file_of(key), 1000 * (i + 1));
  }
  spew(folder_ + "/cache/kernels/README", "not ours");
  auto list = c.list();
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->size(), 5u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ((*list)[static_cast<size_t>(i)].hash, hash_text("key" + std::to_string(i)));
  EXPECT_EQ(c.stat()->entries, 5);
  EXPECT_EQ(c.stat()->bytes, 5 * (*list)[0].bytes);
  auto e = c.read((*list)[4].hash);
  ASSERT_TRUE(e.ok() && *e);
  EXPECT_EQ((*e)->key(), "key4");
  EXPECT_EQ((*c.list())[4].hash, hash_text("key4"));  // reading is no use,
  EXPECT_TRUE(get(c, "key4"));
  EXPECT_EQ((*c.list())[0].hash, hash_text("key4"));  // getting is
  EXPECT_EQ(c.clear()->entries, 5);
  EXPECT_EQ(c.stat()->entries, 0);
  EXPECT_TRUE(fs::exists(folder_ + "/cache/kernels/README"));
}

TEST_F(DiskCacheTest, PruneRemovesTheLeastRecentlyUsed) {
  const DiskCache c = open();
  for (int i = 0; i < 6; ++i) {
    const std::string key = "key" + std::to_string(i);
    ASSERT_TRUE(put(c, key, std::string(1000, 'x')).ok());
    set_age(file_of(key), 1000 * (i + 1));
  }
  const int64_t each = c.stat()->bytes / 6;
  EXPECT_TRUE(get(c, "key5"));  // now the youngest
  auto gone = c.prune(3 * each + each / 2);
  ASSERT_TRUE(gone.ok());
  EXPECT_EQ(gone->entries, 3);
  EXPECT_EQ(gone->bytes, 3 * each);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(get(c, "key" + std::to_string(i)).has_value(), i < 2 || i == 5) << i;
}

TEST_F(DiskCacheTest, PutKeepsTheLimit) {
  const DiskCache c = open(20000);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(put(c, "key" + std::to_string(i), std::string(1000, 'x')).ok());
    ASSERT_LE(c.stat()->bytes, 20000);
  }
  EXPECT_GT(c.stat()->entries, 10);
  EXPECT_TRUE(put(c, "huge", std::string(20000, 'x')).ok());
  EXPECT_FALSE(get(c, "huge"));
}

TEST_F(DiskCacheTest, WhatCrashedWritersLeftGoesInTheEnd) {
  const DiskCache c = open();
  const std::string path = folder_ + "/cache/kernels/.tmp-1-0";
  spew(path, "half");
  EXPECT_TRUE(c.prune(kDefaultCacheLimit).ok());
  EXPECT_TRUE(fs::exists(path));  // its writer may live
  set_age(path, 7200);
  EXPECT_TRUE(c.prune(kDefaultCacheLimit).ok());
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(DiskCacheTest, Users) {
  const DiskCache c = open();
  EXPECT_TRUE(c.add_user("k", "model-a").ok());
  EXPECT_FALSE(get(c, "k"));
  ASSERT_TRUE(put(c, "k", "v").ok());
  for (const char* user : {"model-a", "model-b", "model-a", "model"}) EXPECT_TRUE(c.add_user("k", user).ok());
  EXPECT_EQ(get(c, "k")->text("used-by"), "model-a\nmodel-b\nmodel\n");
  EXPECT_EQ(get(c, "k")->text("object"), "v");
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(c.add_user("k", std::to_string(i)).ok());
  const std::string users(get(c, "k")->text("used-by"));
  EXPECT_EQ(std::count(users.begin(), users.end(), '\n'), 64);
}

std::string value_of(int key, int writer) { return std::string(static_cast<size_t>(500 + 37 * writer), static_cast<char>('a' + key)); }

// Reads and writes the same few keys, prunes and clears; every hit must be one of the values written for that key.
int hammer(const DiskCache& c, int writer, int rounds) {
  int wrong = 0;
  uint64_t state = static_cast<uint64_t>(writer) + 1;
  for (int i = 0; i < rounds; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const int key = static_cast<int>(state >> 60) % 8;
    const std::string name = "key" + std::to_string(key);
    if ((state >> 40) % 3 == 0 && !put(c, name, value_of(key, writer), value_of(key, writer)).ok()) ++wrong;
    if ((state >> 40) % 50 == 1 && !c.prune(3000).ok()) ++wrong;
    auto e = c.get(name);
    if (!e.ok()) ++wrong;
    if (!e.ok() || !*e) continue;
    const std::string_view object = (*e)->text("object");
    if ((*e)->text("source") != object || object.empty() || object[0] != 'a' + key || object.size() < 500) ++wrong;
  }
  return wrong;
}

TEST_F(DiskCacheTest, ConcurrentProcesses) {
  open();
  std::vector<pid_t> children;
  for (int w = 0; w < 6; ++w) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto c = DiskCache::open(folder_ + "/cache", "kernels", 1 << 16);
      ::_exit(c.ok() ? std::min(hammer(*c, w, 300), 100) : 101);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
  for (const auto& file : fs::directory_iterator(folder_ + "/cache/kernels"))
    EXPECT_EQ(file.path().extension(), ".entry") << file.path();
}

TEST_F(DiskCacheTest, ConcurrentThreads) {
  const DiskCache shared = open(1 << 16);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int w = 0; w < 4; ++w)
    threads.emplace_back([&, w] { wrong[static_cast<size_t>(w)] = hammer(w % 2 ? shared : open(1 << 16), w, 200); });
  for (std::thread& t : threads) t.join();
  for (int n : wrong) EXPECT_EQ(n, 0);
}

// A writer killed at any moment leaves either no entry or a whole one.
TEST_F(DiskCacheTest, KilledWriters) {
  const DiskCache c = open();
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int i = 0;; ++i) (void)put(c, "k", std::string(100000, static_cast<char>('a' + i % 26)));
    }
    ::usleep(static_cast<useconds_t>(500 * (round + 1)));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (fs::exists(file_of("k"))) {
      auto e = get(c, "k");
      ASSERT_TRUE(e);
      EXPECT_EQ(e->text("object").size(), 100000u);
    }
  }
}

}  // namespace
}  // namespace weft::disk_cache_test
