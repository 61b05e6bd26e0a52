#include "ir/base/mesh.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "ir/base/text.h"

namespace weft {

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
int Mesh::stage(int64_t rank) const {
  return axis_size(kStageAxis) == 0 ? 0 : static_cast<int>(coordinates(rank).at(rank_symbol(kStageAxis)));
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
Status Mesh::check() const {
  constexpr int64_t kMostRanks = 1 << 16;
  std::set<std::string> seen;
  int64_t ranks = 1;
  for (auto& [axis, size] : axes) {
    if (size < 1 || size > kMostRanks) return invalid("axis " + axis + " of mesh " + name + " has size " + std::to_string(size));
    if (!seen.insert(axis).second) return invalid("mesh " + name + " has axis " + axis + " twice");
    ranks *= size;
    if (ranks > kMostRanks) return resources("mesh " + name + " has more than " + std::to_string(kMostRanks) + " ranks");
  }
  return {};
}
std::string Mesh::to_string() const {
  std::string s;
  for (auto& [k, v] : axes) s += (s.empty() ? "" : ",") + k + ":" + std::to_string(v);
  return "mesh @" + name_text(name) + " = " + s;
}
std::string Mesh::axes_text() const {
  std::string s;
  for (auto& [k, v] : axes) s += (s.empty() ? "" : ",") + k + "=" + std::to_string(v);
  return s.empty() ? "one rank" : s;
}
Result<Mesh> Mesh::parse(Lexer& lx) {
  Mesh mesh;
  TRY(lx.expect("@"));
  TRY_ASSIGN(mesh.name, lx.name());
  TRY(lx.expect("="));
  do {
    TRY_ASSIGN(std::string axis, lx.identifier());
    TRY(lx.expect(":"));
    TRY_ASSIGN(int64_t size, lx.integer());
    mesh.axes.emplace_back(std::move(axis), size);
  } while (lx.accept(","));
  return mesh;
}
Result<Mesh> parse_mesh(const std::string& text) {
  Mesh mesh;
  mesh.name = "mesh";
  for (size_t from = 0; from < text.size();) {
    const size_t to = std::min(text.find(',', from), text.size());
    const std::string part = text.substr(from, to - from);
    from = to + 1;
    size_t equals = part.find('=');
    int64_t size = 0;
    const char* end = part.data() + part.size();
    auto number = equals == std::string::npos ? std::from_chars_result{nullptr, std::errc::invalid_argument}
                                              : std::from_chars(part.data() + equals + 1, end, size);
    if (number.ec != std::errc() || number.ptr != end || equals == 0) return usage("no axis of a mesh: " + quote(part)).with_hint("as in --mesh dp=2,tp=4");
    mesh.axes.emplace_back(part.substr(0, equals), size);
  }
  TRY(mesh.check());
  return mesh;
}

std::string Sharding::to_string() const {
  std::string s;
  for (auto& d : dims) s += (s.empty() ? "" : ",") + (d.empty() ? "_" : join(d, "*"));
  s = "shard(" + mesh + ":[" + s + "]";
  auto list = [&](const char* name, const std::vector<std::string>& axes, const std::string& suffix) {
    if (!axes.empty()) s += std::string(",") + name + "=[" + join(axes, suffix + ",") + suffix + "]";
  };
  list("partial", partial, reduction == "sum" ? "" : ":" + reduction);
  list("joined", joined, "");
  return s + ")";
}
Result<std::vector<std::vector<std::string>>> parse_sharded_dims(Lexer& lx) {
  std::vector<std::vector<std::string>> dims;
  TRY(lx.expect("["));
  while (!lx.at("]")) {
    dims.emplace_back();
    if (!lx.accept("_")) {
      do {
        TRY_ASSIGN(std::string axis, lx.identifier());
        dims.back().push_back(std::move(axis));
      } while (lx.accept("*"));
    }
    if (!lx.accept(",")) break;
  }
  TRY(lx.expect("]"));
  return dims;
}
static Status parse_axes(Lexer& lx, bool partial, Sharding& r) {
  do {
    TRY_ASSIGN(std::string axis, lx.identifier());
    (partial ? r.partial : r.joined).push_back(std::move(axis));
    if (!partial) continue;
    std::string reduction = "sum";
    if (lx.accept(":")) {
      TRY_ASSIGN(reduction, lx.identifier());
    }
    if (reduction != "sum" && reduction != "max" && reduction != "min" && reduction != "prod") return invalid("there is no reduction " + quote(reduction));
    if (r.partial.size() > 1 && reduction != r.reduction) return invalid("a value that waits for two reductions, " + r.reduction + " and " + reduction);
    r.reduction = std::move(reduction);
  } while (lx.accept(","));
  return {};
}
Result<Sharding> Sharding::parse(Lexer& lx) {
  Sharding r;
  TRY(lx.expect("shard"));
  TRY(lx.expect("("));
  TRY_ASSIGN(r.mesh, lx.identifier());
  TRY(lx.expect(":"));
  TRY_ASSIGN(r.dims, parse_sharded_dims(lx));
  while (lx.accept(",")) {
    TRY_ASSIGN(std::string list, lx.identifier());
    if (list != "partial" && list != "joined") return invalid("a sharding has no " + quote(list));
    TRY(lx.expect("="));
    TRY(lx.expect("["));
    TRY(parse_axes(lx, list == "partial", r));
    TRY(lx.expect("]"));
  }
  TRY(lx.expect(")"));
  return r;
}

std::string RankShare::to_string() const {
  std::string dims;
  for (const Dim& d : whole) dims += (dims.empty() ? "" : ",") + d.to_string();
  return sharding.to_string() + " of [" + dims + "]";
}
Result<RankShare> RankShare::parse(Lexer& lx) {
  RankShare r;
  TRY_ASSIGN(r.sharding, Sharding::parse(lx));
  TRY(lx.expect("of"));
  TRY(lx.expect("["));
  while (!lx.at("]")) {
    TRY_ASSIGN(Dim d, parse_dim(lx));
    r.whole.push_back(std::move(d));
    if (!lx.accept(",")) break;
  }
  TRY(lx.expect("]"));
  return r;
}
Status RankShare::check(const Mesh& mesh, int rank) const {
  if (sharding.empty()) return whole.empty() ? Status{} : invalid("dims of a whole of which no rank has a part");
  const auto n = static_cast<size_t>(rank);
  if (sharding.dims.size() != n || whole.size() != n) return invalid(to_string() + " for a tensor of " + std::to_string(rank) + " dims");
  if (!sharding.partial.empty() || !sharding.joined.empty()) return invalid(to_string() + " is no part of a tensor");
  std::set<std::string> seen;
  for (auto& axes : sharding.dims)
    for (const std::string& axis : axes)
      if (mesh.axis_size(axis) < 1 || !seen.insert(axis).second) return invalid(to_string() + " on a mesh of " + mesh.axes_text());
  return {};
}

}  // namespace weft
