#include "codegen/cuda/emit.h"

#include <algorithm>

#include "ir/base/check.h"
#include "ir/base/text.h"

namespace weft {

constexpr int64_t kSmall = int64_t{1} << 30;  // what 32-bit indices stay below: twice of it still fits

CudaEmitter::CudaEmitter(const KernelSpec& s, const Target& t, const std::string& name)
    : spec(s), target(t), symbol(name), params(s.params.begin(), s.params.end()) {
  for (size_t k = 0; k < s.axes.size(); ++k) {
    const SpecAxis& a = s.axes[k];
    (a.row ? row : parallel).push_back(static_cast<int>(k));
    ranges[a.name] = {0, a.extent.is_const() ? a.extent.value() - 1 : INT64_MAX, 0};
  }
  if (s.config.width > 1 && s.axis(s.config.vec_axis) >= 0) {
    vec = s.config.vec_axis;
    width = static_cast<int>(s.config.width);
  }
  fast = stores_narrow_floats(s);
  read_only.assign(static_cast<size_t>(s.num_ptrs), has_reduction(s));
  for (const SpecOperand& o : s.operands)
    if (o.write) read_only[o.ptr] = false;
  for (auto [read, written] : in_place_pairs(s)) read_only[static_cast<size_t>(read)] = false;
}

bool stores_narrow_floats(const KernelSpec& s) {
  bool any = false;
  for (const SpecOperand& o : s.operands) {
    if (!o.write || !is_float(o.dtype)) continue;
    if (byte_size(o.dtype) > 2) return false;
    any = true;
  }
  return any;
}

void CudaEmitter::line(const std::string& s) {
  if (!s.empty() && s[0] != '#') text.append(static_cast<size_t>(2 * depth), ' ');
  text += s + "\n";
}
void CudaEmitter::open(const std::string& s) {
  line(s + " {");
  ++depth;
}
void CudaEmitter::close(const std::string& s) {
  --depth;
  line(s);
}

// --- Dims ---------------------------------------------------------------------------------------------------------------

static std::string number(int64_t v, bool wide) {
  if (v == INT64_MIN) return "(-9223372036854775807ll - 1)";
  bool fits = v >= INT32_MIN + int64_t{1} && v <= INT32_MAX;
  return std::to_string(v) + (fits && !wide ? "" : "ll");
}
std::string CudaEmitter::factor(const std::string& s) { return s.find(' ') == std::string::npos ? s : "(" + s + ")"; }

static std::string atom_text(const CudaEmitter& e, const DimAtom& a, const SymbolText& env, bool wide) {
  const std::string type = wide ? "i64" : "Index";
  if (a.fn == DimFn::symbol) {
    auto it = env.find(a.name);
    if (it != env.end()) return wide ? type + "(" + it->second + ")" : CudaEmitter::factor(it->second);
    CHECK(e.params.count(a.name));
    return wide ? e.name_of(a.name) : type + "(" + e.name_of(a.name) + ")";
  }
  std::string x = e.dim(a.args[0], env, wide), y = e.dim(a.args[1], env, wide);
  if (a.fn == DimFn::min || a.fn == DimFn::max) return std::string(a.fn == DimFn::min ? "min" : "max") + "<" + type + ">(" + x + ", " + y + ")";
  const char* natural[] = {"quotient", "remainder"};
  const char* floored[] = {"floor_div", "floor_mod"};
  const char** names = range_of(a.args[0], e.ranges).lo >= 0 ? natural : floored;
  return names[a.fn == DimFn::mod] + ("<" + type) + ">(" + x + ", " + y + ")";
}

std::string CudaEmitter::dim(const Dim& d, const SymbolText& env, bool wide) const {
  if (d.is_const()) return number(d.value(), wide);
  CHECK(!d.is_overflow());
  std::string sum;
  for (const DimTerm& t : d.expr()->terms) {
    std::string p;
    for (const DimAtom& a : t.atoms) p += (p.empty() ? "" : " * ") + atom_text(*this, a, env, wide);
    bool minus = t.coef < 0 && t.coef != INT64_MIN;
    if (int64_t c = minus ? -t.coef : t.coef; c != 1) p += " * " + number(c, wide);
    if (sum.empty()) sum = minus ? "-(" + p + ")" : p;
    else sum += (minus ? " - " : " + ") + p;
  }
  if (int64_t c = d.expr()->constant) sum += c < 0 && c != INT64_MIN ? " - " + number(-c, wide) : " + " + number(c, wide);
  return sum;
}

Dim CudaEmitter::magnitude(const Dim& d) const {
  auto absolute = [](int64_t v) { return v == INT64_MIN ? INT64_MAX : v < 0 ? -v : v; };
  if (d.is_const()) return Dim(absolute(d.value()));
  Dim sum(absolute(d.expr()->constant));
  for (const DimTerm& t : d.expr()->terms) {
    Dim p(absolute(t.coef));
    for (const DimAtom& a : t.atoms) {
      if (a.fn == DimFn::symbol) {
        int axis = spec.axis(a.name);
        p *= axis >= 0 ? spec.axes[axis].extent : Dim::symbol(a.name);
      } else if (a.fn == DimFn::mod) {
        p *= magnitude(a.args[1]);
      } else if (a.fn == DimFn::floordiv) {
        p *= a.args[1].is_const() && a.args[1].value() > 0 ? floordiv(magnitude(a.args[0]), a.args[1]) + Dim(1) : magnitude(a.args[0]);
      } else {
        p *= max(magnitude(a.args[0]), magnitude(a.args[1]));
      }
    }
    sum += p;
  }
  return sum;
}

// --- which instances there are ---------------------------------------------------------------------------------------------

// What computing d in Index must hold in it: d and the operands of its functions.
static void collect_bounds(const CudaEmitter& e, const Dim& d, std::vector<Dim>* out) {
  if (is_indirect(d)) return;
  out->push_back(e.magnitude(d));
  if (d.is_const()) return;
  for (const DimTerm& t : d.expr()->terms)
    for (const DimAtom& a : t.atoms)
      for (const Dim& x : a.args) collect_bounds(e, x, out);
}

CudaEmitter::Conditions CudaEmitter::small_conditions() const {
  Dim points(1), rows(1);
  for (const SpecAxis& a : spec.axes) (a.row ? rows : points) *= max(a.extent, Dim(1));
  return small_conditions({points, rows});
}
CudaEmitter::Conditions CudaEmitter::small_conditions(std::vector<Dim> bounds) const {
  for (const SpecOperand& o : spec.operands) {
    if (!far) collect_bounds(*this, o.linear(), &bounds);
    for (const SpecGuard& g : o.guards)
      for (const Dim* d : {&g.expr, &g.lo, &g.hi}) collect_bounds(*this, *d, &bounds);
  }
  std::vector<std::string> out;
  std::set<std::string> positive;
  for (const Dim& b : bounds) {
    if (b.is_overflow() || (b.is_const() && b.value() >= kSmall)) return std::nullopt;
    if (b.is_const()) continue;
    for (const std::string& s : b.symbols()) positive.insert(s);
    std::string c = dim(b, {}, true) + " < " + number(kSmall, true);
    if (std::find(out.begin(), out.end(), c) == out.end()) out.push_back(c);
  }
  for (const std::string& s : positive) out.insert(out.begin(), name_of(s) + " >= 0");
  return out;
}

CudaEmitter::Conditions CudaEmitter::wide_conditions(bool tail) const {
  if (width == 1 || !any_packed()) return std::nullopt;
  std::vector<std::string> out;
  auto add = [&](const std::string& c) {
    if (std::find(out.begin(), out.end(), c) == out.end()) out.push_back(c);
  };
  for (const SpecOperand& o : spec.operands) {
    std::vector<std::string> conditions;
    if (walk(o, [](int) { return false; }, &conditions) != Walk::packed) continue;
    int64_t bytes = std::min<int64_t>(16, width * byte_size(o.dtype));
    if (bytes > byte_size(o.dtype)) add("aligned(p" + std::to_string(o.ptr) + ", " + std::to_string(bytes) + ")");
    for (const std::string& c : conditions) add(c);
  }
  const Dim& n = spec.axes[spec.axis(vec)].extent;
  Dim left = mod(n, Dim(width));
  if (!tail && left.is_const() && left.value() != 0) return std::nullopt;
  if (!tail && !left.is_const()) add(factor(dim(n, {}, true)) + " % " + std::to_string(width) + " == 0");
  return out;
}

// --- the whole source -------------------------------------------------------------------------------------------------------

void CudaEmitter::prologue() {
  std::string title;
  for (char c : spec.title) title += c == '\n' || c == '\r' || c == '\\' ? ' ' : c;
  line("// " + title + ": template " + spec.config.name + (vec.empty() ? "" : ", up to " + std::to_string(width) + " elements along " + vec));
  for (const char* header : {"launch", "memory", "reduce", "scalar", "fast"}) line("#include \"kernels/core/" + std::string(header) + ".cuh\"");
  for (const std::string& header : extra_headers) line("#include \"kernels/" + header + ".cuh\"");
  line("");
  line("namespace weft {");
  line("");
  line("constexpr int kThreads = " + std::to_string(spec.config.threads) + ";");
}

std::string CudaEmitter::parameters() const {
  std::string s;
  for (int k = 0; k < spec.num_ptrs; ++k) s += (s.empty() ? "" : ", ") + pointer_type(k) + " p" + std::to_string(k);
  for (const std::string& p : spec.params) s += (s.empty() ? "i64 " : ", i64 ") + name_of(p);
  return s;
}
std::string CudaEmitter::arguments() const {
  std::string s;
  for (int k = 0; k < spec.num_ptrs; ++k) s += (s.empty() ? "p" : ", p") + std::to_string(k);
  for (const std::string& p : spec.params) s += (s.empty() ? "" : ", ") + name_of(p);
  return s;
}

void CudaEmitter::entry(const Conditions& wide, const Conditions& small, bool elements,
                        const std::function<void(bool wide, bool small)>& call) {
  const std::string bounds = blocks_at_once > 1 ? "kThreads, " + std::to_string(blocks_at_once) : "kThreads";
  std::string signature = "extern \"C\" __global__ void __launch_bounds__(" + bounds + ") " + symbol + "(";
  for (int k = 0; k < spec.num_ptrs; ++k) signature += pointer_type(k) + " p" + std::to_string(k) + ", ";
  open(signature + "const i64* dims)");
  line("let_next_kernel_start();");
  line("wait_for_earlier_kernels();");
  for (size_t k = 0; k < spec.params.size(); ++k) line("const i64 " + name_of(spec.params[k]) + " = dims[" + std::to_string(k) + "];");
  // Conditions that hold always leave no other instance.
  const bool may_wide = wide && small, sure_small = small && small->empty();
  if (small && !sure_small) line("const bool small = " + join(*small, " && ") + ";");
  std::string wide_if = sure_small ? "" : "small";
  if (may_wide && !wide->empty()) wide_if += (wide_if.empty() ? "" : " && ") + join(*wide, " && ");
  struct Instance {
    std::string condition;  // empty: what is left
    bool wide, small;
  };
  std::vector<Instance> instances;
  if (may_wide) instances.push_back({wide_if, true, true});
  if (small && !(may_wide && (wide_if.empty() || !elements))) instances.push_back({sure_small ? "" : "small", false, true});
  if (instances.empty() || !instances.back().condition.empty()) instances.push_back({"", false, false});
  for (size_t k = 0; k < instances.size(); ++k) {
    const Instance& x = instances[k];
    if (instances.size() > 1) open(std::string(k ? "} else" : "") + (x.condition.empty() ? "" : (k ? " if (" : "if (") + x.condition + ")"));
    call(x.wide, x.small);
    if (instances.size() > 1) --depth;
  }
  if (instances.size() > 1) line("}");
  close();
  line("");
  line("}  // namespace weft");
}

std::string cuda_source(const KernelSpec& spec, const Target& target, const std::string& symbol) {
  if (spec.config.name == "rows") return cuda_rows(spec, target, symbol);
  if (spec.config.name == "gemm") return cuda_gemm(spec, target, symbol);
  if (spec.config.name == "attention") return cuda_attention(spec, target, symbol);
  if (spec.config.name == "transpose") return cuda_transpose(spec, target, symbol);
  CHECK(spec.config.name == "loops");
  return cuda_loops(spec, target, symbol);
}

}  // namespace weft
