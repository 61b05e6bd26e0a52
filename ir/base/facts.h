// Facts: what an op takes for granted about its dims. One that is known not to hold is an Error; one that symbols leave open
// is noted, and checked when they have values: by a `check` of the plan, and by the evaluator.
//
//   TRY(facts.equal(a, b, "contract's summed dims"));   "contract's summed dims differ: a and b"
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ir/base/dim.h"

namespace weft {

struct Assumption {
  Dim condition;     // > 0 where the fact holds
  std::string text;  // what is wrong where it does not
};

class Facts {
 public:
  // symbols: their ranges, which may decide a fact; null: none are known.
  explicit Facts(const SymbolTable* symbols = nullptr) : symbols_(symbols) {}

  Status equal(const Dim& a, const Dim& b, std::string_view what);
  // a is 1 or b.
  Status broadcasts(const Dim& a, const Dim& b, std::string_view what);
  Status at_most(const Dim& a, const Dim& b, std::string_view what);
  Status divides(const Dim& part, const Dim& whole, std::string_view what);

  std::vector<Assumption> open;

 private:
  template <class F>
  Status positive(const Dim& condition, F text);
  const SymbolTable* symbols_;
};

// "a = 3, b = 4": the values of the symbols in d, for a message about it.
std::string symbol_text(const Dim& d, const SymbolValues& values);

}  // namespace weft
