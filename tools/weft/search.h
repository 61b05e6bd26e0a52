// The search by halves of `verify --bisect`.
#pragma once

#include "ir/base/result.h"

namespace weft::cli {

// Of the steps 0 .. n-1, the last of which is known to fail: one that fails and is the first, or has one before it that does
// not. Where what is wrong stays wrong that is the first of all. Asks about log2(n) of them. fails: int -> Result<bool>.
template <class F>
Result<int> first_failure(int n, F&& fails) {
  int good = -1, bad = n - 1;
  while (bad - good > 1) {
    int middle = good + (bad - good) / 2;
    TRY_ASSIGN(bool failed, fails(middle));
    (failed ? bad : good) = middle;
  }
  return bad;
}

}  // namespace weft::cli
