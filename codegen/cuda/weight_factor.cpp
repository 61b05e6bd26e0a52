// Recognising a factor that is (element - zero) * scale of quantised weights.
#include "codegen/cuda/gemm_shape.h"

namespace weft {

namespace {

struct Reader {
  const KernelSpec& s;
  const SpecStage& st = s.stages[0];

  const ScalarInst& inst(int k) const { return st.body.insts[static_cast<size_t>(k)]; }
  DType type(int k) const { return st.body.type(k); }
  int through_casts(int k) const {
    while (inst(k).prim == Prim::cast) k = inst(k).args[0];
    return k;
  }
  // The operand that instruction k loads, perhaps cast to a type that holds it; -1: another instruction.
  int loaded(int k) const {
    k = through_casts(k);
    if (inst(k).prim != Prim::input || st.inputs[static_cast<size_t>(inst(k).index)].kind != StageInput::Kind::load) return -1;
    return st.inputs[static_cast<size_t>(inst(k).index)].operand;
  }
  std::optional<double> number(int k) const {
    k = through_casts(k);
    if (inst(k).prim != Prim::constant) return std::nullopt;
    return is_float(type(k)) ? inst(k).f : static_cast<double>(inst(k).i);
  }
  const SpecOperand& operand(int o) const { return s.operands[static_cast<size_t>(o)]; }

