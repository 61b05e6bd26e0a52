// A read-only memory-mapped file, shared by everything that points into it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "ir/base/result.h"

namespace weft {

class MappedFile {
 public:
  // Regular files only. Error kResources when it cannot be opened or mapped.
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);
  // Takes ownership of fd (closed on every path).
  static Result<std::shared_ptr<const MappedFile>> from_fd(int fd, const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

}  // namespace weft
