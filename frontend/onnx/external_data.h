// External tensor data: files named by a model, so by whoever wrote the model. Each is opened beneath the model's folder
// without following a link (openat2, or component by component where the kernel lacks it), must be a regular file with a
// single name, and stays mapped as long as anything points into it. Under --external-data-root links may be followed and
// files may have several names, as long as the resolved path lies beneath that folder.
//
// Trusted: the path of the model itself and the root. Not trusted: everything inside the model.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/mapped_file.h"

namespace weft {

// The external_data entries of a tensor.
struct ExternalEntry {
  std::string key, value;
};
struct ExternalRange {
  std::shared_ptr<const MappedFile> file;
  uint64_t offset = 0;
};

class ExternalData {
 public:
  // An empty base_dir: nothing may be opened but beneath `root`.
  ExternalData(std::string base_dir, std::string root) : base_dir_(std::move(base_dir)), root_(std::move(root)) {}

  // The place of `bytes` bytes. Checks keys (location, offset, length, checksum), bounds and, once per file, the SHA-1.
  Result<ExternalRange> range(const std::vector<ExternalEntry>& entries, uint64_t bytes);

 private:
  Result<std::shared_ptr<const MappedFile>> open(const std::string& location);
  std::string base_dir_, root_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
  std::map<std::string, std::string> checked_;  // location: the SHA-1 it was found to have
};

// Opens a file whose path relative to `folder` comes from a model. Error kInvalidModel when the path is absolute, empty,
// has a `..`, or leads through a link; kResources when the file is absent or not regular.
Result<std::shared_ptr<const MappedFile>> open_beneath(const std::string& folder, const std::string& location);

// 40 lower-case hex digits.
std::string sha1_hex(const std::byte* data, size_t size);

}  // namespace weft
