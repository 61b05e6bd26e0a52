#include "frontend/onnx/external_data.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace weft {

namespace {

// linux/openat2.h, which older headers lack.
struct OpenHow {
  uint64_t flags = 0, mode = 0, resolve = 0;
};
constexpr uint64_t kNoMagicLinks = 2, kNoSymlinks = 4, kBeneath = 8;
#ifdef SYS_openat2
constexpr long kOpenat2 = SYS_openat2;
#else
constexpr long kOpenat2 = 437;
#endif
// O_NONBLOCK: a FIFO must not hang us; it is refused as not regular.
constexpr int kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW;

Error cannot_open(const std::string& location, int err) {
  if (err == ELOOP || err == EXDEV)
    return invalid("external data `" + location + "` leads through a link")
        .with_hint("give the folder in which the link ends: --external-data-root DIR");
  return resources("cannot open external data `" + location + "`: " + std::strerror(err));
}

std::vector<std::string> components(const std::string& path) {
  std::vector<std::string> out;
  for (size_t pos = 0; pos <= path.size();) {
    size_t end = std::min(path.find('/', pos), path.size());
    std::string part = path.substr(pos, end - pos);
    if (!part.empty() && part != ".") out.push_back(part);
    pos = end + 1;
  }
  return out;
}

Status check_location(const std::string& location) {
  if (location.empty() || location.find('\0') != std::string::npos) return invalid("external data has an empty or malformed location");
  if (location[0] == '/') return invalid("external data `" + location + "` has an absolute path");
  for (const std::string& part : components(location))
    if (part == "..") return invalid("external data `" + location + "` leaves the model's folder");
  return {};
}

// Without openat2: one component at a time, none of which may be a link.
int open_by_component(int folder, const std::string& location) {
  std::vector<std::string> parts = components(location);
  int at = ::dup(folder);
  for (size_t i = 0; at >= 0 && i < parts.size(); ++i) {
    bool last = i + 1 == parts.size();
    int next = ::openat(at, parts[i].c_str(), last ? kOpenFlags : O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int err = errno;
    ::close(at);
    // A link where a folder was wanted reports ENOTDIR.
    errno = !last && err == ENOTDIR ? ELOOP : err;
    at = next;
  }
  return at;
}

int open_relative(int folder, const std::string& location) {
  OpenHow how{static_cast<uint64_t>(kOpenFlags), 0, kNoMagicLinks | kNoSymlinks | kBeneath};
  long fd = ::syscall(kOpenat2, folder, location.c_str(), &how, sizeof how);
  if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL)) return open_by_component(folder, location);
  return static_cast<int>(fd);
}

Result<int> open_checked(const std::string& folder, const std::string& location, bool single_name) {
  int dir = ::open(folder.empty() ? "." : folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return resources("cannot open folder `" + folder + "`: " + std::strerror(errno));
  int fd = open_relative(dir, location);
  int err = errno;
  ::close(dir);
  if (fd < 0) return cannot_open(location, err);
  struct stat st;
  if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    ::close(fd);
    return resources("external data `" + location + "` is not a regular file");
  }
  if (single_name && st.st_nlink > 1) {
    ::close(fd);
    return invalid("external data `" + location + "` has other names elsewhere (a hard link)")
        .with_hint("copy the file, or give its folder: --external-data-root DIR");
  }
  return fd;
}

Result<std::string> resolved(const std::string& path) {
  char* p = ::realpath(path.c_str(), nullptr);
  if (!p) return resources("cannot open `" + path + "`: " + std::strerror(errno));
  std::string out = p;
  std::free(p);
  return out;
}

// Follows links, but only to places beneath root.
Result<std::shared_ptr<const MappedFile>> open_under_root(const std::string& root, const std::string& path, const std::string& location) {
  TRY_ASSIGN(std::string top, resolved(root));
  TRY_ASSIGN(std::string real, resolved(path));
  if (top.back() != '/') top += '/';
  if (real.compare(0, top.size(), top) != 0) return invalid("external data `" + location + "` lies outside --external-data-root");
  // The resolved path has no links; opening it again beneath the root notices one that was put there in between.
  TRY_ASSIGN(int fd, open_checked(top, real.substr(top.size()), false));
  return MappedFile::from_fd(fd, real);
}

Result<uint64_t> number_of(const ExternalEntry& e) {
  uint64_t v = 0;
  auto [end, ec] = std::from_chars(e.value.data(), e.value.data() + e.value.size(), v);
  if (ec != std::errc() || end != e.value.data() + e.value.size() || e.value.empty())
    return invalid("external data has " + e.key + " `" + e.value + "`");
  return v;
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> open_beneath(const std::string& folder, const std::string& location) {
  TRY(check_location(location));
  TRY_ASSIGN(int fd, open_checked(folder, location, true));
  return MappedFile::from_fd(fd, (folder.empty() ? "" : folder + "/") + location);
}

Result<std::shared_ptr<const MappedFile>> ExternalData::open(const std::string& location) {
  if (auto it = files_.find(location); it != files_.end()) return it->second;
  TRY(check_location(location));
  std::shared_ptr<const MappedFile> file;
  if (root_.empty()) {
    if (base_dir_.empty()) return invalid("external data `" + location + "` of a model that has no folder").with_hint("--external-data-root DIR");
    TRY_ASSIGN(file, open_beneath(base_dir_, location));
  } else {
    std::string path = (base_dir_.empty() ? root_ : base_dir_) + "/" + location;
    if (::access(path.c_str(), F_OK) != 0) path = root_ + "/" + location;
    TRY_ASSIGN(file, open_under_root(root_, path, location));
  }
  files_[location] = file;
  return file;
}

Result<ExternalRange> ExternalData::range(const std::vector<ExternalEntry>& entries, uint64_t bytes) {
  std::string location, checksum;
  uint64_t offset = 0, length = bytes;
  std::string seen;
  for (const ExternalEntry& e : entries) {
    if (seen.find("," + e.key + ",") != std::string::npos) return invalid("external data gives " + e.key + " twice");
    seen += "," + e.key + ",";
    if (e.key == "location") location = e.value;
    else if (e.key == "checksum") checksum = e.value;
    else if (e.key == "offset") { TRY_ASSIGN(offset, number_of(e)); }
    else if (e.key == "length") { TRY_ASSIGN(length, number_of(e)); }
    else return invalid("external data has the unknown key `" + e.key + "`").with_hint("known are location, offset, length, checksum");
  }
  if (length != bytes) return invalid("external data gives " + std::to_string(length) + " bytes, the tensor has " + std::to_string(bytes));
  TRY_ASSIGN(std::shared_ptr<const MappedFile> file, open(location));
  if (offset > file->size() || bytes > file->size() - offset)
    return invalid("external data `" + location + "` has " + std::to_string(file->size()) + " bytes, the tensor lies at " + std::to_string(offset) +
                   " with " + std::to_string(bytes) + " bytes");
  if (!checksum.empty()) {
    for (char& c : checksum) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    auto [it, first] = checked_.try_emplace(location);
    if (first) it->second = sha1_hex(file->data(), file->size());
    if (it->second != checksum) return invalid("external data `" + location + "` has another SHA-1 than the model says");
  }
  return ExternalRange{file, offset};
}

}  // namespace weft
