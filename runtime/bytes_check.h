// Whether bytes that are about to be used are those that were written. Weights of a file are checked by who reads them first,
// on the thread that reads them, and not all of them before anything else.
#pragma once

#include <cstdint>

#include "ir/base/result.h"

namespace weft {

class BytesCheck {
 public:
  static constexpr int64_t kStep = 4 << 20;  // bytes that are checked together, at multiples of itself
  virtual ~BytesCheck() = default;
  // Bytes begin .. end, and what is checked together with them; each byte once. Thread safe: of two threads that come to the
  // same bytes one checks them and has the Error, if there is one.
  virtual Status check(int64_t begin, int64_t end) const = 0;
};

}  // namespace weft
