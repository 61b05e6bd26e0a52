#include "ir/core/shapes.h"

#include <algorithm>
#include <charconv>

#include "ir/base/text.h"
#include "ir/core/builder.h"

namespace weft {

namespace {

Error bad(const std::string& text, const std::string& what) {
  Error e = usage("--shapes " + text + ": " + what);
  e.with_hint("write NAME=1x3x224x224, NAME=1..32x3x224x224@8 (a range and the value to optimise for) or NAME=?x128 (open)");
  return e;
}

bool number(std::string_view s, int64_t* out) {
  auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), *out);
  return ec == std::errc() && end == s.data() + s.size() && *out >= 0;
}

Result<DimSpec> parse_dim_spec(const std::string& text, std::string_view d) {
  DimSpec s;
  if (size_t at = d.find('@'); at != std::string_view::npos) {
    if (!number(d.substr(at + 1), &s.opt) || s.opt == 0) return bad(text, "after @ a number is expected in `" + std::string(d) + "`");
    d = d.substr(0, at);
  }
  if (d == "?") return s.open = true, s.hi = INT64_MAX, s;
  size_t dots = d.find("..");
  std::string_view lo = d.substr(0, dots), hi = dots == std::string_view::npos ? lo : d.substr(dots + 2);
  bool ok = number(lo, &s.lo);
  if (hi.empty() && dots != std::string_view::npos) s.hi = INT64_MAX;
  else ok = ok && number(hi, &s.hi);
  if (!ok) return bad(text, "`" + std::string(d) + "` is neither a number nor a range A..B nor ?");
  if (s.lo > s.hi) return bad(text, "the range " + std::string(d) + " is empty");
  return s;
}

// An @ behind the last dim belongs to the one range where the last dim is a number.
Status settle_optimum(const std::string& text, ShapeSpec& spec) {
  if (!spec.dims.empty() && spec.dims.back().fixed() && spec.dims.back().opt) {
    DimSpec* range = nullptr;
    for (DimSpec& d : spec.dims) {
      if (d.fixed() || d.opt) continue;
      if (range) return bad(text, "the dim that @" + std::to_string(spec.dims.back().opt) + " belongs to is ambiguous; write it behind its range");
      range = &d;
    }
    if (!range) return bad(text, "@ needs a range");
    range->opt = std::exchange(spec.dims.back().opt, 0);
  }
  for (const DimSpec& d : spec.dims)
    if (d.opt && (d.fixed() || d.opt < d.lo || d.opt > d.hi)) return bad(text, "@" + std::to_string(d.opt) + " lies outside of its range");
  return {};
}

}  // namespace

Result<ShapeSpec> parse_shape_spec(const std::string& text) {
  size_t eq = text.rfind('=');
  if (eq == std::string::npos || eq == 0) return bad(text, "NAME= is missing");
  ShapeSpec spec;
  spec.input = text.substr(0, eq);
  std::string_view rest = std::string_view(text).substr(eq + 1);
  while (!rest.empty()) {
    size_t x = rest.find_first_of("x,");
    TRY_ASSIGN(DimSpec d, parse_dim_spec(text, rest.substr(0, x)));
    spec.dims.push_back(d);
    if (x == std::string_view::npos) break;
    rest = rest.substr(x + 1);
    if (rest.empty()) return bad(text, "a dim is missing at the end");
  }
  TRY(settle_optimum(text, spec));
  return spec;
}

// --- application ------------------------------------------------------------------------------------------------------

namespace {

Dim substitute(const Dim& d, const SymbolValues& values) {
  return d.substitute([&](const std::string& s) -> std::optional<Dim> {
    auto it = values.find(s);
    return it == values.end() ? std::nullopt : std::optional<Dim>(it->second);
  });
}

Type substitute(const Type& t, const SymbolValues& values) {
  Type out = t;
  for (Dim& d : out.shape) d = substitute(d, values);
  if (t.elem) out.elem = std::make_shared<const Type>(substitute(*t.elem, values));
  return out;
}

struct Substitute : SomeFields {
  using SomeFields::field;
  const SymbolValues& values;
  explicit Substitute(const SymbolValues& v) : values(v) {}
  void field(const char*, Shape& v) override {
    for (Dim& d : v) d = substitute(d, values);
  }
  void field(const char*, Type& v) override { v = substitute(v, values); }
};

void substitute(Graph& g, const SymbolValues& values) {
  Substitute visitor(values);
  for (auto& in : g.inputs) in->type = substitute(in->type, values);
  for (auto& op : g.ops) {
    op->attrs->visit(visitor);
    for (auto& r : op->results) r->type = substitute(r->type, values);
    for (auto& sub : op->graphs) substitute(*sub, values);
  }
}

// What the specs say about symbols, as it is gathered.
struct Bindings {
  Module& m;
  SymbolTable ranges;

