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

bool CudaEmitter::any_packed() const {
  if (vec.empty()) return false;
  auto never = [](int) { return false; };
  return std::any_of(spec.operands.begin(), spec.operands.end(), [&](const SpecOperand& o) { return walk(o, never) == Walk::packed; });
}

}  // namespace weft
