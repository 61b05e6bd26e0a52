#include "codegen/product.h"

#include <algorithm>

namespace weft {

// Whether the type holds every value of a narrower one.
static bool widens(DType from, DType to) {
  if (byte_size(to) <= byte_size(from)) return false;
  if (is_float(to)) return from != DType::f8e8m0 || to == DType::f32 || to == DType::f64;
  return is_int(to) && !is_float(from) && (is_signed_int(to) || !is_signed_int(from));
}

static bool collect(const SpecStage& st, int inst, ProductFactor* f) {
  const ScalarInst& x = st.body.insts[inst];
  if (x.prim == Prim::constant) return true;
  if (x.prim != Prim::input) {
    f->plain = f->plain && x.prim == Prim::cast && widens(st.body.type(x.args[0]), x.type);
    return std::all_of(std::begin(x.args), std::end(x.args), [&](int arg) { return arg < 0 || collect(st, arg, f); });
  }
  if (st.inputs[x.index].kind != StageInput::Kind::load) return false;
  f->loads.push_back(st.inputs[x.index].operand);
  return true;
}

std::set<std::string> axes_of_operand(const KernelSpec& sp, int operand) {
  std::set<std::string> out;
  for (std::string& name : sp.operands[operand].linear().symbols())
    if (sp.axis(name) >= 0 || name[0] == '$') out.insert(std::move(name));
  return out;
}

static void find_operand(const KernelSpec& sp, ProductFactor* f) {
  size_t most = 0;
  std::set<std::string> all;
  for (int o : f->loads) {
    std::set<std::string> axes = axes_of_operand(sp, o);
    all.insert(axes.begin(), axes.end());
    if (f->operand >= 0 && axes.size() <= most) continue;
    f->operand = o;
    most = axes.size();
  }
  if (all.size() != most) f->operand = -1;
}

static int before_casts(const ScalarProgram& p, int v) {
  while (p.insts[v].prim == Prim::cast) v = p.insts[v].args[0];
  return v;
}
// The operand that a value loads; -1: it is no load.
static int loaded(const SpecStage& st, int v) {
  const ScalarInst& x = st.body.insts[v];
  return x.prim == Prim::input && st.inputs[x.index].kind == StageInput::Kind::load ? st.inputs[x.index].operand : -1;
}

std::optional<ScaledElements> scaled_elements(const KernelSpec& sp, const ProductFactor& f) {
  const SpecStage& st = sp.stages[0];
  const ScalarProgram& p = st.body;
  const ScalarInst& product = p.insts[before_casts(p, f.arg)];
  if (product.prim != Prim::mul) return std::nullopt;
  for (int i : {1, 0}) {
    ScaledElements w;
    const int scale = before_casts(p, product.args[i]), rest = before_casts(p, product.args[1 - i]);
    w.scale = loaded(st, scale);
    if (!is_float(p.type(scale)) || (w.scale < 0 && p.insts[scale].prim != Prim::constant)) continue;
    if (w.scale < 0) w.fixed_scale = p.insts[scale].f;
    int elements = rest;
    const bool centred = p.insts[rest].prim == Prim::sub;
    if (centred) {
      elements = before_casts(p, p.insts[rest].args[0]);
      const int zero = before_casts(p, p.insts[rest].args[1]);
      const ScalarInst& z = p.insts[zero];
      w.zero = loaded(st, zero);
      if (w.zero < 0 && (z.prim != Prim::constant || is_float(z.type))) continue;
      w.fixed_zero = w.zero < 0 ? static_cast<double>(z.i) : 0;
    }
    w.elements = loaded(st, elements);
    if (w.elements < 0 || (w.zero >= 0 && !is_int(sp.operands[w.zero].dtype))) continue;
    const DType t = p.type(elements);
    if (is_int(t) || (!centred && is_float(t) && bit_width(t) == 8)) return w;
  }
  return std::nullopt;
}

std::optional<Product> find_product(const KernelSpec& sp) {
  if (sp.stages.empty()) return std::nullopt;
  const SpecStage& st = sp.stages[0];
  if (st.kind != SpecStage::Kind::reduce || st.body.outputs.size() != 1 || st.init[0] != 0) return std::nullopt;
  const ScalarInst& c = st.combine.insts[st.combine.outputs[0]];
  if (c.prim != Prim::add || st.combine.insts.size() != 3) return std::nullopt;
  const ScalarInst& mul = st.body.insts[st.body.outputs[0]];
  if (mul.prim != Prim::mul) return std::nullopt;
  Product p;
  for (auto [f, arg] : {std::pair(&p.x, mul.args[0]), {&p.y, mul.args[1]}}) {
    f->arg = arg;
    if (!collect(st, arg, f) || f->loads.empty()) return std::nullopt;
    find_operand(sp, f);
    const ScalarInst& x = st.body.insts[arg];
    f->tf32 = x.prim == Prim::round_tf32 && st.body.insts[x.args[0]].prim == Prim::input;
  }
  return p;
}

}  // namespace weft