  Error conflict(const ShapeSpec& spec, size_t k, const Dim& dim, const std::string& what) const {
    Error e =
        usage("--shapes for input " + name_text(spec.input) + ", dim " + std::to_string(k) + ": the model has " + dim.to_string() + ", " + what);
    return e.at_tensor(spec.input), e;
  }

  Status one(const ShapeSpec& spec, size_t k, const Dim& dim) {
    const DimSpec& d = spec.dims[k];
    if (dim.is_const()) {
      if (d.open || (d.lo <= dim.value() && dim.value() <= d.hi)) return {};
      return conflict(spec, k, dim, "which is not what is asked for");
    }
    if (d.open) return {};
    std::vector<std::string> symbols = dim.symbols();
    Dim rest;
    std::optional<Dim> c = symbols.size() == 1 ? dim.coefficient(symbols[0], &rest) : std::nullopt;
    if (!c || !c->is_const() || c->value() <= 0 || !rest.is_const())
      return conflict(spec, k, dim, "which --shapes cannot decide; give its symbols through other inputs");
    auto [it, fresh] = ranges.emplace(symbols[0], SymbolInfo{});
    if (fresh)
      if (auto known = m.symbols.find(symbols[0]); known != m.symbols.end()) it->second = known->second;
    SymbolInfo& r = it->second;
    Dim lo = ceildiv(Dim(d.lo) - rest, *c), hi = d.hi == INT64_MAX ? Dim(INT64_MAX) : floordiv(Dim(d.hi) - rest, *c);
    if (!lo.is_const() || !hi.is_const()) return conflict(spec, k, dim, "and the numbers overflow");
    r.lo = std::max(r.lo, lo.value());
    r.hi = std::min(r.hi, hi.value());
    if (d.opt) r.opt = floordiv(Dim(d.opt) - rest, *c).value();
    if (r.lo > r.hi)
      return conflict(
          spec, k, dim,
          "which cannot be " + (d.fixed() ? std::to_string(d.lo) : "in that range") + " as well as what else is said about " + symbols[0]);
    return {};
  }
};

}  // namespace

Status bind_symbols(Module& m, const SymbolValues& values) {
  for (State& s : m.states) {
    s.length = substitute(s.length, values);
    s.capacity = substitute(s.capacity, values);
    for (Dim& d : s.share.whole) d = substitute(d, values);
  }
  for (const auto& [name, value] : values) m.symbols.erase(name);
  for (auto& g : m.graphs) substitute(*g, values);
  for (auto& g : m.graphs) TRY(infer_graph(*g));
  return {};
}

Status apply_shapes(Module& m, const std::vector<ShapeSpec>& specs) {
  if (specs.empty()) return {};
  Bindings b{m, {}};
  Graph& g = *m.main();
  for (const ShapeSpec& spec : specs) {
    auto it = std::find_if(g.inputs.begin(), g.inputs.end(), [&](auto& v) { return v->name == spec.input; });
    if (it == g.inputs.end()) {
      std::vector<std::string> names;
      for (auto& in : g.inputs) names.push_back(name_text(in->name));
      Error e = usage("--shapes: the model has no input " + name_text(spec.input));
      return e.with_hint("it has: " + join(names, ", ")), e;
    }
    Type& t = (*it)->type;
    if (t.is_tensor() && !t.ranked) {
      Shape dims;
      for (size_t k = 0; k < spec.dims.size(); ++k) dims.push_back(m.fresh_symbol("d"));
      t = Type::tensor(t.dtype, dims);
    }
    if (!t.is_tensor() || t.shape.size() != spec.dims.size()) {
      Error e =
          usage("--shapes gives input " + name_text(spec.input) + " " + std::to_string(spec.dims.size()) + " dims; the model has " + t.to_string());
      return e.at_tensor(spec.input), e;
    }
    for (size_t k = 0; k < spec.dims.size(); ++k) TRY(b.one(spec, k, t.shape[k]));
  }
  SymbolValues fixed;
  for (const auto& [name, r] : b.ranges) {
    if (r.lo == r.hi) fixed[name] = r.lo;
    else m.symbols[name] = r;
  }
  return bind_symbols(m, fixed);
}

std::vector<std::string> open_dims(const Module& m) {
  std::vector<std::string> names;
  for (auto& in : m.main()->inputs)
    for (const Dim& d : in->type.shape)
      for (const std::string& s : d.symbols()) {
        auto it = m.symbols.find(s);
        bool bounded = it != m.symbols.end() && (it->second.hi != INT64_MAX || it->second.opt);
        if (!bounded && std::find(names.begin(), names.end(), s) == names.end()) names.push_back(s);
      }
  return names;
}

}  // namespace weft
