// Where NaN and infinity come from: a run in which every command's results are looked at.
//
// A command makes a NaN when no tensor that it read held one, and an infinity when none held one of either sign. Minus
// infinity alone is no finding: masks are made of it. What is in the inputs, weights and states already is nobody's making;
// if a NaN of theirs reaches an output, that is said at the end.
#pragma once

#include <functional>

#include "runtime/executor/code.h"
#include "runtime/executor/strided.h"

namespace weft {

// What a tensor holds besides numbers, and where the first of them is (row-major).
struct OddValues {
  bool nan = false, inf = false, minus_inf = false;
  int64_t nan_at = -1, inf_at = -1;
  bool any() const { return nan || inf || minus_inf; }
  OddValues& operator|=(const OddValues& o);
};
// Of f16, bf16, f32 and f64; other types hold none.
OddValues odd_values(const StridedRef& t);

class NumericsChecker {
 public:
  // fetch: a tensor as it is now, in the host's memory until the next call.
  using Fetch = std::function<Result<StridedRef>(int tensor)>;
  NumericsChecker(const Plan& plan, const Program& program, Fetch fetch) : plan_(plan), program_(program), fetch_(std::move(fetch)) {}

  // Before the first command, after each, and after the last. Errors: kCheckFailed with the tensor, the place of the first
  // element and, of a command, its node; those of fetching.
  Status begin();
  Status after(const Command& c);
  Status end();

 private:
  Result<OddValues> look(int tensor, std::vector<int64_t>* dims = nullptr);
  std::string kind_of(const Command& c) const;

  const Plan& plan_;
  const Program& program_;
  Fetch fetch_;
  std::vector<OddValues> held_;  // per buffer
  int given_nan_ = -1;           // a tensor that came with a NaN
};

}  // namespace weft
