#include "runtime/cache/disk_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <mutex>
#include <tuple>
#include <utility>

#include "ir/base/check.h"

namespace weft {

namespace {
constexpr char kMagic[8] = {'W', 'E', 'F', 'T', 'K', 'C', '1', '\n'};
constexpr uint64_t kBlobAlign = 64;
constexpr int64_t kUseGranularity = 60;      // seconds; a use is noted no more often
constexpr int64_t kStaleTemporary = 3600;    // seconds; older ones have no living writer
constexpr size_t kMaxUsers = 64;
constexpr char kSuffix[] = ".entry";
constexpr char kTemporary[] = ".tmp-";
constexpr char kUsedBy[] = "used-by";

// The file: Head, Blob[blob_count], key, names, then the blobs, each at a multiple of kBlobAlign. Little endian.
struct Head {
  char magic[8];
  uint64_t file_size;
  uint64_t head_size;  // up to the end of the names
  Hash head_hash;      // of what follows, up to head_size
  uint32_t key_size;
  uint32_t blob_count;
};
struct BlobRow {
  uint64_t offset, size;
  Hash hash;
  uint64_t name_size;
};
static_assert(sizeof(Head) == 48 && sizeof(BlobRow) == 40);
constexpr size_t kHashedFrom = offsetof(Head, key_size);

uint64_t align_up(uint64_t v) { return (v + kBlobAlign - 1) / kBlobAlign * kBlobAlign; }
Error failed(const std::string& what, int err) { return resources("cache: cannot " + what + ": " + std::strerror(err)); }

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

bool ours(const struct stat& st) { return st.st_uid == ::geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)); }

Result<Fd> open_folder(int parent, const std::string& name, const std::string& path, int flags) {
  // Whether making it failed matters only if it is not there: read-only systems have several errors for "exists".
  const int make_error = ::mkdirat(parent, name.c_str(), 0700) == 0 ? 0 : errno;
  Fd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags));
  if (fd.get() < 0 && errno == ENOENT && make_error != 0) return failed("make the folder " + path, make_error);
  if (fd.get() < 0) return failed("open the folder " + path, errno);
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return failed("stat " + path, errno);
  if (st.st_uid != ::geteuid())
    return resources("cache: " + path + " belongs to another user").with_hint("name a folder of your own with WEFT_CACHE_DIR");
  if (!ours(st)) return resources("cache: others may write to " + path).with_hint("chmod 700 it, or name another folder with WEFT_CACHE_DIR");
  return fd;
}

// A parent that cannot be made shows when the folder itself is opened.
void make_parents(const std::string& path) {
  for (size_t i = path.find('/', 1); i != std::string::npos; i = path.find('/', i + 1)) (void)::mkdir(path.substr(0, i).c_str(), 0700);
}

Status write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("write an entry", errno);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

struct File {
  std::string name;
  Hash hash;  // of entries
  bool temporary = false;
  int64_t bytes = 0;
  struct timespec time {};
};

// Entries and temporaries of the folder; other names are not ours and are left alone. Files that vanish meanwhile are
// skipped.
Result<std::vector<File>> scan(int folder, const std::string& path) {
  const int fd = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed("open the folder " + path, errno);
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd), ::closedir);
  if (!dir) {
    const int err = errno;
    ::close(fd);
    return failed("read the folder " + path, err);
  }
  std::vector<File> out;
  while (const dirent* e = ::readdir(dir.get())) {
    File f;
    f.name = e->d_name;
    const std::string_view name = f.name;
    f.temporary = name.starts_with(kTemporary);
    if (!f.temporary && !(name.ends_with(kSuffix) && Hash::from_hex(name.substr(0, name.size() - std::strlen(kSuffix)), &f.hash))) continue;
    struct stat st;
    if (::fstatat(folder, f.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) continue;
    f.bytes = st.st_size;
    f.time = st.st_mtim;
    out.push_back(std::move(f));
  }
  std::sort(out.begin(), out.end(), [](const File& a, const File& b) {
    return std::tie(b.time.tv_sec, b.time.tv_nsec, a.name) < std::tie(a.time.tv_sec, a.time.tv_nsec, b.name);
  });
  return out;
}

std::string file_name(const Hash& h) { return h.hex() + kSuffix; }
}  // namespace

struct DiskCache::State {
  State(Fd f, std::string p, int64_t l) : folder(std::move(f)), path(std::move(p)), limit(l) {}
  Fd folder;
  std::string path;
  int64_t limit;
  std::atomic<uint64_t> temporaries{0};
  std::mutex mutex;          // for what put() knows of the size
  int64_t known_bytes = -1;  // as of the last scan, plus what this process wrote since; -1: not scanned
};

