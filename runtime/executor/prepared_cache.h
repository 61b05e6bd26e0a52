// Prepared tensors kept on disk between processes, so that weights are laid out once per machine and not once per load.
//
// An entry's key says how the tensor comes about: the kernels, calls and sizes that the prepare region leads to it with, and
// the content hashes of the constants that they read; no names. So models and variants that lay out a weight alike share it.
// A prepare region with control flow, or sizes that are not numbers, is computed as ever; so are small tensors.
#pragma once

#include "runtime/executable.h"

namespace weft {

class PreparedCache {
 public:
  // Finds what is kept: such a buffer becomes a constant in the cache's file, and commands that nothing needs any more go.
  // Returns how many bytes were found. A broken or unreadable entry is a miss.
  int64_t fetch(ExecutableParts& parts);
  // Keeps the rest, once computed. The Error is for a log: all works without.
  Status store(const ExecutableImpl& exe) const;

 private:
  struct Missing {
    int buffer;
    int64_t bytes;
    std::string key;
  };
  DiskCache cache_;
  std::vector<Missing> missing_;
};

}  // namespace weft
