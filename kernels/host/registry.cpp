#include "kernels/host/registry.h"

#include <charconv>

namespace weft {

#define WEFT_HOST(name) Status host_call_##name(HostCall& call);
#include "kernels/host/host.def"
#undef WEFT_HOST

HostFn find_host_function(std::string_view name) {
#define WEFT_HOST(row) \
  if (name == #row) return host_call_##row;
#include "kernels/host/host.def"
#undef WEFT_HOST
  return nullptr;
}

// The text behind `name=`, or nothing.
static std::string_view find_attribute(std::string_view text, std::string_view name) {
  for (size_t from = 0; from < text.size();) {
    size_t to = std::min(text.find(' ', from), text.size());
    std::string_view pair = text.substr(from, to - from);
    if (pair.size() > name.size() && pair.substr(0, name.size()) == name && pair[name.size()] == '=') return pair.substr(name.size() + 1);
    from = to + 1;
  }
  return {};
}

bool HostCall::has(std::string_view name) const { return find_attribute(attributes, name).data() != nullptr; }

Result<int64_t> HostCall::integer(std::string_view name, int64_t fallback) const {
  std::string_view v = find_attribute(attributes, name);
  if (!v.data()) return fallback;
  if (v == "true") return int64_t{1};
  if (v == "false") return int64_t{0};
  int64_t n = 0;
  auto r = std::from_chars(v.data(), v.data() + v.size(), n);
  if (r.ec != std::errc() || r.ptr != v.data() + v.size())
    return invalid("the attribute " + std::string(name) + " of a host call is no integer: " + std::string(v));
  return n;
}

std::string_view HostCall::word(std::string_view name) const { return find_attribute(attributes, name); }

Result<std::vector<int64_t>> HostCall::integers(std::string_view name) const {
  std::string_view v = find_attribute(attributes, name);
  std::vector<int64_t> out;
  for (const char *p = v.data(), *end = p + v.size(); p != end;) {
    int64_t n = 0;
    auto r = std::from_chars(p, end, n);
    if (r.ec != std::errc() || (r.ptr != end && *r.ptr != ','))
      return invalid("the attribute " + std::string(name) + " of a host call is no list of integers: " + std::string(v));
    out.push_back(n);
    p = r.ptr == end ? end : r.ptr + 1;
  }
  return out;
}

Result<double> HostCall::real(std::string_view name, double fallback) const {
  std::string_view v = find_attribute(attributes, name);
  if (!v.data()) return fallback;
  double d = 0;
  auto r = std::from_chars(v.data(), v.data() + v.size(), d);
  if (r.ec != std::errc() || r.ptr != v.data() + v.size())
    return invalid("the attribute " + std::string(name) + " of a host call is no number: " + std::string(v));
  return d;
}

}  // namespace weft
