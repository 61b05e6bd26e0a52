#include "ir/base/layout.h"

#include <numeric>

#include "ir/base/mesh.h"
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

int64_t Mesh::size() const {
  int64_t n = 1;
  for (auto& a : axes) n *= a.second;
  return n;
}
int64_t Mesh::axis_size(const std::string& axis) const {
  for (auto& a : axes)
    if (a.first == axis) return a.second;
  return 0;
}
SymbolValues Mesh::coordinates(int64_t rank) const {
  SymbolValues out;
  for (auto a = axes.rbegin(); a != axes.rend(); ++a) {
    out[rank_symbol(a->first)] = rank % a->second;
    rank /= a->second;
  }
  return out;
}
Dim Mesh::position(const std::vector<std::string>& of) const {
  Dim at = 0;
  for (const std::string& a : of) at = at * Dim(axis_size(a)) + Dim::symbol(rank_symbol(a));
  return at;
}
std::vector<int64_t> Mesh::group(int64_t rank, const std::vector<std::string>& of) const {
  std::map<std::string, int64_t> stride;
  int64_t step = 1;
  for (auto a = axes.rbegin(); a != axes.rend(); ++a) {
    stride[a->first] = step;
    step *= a->second;
  }
  int64_t first = rank;
  for (const std::string& a : of) first -= rank / stride.at(a) % axis_size(a) * stride.at(a);
  std::vector<int64_t> out{first};
  for (const std::string& a : of) {
    std::vector<int64_t> wider;
    for (int64_t r : out)
      for (int64_t k = 0; k < axis_size(a); ++k) wider.push_back(r + k * stride.at(a));
    out = std::move(wider);
  }
  return out;
}
std::string Mesh::to_string() const {
  std::string s;
  for (auto& [k, v] : axes) s += (s.empty() ? "" : ",") + k + ":" + std::to_string(v);
  return "mesh @" + name_text(name) + " = " + s;
}
std::string Sharding::to_string() const {
  std::string s;
  for (auto& d : dims) s += (s.empty() ? "" : ",") + (d.empty() ? "_" : join(d, "*"));
  s = "shard(" + mesh + ":[" + s + "]";
  if (!partial.empty()) s += ",partial=[" + join(partial, ",") + "]";
  return s + ")";
}
Result<Sharding> Sharding::parse(Lexer& lx) {
  Sharding r;
  TRY(lx.expect("shard"));
  TRY(lx.expect("("));
  TRY_ASSIGN(r.mesh, lx.identifier());
  TRY(lx.expect(":"));
  TRY(lx.expect("["));
  while (!lx.at("]")) {
    r.dims.emplace_back();
    if (!lx.accept("_")) {
      do {
        TRY_ASSIGN(std::string axis, lx.identifier());
        r.dims.back().push_back(std::move(axis));
      } while (lx.accept("*"));
    }
    if (!lx.accept(",")) break;
  }
  TRY(lx.expect("]"));
  if (lx.accept(",")) {
    TRY(lx.expect("partial"));
    TRY(lx.expect("="));
    TRY(lx.expect("["));
    do {
      TRY_ASSIGN(std::string axis, lx.identifier());
      r.partial.push_back(std::move(axis));
    } while (lx.accept(","));
    TRY(lx.expect("]"));
  }
  TRY(lx.expect(")"));
  return r;
}

}  // namespace weft
