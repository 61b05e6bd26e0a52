#include "ir/base/layout.h"

#include <numeric>

#include "ir/base/text.h"

namespace weft {

Layout Layout::strided(std::vector<int> perm) {
  Layout l;
  l.kind = Kind::strided;
  l.perm = std::move(perm);
  return l;
}
Layout Layout::row_major(int rank) {
  std::vector<int> p(rank);
  std::iota(p.begin(), p.end(), 0);
  return strided(std::move(p));
}
Layout Layout::blocked(int axis, int factor, bool padded) {
  Layout l;
  l.kind = Kind::blocked;
  l.blocks = {{axis, factor}};
  l.padded = padded;
  return l;
}
bool Layout::is_row_major() const {
  if (kind != Kind::strided) return false;
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] != static_cast<int>(i)) return false;
  return true;
}
std::string Layout::to_string() const {
  std::string s;
  switch (kind) {
    case Kind::any: return "any";
    case Kind::strided:
      for (int p : perm) s += (s.empty() ? "" : ",") + std::to_string(p);
      return "strided(" + s + ")";
    case Kind::blocked:
      for (auto [a, f] : blocks) s += (s.empty() ? "" : ",") + std::to_string(a) + ":" + std::to_string(f);
      return "blocked(" + s + (padded ? ",pad)" : ")");
    case Kind::packed:
      for (auto& [k, v] : params) s += "," + k + "=" + std::to_string(v);
      return "packed(" + pack_name + s + ")";
  }
  return s;
}
Result<Layout> Layout::parse(Lexer& lx) {
  Layout l;
  TRY_ASSIGN(std::string kind, lx.identifier());
  if (kind == "any") return l;
  TRY(lx.expect("("));
  if (kind == "strided") {
    l.kind = Kind::strided;
    while (!lx.at(")")) {
      TRY_ASSIGN(int64_t v, lx.integer());
      l.perm.push_back(static_cast<int>(v));
      if (!lx.accept(",")) break;
    }
  } else if (kind == "blocked") {
    l.kind = Kind::blocked;
    while (!lx.at(")")) {
      if (lx.accept("pad")) {
        l.padded = true;
        break;
      }
      TRY_ASSIGN(int64_t a, lx.integer());
      TRY(lx.expect(":"));
      TRY_ASSIGN(int64_t f, lx.integer());
      if (f <= 0 || f > (1 << 20)) return lx.fail("block factor out of range");
      l.blocks.emplace_back(static_cast<int>(a), static_cast<int>(f));
      if (!lx.accept(",")) break;
    }
  } else if (kind == "packed") {
    l.kind = Kind::packed;
    TRY_ASSIGN(l.pack_name, lx.identifier());
    while (lx.accept(",")) {
      TRY_ASSIGN(std::string k, lx.identifier());
      TRY(lx.expect("="));
      TRY_ASSIGN(int64_t v, lx.integer());
      l.params.emplace_back(std::move(k), v);
    }
  } else {
    return lx.fail("unknown layout `" + kind + "`");
  }
  TRY(lx.expect(")"));
  return l;
}


}  // namespace weft