  // Elements and zero point.
  bool read_difference(int k, WeightFactor* w) const {
    k = through_casts(k);
    int element = k;
    if (inst(k).prim == Prim::sub) {
      element = inst(k).args[0];
      w->zero = loaded(inst(k).args[1]);
      const auto zero = number(inst(k).args[1]);
      if (w->zero < 0 && !zero) return false;
      if (zero) w->zero_number = static_cast<int64_t>(*zero);
    }
    w->elements = loaded(element);
    if (w->elements < 0) return false;
    const DType t = operand(w->elements).dtype;
    const bool integer = t == DType::i4 || t == DType::u4 || t == DType::i8 || t == DType::u8;
    if (w->zero < 0) return (integer || ((t == DType::f8e4m3fn || t == DType::f8e5m2) && element == k));
    return integer && is_int(operand(w->zero).dtype);
  }
  // Scale, of the factor's type.
  bool read_scale(int k, DType factor, WeightFactor* w) const {
    w->scale = loaded(k);
    const auto scale = number(k);
    if (w->scale < 0 && !scale) return false;
    if (scale) w->scale_number = *scale;
    return w->scale < 0 || operand(w->scale).dtype == factor;
  }
};

}  // namespace

std::optional<Dim> step_along(const KernelSpec& s, const Dim& at, const std::vector<int>& axes, Dim* rest) {
  *rest = at;
  std::optional<Dim> step;
  Dim inner(1);
  for (size_t i = axes.size(); i-- > 0;) {
    const SpecAxis& a = s.axes[static_cast<size_t>(axes[i])];
    Dim others;
    const auto c = rest->coefficient(a.name, &others);
    if (!c || (step && !(*c == *step * inner))) return std::nullopt;
    if (!step) step = c;
    *rest = others;
    inner *= a.extent;
  }
  return step;
}

std::optional<WeightFactor> weight_factor(const KernelSpec& s, const ProductFactor& f, const std::vector<int>& k, int rows) {
  const Reader r{s};
  // The factor is rounded to the narrowest type on its way to the sum.
  int at = f.arg;
  DType factor = r.type(at);
  while (r.inst(at).prim == Prim::cast) {
    at = r.inst(at).args[0];
    if (is_float(r.type(at)) && byte_size(r.type(at)) < byte_size(factor)) factor = r.type(at);
  }
  const ScalarInst& mul = r.inst(at);
  if (mul.prim != Prim::mul || (factor != DType::f16 && factor != DType::bf16)) return std::nullopt;
  WeightFactor w;
  w.factor = factor;
  if (!r.read_difference(mul.args[0], &w) || !r.read_scale(mul.args[1], factor, &w)) return std::nullopt;
  const SpecOperand& elements = r.operand(w.elements);
  if (!elements.constant) return std::nullopt;
  w.chunk = is_subbyte(elements.dtype) ? 32 : 16;
  for (int o : f.loads)
    if (!r.operand(o).guards.empty() || is_indirect(r.operand(o).linear())) return std::nullopt;
  // Rows one behind the other, whose elements are neighbours along all of K; blocks are whole chunks.
  const SpecAxis& inner = s.axes[static_cast<size_t>(k.back())];
  Dim rest, offset;
  const auto along = step_along(s, elements.linear(), k, &rest);
  if (!along || !along->is(1) || !inner.extent.is_const() || inner.extent.value() % w.chunk != 0) return std::nullopt;
  const auto step = rest.coefficient(s.axes[static_cast<size_t>(rows)].name, &offset);
  if (!step || !step->is_const() || step->value() % w.chunk != 0 || !offset.is(0)) return std::nullopt;
  if (k.size() > 2) return std::nullopt;
  for (int o : {w.zero, w.scale})
    if (o >= 0 && (r.operand(o).linear().contains(inner.name) || !r.operand(o).linear().coefficient(s.axes[static_cast<size_t>(k[0])].name)))
      return std::nullopt;
  w.row_stride = step->value();
  return w;
}

std::optional<PackedWeights> pack_weights(const KernelSpec& s, const Target& target) {
  const auto g = s.config.name == "gemm" ? gemm_shape(s, target) : std::nullopt;
  if (!g || !g->weights) return std::nullopt;
  const SpecOperand& from = s.operands[static_cast<size_t>(g->weights->elements)];
  const SpecAxis& row = s.axes[static_cast<size_t>(g->b.axes[0])];
  if (from.packed || !is_subbyte(from.dtype) || !row.extent.is_const()) return std::nullopt;
  PackedWeights p;
  p.operand = g->weights->elements;
  p.dims = {row.extent, floordiv(s.extent_of(g->k), 2)};
  p.as_read = from;
  p.as_read.packed = true;
  p.as_read.index = {Dim::symbol(row.name), from.linear() - Dim::symbol(row.name) * Dim(g->weights->row_stride)};
  p.as_read.strides = {s.extent_of(g->k), Dim(1)};
  p.as_read.offset = 0;
  KernelSpec& out = p.copy;
  out.title = "pack " + from.name;
  out.num_ptrs = 2;
  for (size_t d = 0; d < 2; ++d) {
    SpecAxis axis;
    axis.name = d == 0 ? "n" : "k";
    axis.extent = p.dims[d];
    out.axes.push_back(axis);
  }
  SpecStage st;
  int halves[2];
  for (int64_t h : {0, 1}) {
    SpecOperand load = from;
    load.ptr = 0;
    load.constant = false;
    load.index = {Dim::symbol("n"), Dim::symbol("k") * Dim(2) + Dim(h)};
    load.strides = {Dim(g->weights->row_stride), Dim(1)};
    out.operands.push_back(load);
    StageInput in;
    in.operand = static_cast<int>(h);
    st.inputs.push_back(in);
    const int byte = st.body.cast(st.body.input(static_cast<int>(h), from.dtype), DType::u8);
    halves[h] = st.body.add(Prim::bit_and, byte, st.body.constant_int(DType::u8, 15));
  }
  const int high = st.body.add(Prim::shl, halves[1], st.body.constant_int(DType::u8, 4));
  st.body.outputs = {st.body.add(Prim::bit_or, halves[0], high)};
  SpecOperand store;
  store.name = from.name + ".packed";
  store.ptr = 1;
  store.dtype = DType::u8;
  store.write = true;
  store.index = {Dim::symbol("n"), Dim::symbol("k")};
  store.strides = {p.dims[1], Dim(1)};
  out.operands.push_back(store);
  st.stores = {2};
  out.stages.push_back(std::move(st));
  return p;
}

}  // namespace weft