std::span<const std::byte> CacheEntry::blob(std::string_view name) const {
  for (const CacheBlob& b : blobs_)
    if (b.name == name) return b.bytes;
  return {};
}
std::string_view CacheEntry::text(std::string_view name) const {
  const auto b = blob(name);
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

std::optional<CacheEntry> CacheEntry::parse(std::shared_ptr<const MappedFile> file) {
  const std::byte* data = file->data();
  const uint64_t size = file->size();
  Head head;
  if (size < sizeof head) return std::nullopt;
  std::memcpy(&head, data, sizeof head);
  if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0 || head.file_size != size || head.head_size < sizeof head || head.head_size > size)
    return std::nullopt;
  if (hash_bytes(data + kHashedFrom, head.head_size - kHashedFrom) != head.head_hash) return std::nullopt;
  uint64_t rest = head.head_size - sizeof head;  // bytes of the head not yet accounted for
  if (head.blob_count > rest / sizeof(BlobRow)) return std::nullopt;
  rest -= head.blob_count * sizeof(BlobRow);
  if (head.key_size > rest) return std::nullopt;
  rest -= head.key_size;
  const char* names = reinterpret_cast<const char*>(data) + sizeof head + head.blob_count * sizeof(BlobRow);
  CacheEntry e;
  e.key_ = {names, head.key_size};
  names += head.key_size;
  for (uint32_t i = 0; i < head.blob_count; ++i) {
    BlobRow row;
    std::memcpy(&row, data + sizeof head + i * sizeof row, sizeof row);
    if (row.name_size > rest || row.offset > size || row.size > size - row.offset) return std::nullopt;
    if (hash_bytes(data + row.offset, row.size) != row.hash) return std::nullopt;
    e.blobs_.push_back({{names, row.name_size}, {data + row.offset, row.size}});
    names += row.name_size;
    rest -= row.name_size;
  }
  e.file_ = std::move(file);
  return e;
}

Result<DiskCache> DiskCache::open(const std::string& folder, const std::string& section, int64_t limit_bytes) {
  if (folder.empty()) return usage("cache: no folder given");
  CHECK(!section.empty() && section[0] != '.' && section.find('/') == std::string::npos);
  make_parents(folder);
  TRY_ASSIGN(Fd root, open_folder(AT_FDCWD, folder, folder, 0));
  const std::string path = folder + "/" + section;
  TRY_ASSIGN(Fd fd, open_folder(root.get(), section, path, O_NOFOLLOW));
  DiskCache cache;
  cache.state_ = std::make_shared<State>(std::move(fd), path, limit_bytes);
  return cache;
}

std::string DiskCache::folder() const { return state_ ? state_->path : ""; }
int64_t DiskCache::limit_bytes() const { return state_ ? state_->limit : 0; }

