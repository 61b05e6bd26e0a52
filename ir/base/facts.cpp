#include "ir/base/facts.h"

namespace weft {

template <class F>
Status Facts::positive(const Dim& condition, F text) {
  if (condition.is_overflow()) return {};  // as are the dims, which is reported where they are used
  static const SymbolTable kNone;
  Interval r = range_of(condition, symbols_ ? *symbols_ : kNone);
  if (r.lo > 0) return {};
  if (r.hi <= 0) return invalid(text());
  open.push_back({condition, text()});
  return {};
}

static std::string about(std::string_view what, std::string_view verb, const Dim& a, std::string_view and_, const Dim& b) {
  return std::string(what) + std::string(verb) + a.to_string() + std::string(and_) + b.to_string();
}
static Dim distance(const Dim& a, const Dim& b) { return max(a - b, b - a); }

Status Facts::equal(const Dim& a, const Dim& b, std::string_view what) {
  if (a == b) return {};
  return positive(Dim(1) - distance(a, b), [&] { return about(what, " differ: ", a, " and ", b); });
}
Status Facts::broadcasts(const Dim& a, const Dim& b, std::string_view what) {
  if (a == b || a.is(1)) return {};
  return positive(Dim(1) - min(distance(a, 1), distance(a, b)), [&] { return about(what, " do not broadcast: dim ", a, " against ", b); });
}
Status Facts::at_most(const Dim& a, const Dim& b, std::string_view what) {
  return positive(b - a + Dim(1), [&] { return about(what, ": ", a, " exceeds ", b); });
}
Status Facts::divides(const Dim& part, const Dim& whole, std::string_view what) {
  if (part.is_const() && part.value() <= 0) return invalid(about(what, ": ", part, " does not divide ", whole));
  return positive(Dim(1) - mod(whole, part), [&] { return about(what, ": ", part, " does not divide ", whole); });
}

std::string symbol_text(const Dim& d, const SymbolValues& values) {
  std::string out;
  for (const std::string& s : d.symbols())
    if (auto it = values.find(s); it != values.end()) out += (out.empty() ? "" : ", ") + s + " = " + std::to_string(it->second);
  return out;
}

}  // namespace weft
