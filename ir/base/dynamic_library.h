// A shared library that is opened at run time because weft must start without it: CUDA's driver, NVRTC, NCCL. It is never
// closed: such libraries keep threads and global state.
#pragma once

#include <string>
#include <vector>

#include "ir/base/result.h"

namespace weft {

class DynamicLibrary {
 public:
  // Opens the first of `names` that loads: paths, or sonames for the system's search. Error kUnsupported says what is not
  // there, or why what is there does not load.
  static Result<DynamicLibrary> open(const std::vector<std::string>& names);

  // Null when the library has no such symbol.
  void* symbol(const char* name) const;
  // Where it lies; the name it was opened by when that is not known.
  const std::string& path() const { return path_; }

 private:
  void* handle_ = nullptr;
  std::string path_;
};

}  // namespace weft
