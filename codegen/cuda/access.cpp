// How operands are walked along the lanes of a thread, and the texts of loads.
#include <algorithm>

#include "codegen/cuda/emit.h"
#include "ir/base/check.h"

namespace weft {

// Whether d, beside its multiples of `width`, is a multiple of it: always, never as far as is known, or under conditions.
static bool multiples(const CudaEmitter& e, const Dim& d, std::vector<std::string>* conditions) {
  if (d.is_const()) return d.value() % e.width == 0;
  if (d.expr()->constant % e.width != 0) return false;
  for (const DimTerm& t : d.expr()->terms) {
    if (t.coef % e.width == 0) continue;
    // The factors that only params decide.
    Dim known(t.coef);
    bool any = false;
    for (const DimAtom& a : t.atoms) {
      if (a.fn != DimFn::symbol || !e.params.count(a.name)) continue;
      known *= Dim::symbol(a.name);
      any = true;
    }
    if (!any) return false;
    if (conditions) conditions->push_back(e.dim(known, {}, true) + " % " + std::to_string(e.width) + " == 0");
  }
  return true;
}

CudaEmitter::Walk CudaEmitter::walk(const SpecOperand& o, const std::function<bool(int)>& varying, std::vector<std::string>* conditions) const {
  if (vec.empty()) return Walk::invariant;
  Dim lin = o.linear();
  bool guarded = false;
  auto varies = [&](const Dim& d) {
    for (const std::string& s : d.symbols())
      if (s[0] == '$' && varying(std::stoi(s.substr(1)))) return true;
    return false;
  };
  for (const SpecGuard& g : o.guards)
    for (const Dim* d : {&g.expr, &g.lo, &g.hi}) guarded = guarded || d->contains(vec) || varies(*d);
  if (varies(lin)) return Walk::lanes;
  if (!lin.contains(vec)) return guarded ? Walk::lanes : Walk::invariant;
  if (guarded) return Walk::lanes;
  Dim rest;
  auto c = lin.coefficient(vec, &rest);
  if (!c || !c->is(1) || rest.contains(vec)) return Walk::lanes;
  return multiples(*this, rest, conditions) ? Walk::packed : Walk::lanes;
}

std::string CudaEmitter::address(const SpecOperand& o, const SymbolText& env) const {
  Dim lin = o.linear();
  const bool wide = far || is_indirect(lin);
  std::string p = "p" + std::to_string(o.ptr);
  std::string type = pointer_type(o.ptr), mine = (type.rfind("const ", 0) == 0 ? "const " : "") + memory_type(o.dtype) + "*";
  if (type != mine) p = "((" + mine + ")" + p + ")";
  if (lin.is(0)) return p;
  const std::string at = dim(lin, env, wide);
  return p + " + " + (at.find(' ') == std::string::npos ? at : "(" + at + ")");
}

std::string CudaEmitter::guard(const SpecOperand& o, const SymbolText& env) const {
  std::string out;
  for (const SpecGuard& g : o.guards) {
    const bool wide = is_indirect(g.expr) || is_indirect(g.lo) || is_indirect(g.hi);
    std::string x = dim(g.expr, env, wide);
    out += (out.empty() ? "" : " && ") + dim(g.lo, env, wide) + " <= " + x + " && " + x + " < " + dim(g.hi, env, wide);
  }
  return out;
}

std::string CudaEmitter::fill(const SpecOperand& o) const {
  const std::string type = memory_type(o.dtype);
  std::string v = constant(o.dtype, o.fill, static_cast<int64_t>(o.fill));
  return type == value_type(o.dtype) ? v : "narrow<" + type + ">(" + v + ")";
}

std::string CudaEmitter::load(const SpecOperand& o, const SymbolText& env, bool packed) const {
  const std::string at = address(o, env), v = packed ? "<V>" : "";
  std::string x = read_only[o.ptr] ? "load_const" + v + "(" + at + ")" : packed ? "load<V>(" + at + ")" : "*(" + at + ")";
  std::string g = guard(o, env);
  if (g.empty()) return x;
  return g + " ? " + x + " : " + (packed ? "all<V>(" + fill(o) + ")" : fill(o));
}

static void add_once(std::vector<std::string>* to, const std::string& c) {
  if (std::find(to->begin(), to->end(), c) == to->end()) to->push_back(c);
}

bool CudaEmitter::add_operand(const SpecOperand& o, WidePart* part) const {
  std::vector<std::string> sizes;
  if (walk(o, [](int) { return false; }, &sizes) != Walk::packed) return false;
  const int bytes = std::min(16, width * byte_size(o.dtype));
  if (bytes > byte_size(o.dtype)) add_once(&part->aligned, "aligned(p" + std::to_string(o.ptr) + ", " + std::to_string(bytes) + ")");
  for (const std::string& c : sizes) add_once(&part->sizes, c);
  return true;
}

bool CudaEmitter::add_extent(WidePart* part) const {
  const Dim& extent = spec.axes[static_cast<size_t>(spec.axis(vec))].extent;
  if (extent.is_const()) return extent.value() % width == 0;
  add_once(&part->sizes, factor(dim(extent, {}, true)) + " % " + std::to_string(width) + " == 0");
  return true;
}

CudaEmitter::WidePart CudaEmitter::wide_operand(const SpecOperand& o, int axis) {
  vec = spec.axes[static_cast<size_t>(axis)].name;
  width = 16 / byte_size(o.dtype);
  WidePart p;
  p.possible = add_operand(o, &p) && add_extent(&p);
  return p;
}

CudaEmitter::WidePart CudaEmitter::wide_stages(size_t first) {
  WidePart p;
  if (spec.config.width > 1) {
    vec = spec.config.vec_axis;
    width = static_cast<int>(spec.config.width);
    for (size_t k = first; k < spec.stages.size(); ++k) {
      for (const StageInput& in : spec.stages[k].inputs)
        if (in.kind == StageInput::Kind::load) add_operand(spec.operands[static_cast<size_t>(in.operand)], &p);
      for (int o : spec.stages[k].stores) p.possible |= add_operand(spec.operands[static_cast<size_t>(o)], &p);
    }
    p.possible = p.possible && add_extent(&p);
  }
  if (!p.possible) {
    vec.clear();
    width = 1;
  }
  return p;
}

std::vector<std::string> CudaEmitter::conditions_of(const std::vector<const WidePart*>& parts, bool all) {
  std::vector<std::string> out;
  for (const WidePart* p : parts) {
    if (!p->is_wide(all)) continue;
    for (const std::string& c : p->aligned) add_once(&out, c);
    for (const std::string& c : p->sizes) add_once(&out, c);
  }
  return out;
}

bool CudaEmitter::any_packed() const {
  if (vec.empty()) return false;
  auto never = [](int) { return false; };
  return std::any_of(spec.operands.begin(), spec.operands.end(), [&](const SpecOperand& o) { return walk(o, never) == Walk::packed; });
}

}  // namespace weft
