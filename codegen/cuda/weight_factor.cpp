// Recognising a factor that is (element - zero) * scale of quantised weights.
#include "codegen/cuda/gemm_shape.h"

namespace weft {

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
  const ScalarProgram& p = s.stages[0].body;
  auto operand = [&](int o) -> const SpecOperand& { return s.operands[static_cast<size_t>(o)]; };
  auto scaled = scaled_elements(s, f);
  if (!scaled) return std::nullopt;
  WeightFactor w{*scaled};
  // The factor is rounded to the narrowest type on its way to the sum.
  w.factor = p.type(f.arg);
  for (int at = f.arg; p.insts[static_cast<size_t>(at)].prim == Prim::cast;) {
    at = p.insts[static_cast<size_t>(at)].args[0];
    if (is_float(p.type(at)) && byte_size(p.type(at)) < byte_size(w.factor)) w.factor = p.type(at);
  }
  if (w.factor != DType::f16 && w.factor != DType::bf16) return std::nullopt;
  if (w.scale >= 0 && operand(w.scale).dtype != w.factor) return std::nullopt;
  const SpecOperand& elements = operand(w.elements);
  switch (elements.dtype) {
    case DType::i4: case DType::u4: case DType::i8: case DType::u8: case DType::f8e4m3fn: case DType::f8e5m2: break;
    default: return std::nullopt;
  }
  if (!elements.constant) return std::nullopt;
  w.chunk = is_subbyte(elements.dtype) ? 32 : 16;
  for (int o : f.loads)
    if (!operand(o).guards.empty() || is_indirect(operand(o).linear())) return std::nullopt;
  // What is not packed yet may lie in any order; blocks are whole chunks.
  const SpecAxis& inner = s.axes[static_cast<size_t>(k.back())];
  Dim rest, offset;
  const auto along = step_along(s, elements.linear(), k, &rest);
  if (!along || !along->is_const() || !inner.extent.is_const() || inner.extent.value() % w.chunk != 0) return std::nullopt;
  const auto step = rest.coefficient(s.axes[static_cast<size_t>(rows)].name, &offset);
  if (!step || !step->is_const() || !offset.is_const()) return std::nullopt;
  if (k.size() > 2) return std::nullopt;
  for (int o : {w.zero, w.scale})
    if (o >= 0 && (operand(o).linear().contains(inner.name) || !operand(o).linear().coefficient(s.axes[static_cast<size_t>(k[0])].name)))
      return std::nullopt;
  w.row_stride = step->value();
  w.k_stride = along->value();
  return w;
}

std::optional<PackedWeights> pack_weights(const KernelSpec& s, const Target& target) {
  const auto g = s.config.name == "gemm" ? gemm_shape(s, target) : std::nullopt;
  if (!g || !g->weights) return std::nullopt;
  const SpecOperand& from = s.operands[static_cast<size_t>(g->weights->elements)];
  const SpecAxis& row = s.axes[static_cast<size_t>(g->b.axes[0])];
  if (from.packed || !row.extent.is_const()) return std::nullopt;
  const bool halves = is_subbyte(from.dtype);
  const int64_t chunk = g->weights->chunk, rows = row.extent.value(), depth = s.extent_of(g->k).value();
  PackedWeights p;
  p.operand = g->weights->elements;
  p.as_read = from;
  p.as_read.packed = true;
  p.as_read.index = {Dim::symbol(row.name)};
  p.as_read.strides = {Dim(depth)};
  Dim behind(1);
  for (size_t i = g->k.size(); i-- > 0;) {
    const SpecAxis& a = s.axes[static_cast<size_t>(g->k[i])];
    p.as_read.index.push_back(Dim::symbol(a.name));
    p.as_read.strides.push_back(behind);
    behind *= a.extent;
  }
  p.as_read.offset = 0;
  KernelSpec& out = p.copy;
  out.title = "pack " + from.name;
  out.num_ptrs = 2;
  SpecOperand store;
  store.name = from.name + ".packed";
  store.ptr = 1;
  store.dtype = halves ? DType::u8 : from.dtype;
  store.write = true;
  auto axis = [&](const char* name, int64_t extent) {
    SpecAxis a;
    a.name = name;
    a.extent = extent;
    out.axes.push_back(a);
    p.dims.push_back(extent);
    store.index.push_back(Dim::symbol(name));
    return Dim::symbol(name);
  };
  const Dim n = axis("tile", (rows + 15) / 16) * Dim(16), step = axis("step", (depth + 4 * chunk - 1) / (4 * chunk)) * Dim(4 * chunk);
  const Dim r = axis("row", 16), c = axis("chunk", 4) * Dim(chunk);
  const Dim at = n + r;
  Dim k = step + c;
  if (halves) {
    // A word has elements 0, 2, 4, 6, 1, 3, 5, 7, from the low bits on: its byte b1 b0 begins with 4 b0 + b1.
    k += axis("word", 4) * Dim(8);
    k += axis("b1", 2);
    k += axis("b0", 2) * Dim(4);
  } else {
    k += axis("byte", 16);
  }
  store.strides.assign(p.dims.size(), Dim(1));
  for (size_t d = p.dims.size() - 1; d-- > 0;) store.strides[d] = store.strides[d + 1] * p.dims[d + 1];
  SpecStage st;
  auto load = [&](int64_t behind) {
    SpecOperand o = from;
    o.ptr = 0;
    o.constant = false;
    o.index = {at, k + Dim(behind)};
    o.strides = {Dim(g->weights->row_stride), Dim(g->weights->k_stride)};
    Dim row_part, offset;
    step_along(s, from.linear(), g->k, &row_part);
    row_part.coefficient(row.name, &offset);
    o.offset = offset;
    if (rows % 16 != 0) o.guards.push_back({at, Dim(0), Dim(rows)});
    if (depth % (4 * chunk) != 0) o.guards.push_back({k + Dim(behind), Dim(0), Dim(depth)});
    StageInput in;
    in.operand = static_cast<int>(out.operands.size());
    out.operands.push_back(o);
    st.inputs.push_back(in);
    return st.body.input(in.operand, from.dtype);
  };
  auto nibble = [&](int64_t behind) {
    const int x = st.body.add(Prim::bit_and, st.body.cast(load(behind), DType::u8), st.body.constant_int(DType::u8, 15));
    return is_signed_int(from.dtype) ? st.body.add(Prim::bit_xor, x, st.body.constant_int(DType::u8, 8)) : x;
  };
  if (halves) {
    const int low = nibble(0), high = nibble(2);
    st.body.outputs = {st.body.add(Prim::bit_or, low, st.body.add(Prim::shl, high, st.body.constant_int(DType::u8, 4)))};
  } else {
    st.body.outputs = {load(0)};
  }
  st.stores = {static_cast<int>(out.operands.size())};
  out.operands.push_back(store);
  out.stages.push_back(std::move(st));
  return p;
}

}  // namespace weft