Result<std::optional<CacheEntry>> DiskCache::load(const Hash& hash, bool use) const {
  const std::optional<CacheEntry> miss;
  if (!state_) return miss;
  const std::string name = file_name(hash), path = state_->path + "/" + name;
  Fd fd(::openat(state_->folder.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (fd.get() < 0 && errno == ENOENT) return miss;
  if (fd.get() < 0 && errno != ELOOP) return failed("open " + path, errno);
  struct stat st {};
  if (fd.get() >= 0 && ::fstat(fd.get(), &st) == 0 && S_ISREG(st.st_mode) && ours(st)) {
    // Failing to note the use (a read-only file system) only makes the entry look older.
    if (use && ::time(nullptr) - st.st_mtime >= kUseGranularity) (void)::futimens(fd.get(), nullptr);
    TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::from_fd(fd.release(), path));
    std::optional<CacheEntry> e = CacheEntry::parse(std::move(file));
    if (e) return e;
  }
  ::unlinkat(state_->folder.get(), name.c_str(), 0);
  return miss;
}

Result<std::optional<CacheEntry>> DiskCache::get(std::string_view key) const {
  TRY_ASSIGN(std::optional<CacheEntry> e, load(hash_text(key), true));
  if (e && e->key() != key) e.reset();
  return e;
}
Result<std::optional<CacheEntry>> DiskCache::read(const Hash& hash) const { return load(hash, false); }

Status DiskCache::put(std::string_view key, std::span<const CacheBlob> blobs) const {
  if (!state_) return {};
  Head head{};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  CHECK(key.size() <= UINT32_MAX && blobs.size() <= UINT32_MAX);
  head.key_size = static_cast<uint32_t>(key.size());
  head.blob_count = static_cast<uint32_t>(blobs.size());
  std::string names;
  for (const CacheBlob& b : blobs) names += b.name;
  head.head_size = sizeof head + blobs.size() * sizeof(BlobRow) + key.size() + names.size();
  std::vector<BlobRow> rows;
  uint64_t end = head.head_size;
  for (const CacheBlob& b : blobs) {
    const uint64_t offset = align_up(end);
    rows.push_back({offset, b.bytes.size(), hash_bytes(b.bytes.data(), b.bytes.size()), b.name.size()});
    end = offset + b.bytes.size();
  }
  head.file_size = end;
  if (end > static_cast<uint64_t>(std::max<int64_t>(state_->limit, 0))) return {};

  std::vector<std::byte> bytes(head.head_size);
  std::byte* p = bytes.data() + sizeof head;
  const auto append = [&p](const void* data, size_t n) {
    if (n) std::memcpy(p, data, n);
    p += n;
  };
  append(rows.data(), rows.size() * sizeof(BlobRow));
  append(key.data(), key.size());
  append(names.data(), names.size());
  std::memcpy(bytes.data(), &head, sizeof head);
  head.head_hash = hash_bytes(bytes.data() + kHashedFrom, bytes.size() - kHashedFrom);
  std::memcpy(bytes.data(), &head, sizeof head);
  TRY(publish(file_name(hash_text(key)), bytes, blobs));

  std::lock_guard lock(state_->mutex);
  if (state_->known_bytes < 0) {
    TRY_ASSIGN(CacheStats now, stat());
    state_->known_bytes = now.bytes;
  } else {
    state_->known_bytes += static_cast<int64_t>(end);
  }
  if (state_->known_bytes <= state_->limit) return {};
  // Below the limit, so that the next entries do not each scan the folder.
  TRY(prune(state_->limit / 10 * 9));
  TRY_ASSIGN(CacheStats now, stat());
  state_->known_bytes = now.bytes;
  return {};
}

Status DiskCache::publish(const std::string& name, std::span<const std::byte> head, std::span<const CacheBlob> blobs) const {
  const int folder = state_->folder.get();
  std::string temporary;
  int raw = -1;
  // Another cache object of this process, or a dead process of the same number, may hold a name.
  for (int attempt = 0; raw < 0 && attempt < 1000; ++attempt) {
    temporary = kTemporary + std::to_string(::getpid()) + "-" + std::to_string(state_->temporaries++);
    raw = ::openat(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (raw < 0 && errno != EEXIST) break;
  }
  if (raw < 0) return failed("create a file in " + state_->path, errno);
  Fd fd(raw);
  const auto write = [&]() -> Status {
    TRY(write_all(fd.get(), head));
    uint64_t end = head.size();
    const std::byte zeros[kBlobAlign] = {};
    for (const CacheBlob& b : blobs) {
      TRY(write_all(fd.get(), {zeros, align_up(end) - end}));
      TRY(write_all(fd.get(), b.bytes));
      end = align_up(end) + b.bytes.size();
    }
    if (::fdatasync(fd.get()) != 0) return failed("sync an entry", errno);
    if (::renameat(folder, temporary.c_str(), folder, name.c_str()) != 0) return failed("publish " + state_->path + "/" + name, errno);
    return {};
  };
  Status s = write();
  if (!s.ok()) ::unlinkat(folder, temporary.c_str(), 0);
  return s;
}

Status DiskCache::add_user(std::string_view key, std::string_view user) const {
  TRY_ASSIGN(std::optional<CacheEntry> e, load(hash_text(key), false));
  if (!e || e->key() != key) return {};
  std::string users(e->text(kUsedBy));
  const std::string line = std::string(user) + "\n";
  if (("\n" + users).find("\n" + line) != std::string::npos) return {};
  if (static_cast<size_t>(std::count(users.begin(), users.end(), '\n')) >= kMaxUsers) return {};
  users += line;
  std::vector<CacheBlob> blobs;
  for (const CacheBlob& b : e->blobs())
    if (b.name != kUsedBy) blobs.push_back(b);
  blobs.push_back(text_blob(kUsedBy, users));
  return put(key, blobs);
}

Result<std::vector<CacheEntryInfo>> DiskCache::list() const {
  std::vector<CacheEntryInfo> out;
  if (!state_) return out;
  TRY_ASSIGN(std::vector<File> files, scan(state_->folder.get(), state_->path));
  for (const File& f : files)
    if (!f.temporary) out.push_back({f.hash, f.bytes, f.time.tv_sec});
  return out;
}

Result<CacheStats> DiskCache::stat() const {
  TRY_ASSIGN(std::vector<CacheEntryInfo> entries, list());
  CacheStats s;
  for (const CacheEntryInfo& e : entries) {
    ++s.entries;
    s.bytes += e.bytes;
  }
  return s;
}

Result<CacheStats> DiskCache::prune(int64_t limit_bytes) const {
  CacheStats gone;
  if (!state_) return gone;
  TRY_ASSIGN(std::vector<File> files, scan(state_->folder.get(), state_->path));
  const auto remove = [this](const File& f) { return ::unlinkat(state_->folder.get(), f.name.c_str(), 0) == 0; };
  int64_t kept = 0;
  for (const File& f : files) {
    if (f.temporary) {
      if (::time(nullptr) - f.time.tv_sec >= kStaleTemporary) remove(f);
      continue;
    }
    if (f.bytes <= limit_bytes - kept) {
      kept += f.bytes;
      continue;
    }
    limit_bytes = kept;  // from here on all are older
    if (remove(f)) {
      ++gone.entries;
      gone.bytes += f.bytes;
    }
  }
  return gone;
}

}  // namespace weft
