#include "frontend/api/given.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "ir/base/mapped_file.h"
#include "ir/base/text.h"

namespace weft::api {

namespace {

constexpr const char* kShardingsSchema = "weft.shardings/1";

struct Pattern {
  std::string tensors;                               // with `*`
  std::vector<std::pair<int64_t, std::string>> cuts;  // a dim and an axis
  std::vector<std::string> whole;
  std::string source;
};

bool matches(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

// DIM:AXIS,…
Status read_cuts(const std::string& text, Pattern& out) {
  for (size_t from = 0; from <= text.size();) {
    const size_t to = std::min(text.find(',', from), text.size()), colon = std::min(text.find(':', from), to);
    const std::string dim = text.substr(from, colon - from), axis = text.substr(std::min(colon + 1, to), to - std::min(colon + 1, to));
    int64_t d = 0;
    const auto [end, code] = std::from_chars(dim.data(), dim.data() + dim.size(), d);
    const bool number = code == std::errc() && end == dim.data() + dim.size();
    if (!is_identifier(axis) || (!number && dim != "_")) {
      Error e = usage(out.source + ": no DIM:AXIS in " + quote(text));
      return e.with_hint("as in 1:tp, or _:tp for a tensor that the axis does not cut"), e;
    }
    if (number) out.cuts.emplace_back(d, axis);
    else out.whole.push_back(axis);
    from = to + 1;
  }
  return {};
}

Status read_file(const std::string& path, std::vector<Pattern>& out) {
  TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  const auto* text = reinterpret_cast<const char*>(file->data());
  const nlohmann::json j = nlohmann::json::parse(text, text + file->size(), nullptr, false);
  if (!j.is_object() || !j.contains("schema") || j["schema"] != kShardingsSchema) return usage(path + " is no JSON object whose schema is " + kShardingsSchema);
  for (auto& [key, value] : j.items())
    if (key != "schema" && key != "shardings") return usage(path + ": " + quote(key) + " is not known").with_hint("known: schema, shardings");
  if (!j.contains("shardings") || !j["shardings"].is_object()) return usage(path + ": shardings must be an object of patterns");
  for (auto& [tensors, cuts] : j["shardings"].items()) {
    Pattern p{tensors, {}, {}, path + " " + quote(tensors)};
    if (!cuts.is_string()) return usage(p.source + " must be a text such as \"1:tp\"");
    TRY(read_cuts(cuts.get<std::string>(), p));
    out.push_back(std::move(p));
  }
  return {};
}

// How the pattern shares out a tensor.
Result<GivenSharding> sharding_of(const Pattern& p, const Value& v) {
  if (!v.type.is_ranked()) return usage(p.source + ": how many dims " + quote(v.name) + " has is not known").at_tensor(v.name);
  GivenSharding g;
  g.tensor = v.name;
  g.source = p.source;
  g.whole = p.whole;
  g.dims.resize(v.type.rank());
  for (auto& [dim, axis] : p.cuts) {
    const int64_t d = dim < 0 ? dim + v.type.rank() : dim;
    if (d < 0 || d >= v.type.rank()) return usage(p.source + ": " + quote(v.name) + " has no dim " + std::to_string(dim) + ", it is " + v.type.to_string());
    g.dims[d].push_back(axis);
  }
  return g;
}

}  // namespace

Status give_shardings(Module& m, const std::vector<std::string>& shards, const std::string& file) {
  std::vector<Pattern> patterns;
  for (const std::string& text : shards) {
    const size_t equals = text.rfind('=');
    Pattern p{text.substr(0, equals), {}, {}, "--shard " + text};
    if (equals == std::string::npos || equals == 0) return usage(p.source + ": no PATTERN=DIM:AXIS").with_hint("as in --shard 'layers.*.q_proj.weight=1:tp'");
    TRY(read_cuts(text.substr(equals + 1), p));
    patterns.push_back(std::move(p));
  }
  if (!file.empty()) TRY(read_file(file, patterns));
  for (const Pattern& p : patterns) {
    std::set<std::string> found;
    auto look = [&](const Value& v) -> Status {
      if (v.name.empty() || !matches(p.tensors, v.name) || !found.insert(v.name).second) return {};
      TRY_ASSIGN(GivenSharding g, sharding_of(p, v));
      m.given.shardings.push_back(std::move(g));
      return {};
    };
    for (auto& in : m.main()->inputs) TRY(look(*in));
    for (auto& op : m.main()->ops)
      for (auto& r : op->results) TRY(look(*r));
    if (found.empty()) return usage(p.source + ": no tensor is called " + quote(p.tensors)).with_hint("`weft inspect` and `weft opt --passes=` show names");
  }
  return {};
}

}  // namespace weft::api
