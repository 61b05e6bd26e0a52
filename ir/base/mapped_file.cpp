#include "ir/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weft {

static Error failed(const char* what, const std::string& path, int err) {
  return resources(std::string("cannot ") + what + " " + path + ": " + std::strerror(err));
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO without a writer must not hang; it is refused afterwards.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failed("open", path, errno);
  return from_fd(fd, path);
}

Result<std::shared_ptr<const MappedFile>> MappedFile::from_fd(int fd, const std::string& path) {
  struct stat st;
  if (::fstat(fd, &st) != 0) {
    int err = errno;
    ::close(fd);
    return failed("stat", path, err);
  }
  if (!S_ISREG(st.st_mode)) {
    ::close(fd);
    return resources("not a regular file: " + path);
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  const size_t size = static_cast<size_t>(st.st_size);
  if (size > 0) {
    void* p = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
      int err = errno;
      ::close(fd);
      return failed("map", path, err);
    }
    file->data_ = static_cast<const std::byte*>(p);
    file->size_ = size;
  }
  ::close(fd);
  return std::shared_ptr<const MappedFile>(std::move(file));
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace weft
