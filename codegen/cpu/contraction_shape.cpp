#include "codegen/cpu/contraction_shape.h"

#include <algorithm>

#include "codegen/product.h"

namespace weft {

Dim ContractionShape::extent_m(const KernelSpec& sp) const { return sp.extent_of(m_axes); }
Dim ContractionShape::outer_k(const KernelSpec& sp) const { return ceildiv(sp.axes[k_axes[0]].extent, Dim(dot)); }
Dim ContractionShape::extent_k(const KernelSpec& sp) const { return outer_k(sp) * inner_k(sp); }
Dim ContractionShape::inner_k(const KernelSpec& sp) const { return sp.extent_of(std::span(k_axes).subspan(1)); }
std::vector<int> ContractionShape::batch_of(const KernelSpec& sp, int operand) const {
  std::vector<int> out;
  Dim lin = sp.operands[operand].linear();
  for (int a : batch)
    if (lin.contains(sp.axes[a].name)) out.push_back(a);
  return out;
}
Dim ContractionShape::line(const KernelSpec& sp, const Dim& outer) const {
  if (v_axes.size() == 1) return outer;
  return (outer - Dim(1)) * pitch + sp.axes[v_axes[1]].extent;
}
// Whether the address walks these axes (outer first) as one line; *stride: its step.
static bool one_line(const KernelSpec& sp, const Dim& address, const std::vector<int>& axes, Dim* stride) {
  *stride = 0;
  for (size_t k = axes.size(); k-- > 0;) {
    auto c = address.coefficient(sp.axes[axes[k]].name);
    if (!c) return false;
    if (k + 1 == axes.size()) *stride = *c;
    else if (*c != *address.coefficient(sp.axes[axes[k + 1]].name) * sp.axes[axes[k + 1]].extent) return false;
  }
  return true;
}

// Sorts the axes by which factor walks them.
static bool split_axes(const KernelSpec& sp, const Dim& ls, const Dim& lv, ContractionShape* r, std::vector<int>* only_v) {
  for (size_t k = 0; k < sp.axes.size(); ++k) {
    int a = static_cast<int>(k);
    if (sp.axes[k].row) {
      r->k_axes.push_back(a);
      continue;
    }
    auto cs = ls.coefficient(sp.axes[k].name), cv = lv.coefficient(sp.axes[k].name);
    if (!cs || !cv) return false;
    if (cv->is(0) && !cs->is(0)) r->m_axes.push_back(a);
    else if (cs->is(0) && !cv->is(0)) only_v->push_back(a);
    else r->batch.push_back(a);
  }
  return !r->k_axes.empty() && !only_v->empty();
}

static void choose_line(const KernelSpec& sp, const Dim& lv, const std::vector<int>& only_v, bool lines, ContractionShape* r) {
  r->v_axes = {only_v.back()};
  r->by_address = true;
  if (only_v.size() >= 2 && !lines) {
    // Also the axis before the last, by address when its steps are near enough.
    int outer = only_v[only_v.size() - 2], inner = only_v.back();
    Dim co = *lv.coefficient(sp.axes[outer].name), ci = *lv.coefficient(sp.axes[inner].name), n = sp.axes[inner].extent;
    Dim pitch = floordiv(co, ci);
    r->by_address = ci.is(1) && pitch * ci == co && sp.estimate(pitch) >= sp.estimate(n) &&
                    static_cast<double>(sp.estimate(pitch)) <= 1.35 * static_cast<double>(sp.estimate(n));
    r->pitch = r->by_address ? pitch : n;
    r->v_axes = {outer, inner};
  }
  for (int a : only_v)
    if (std::find(r->v_axes.begin(), r->v_axes.end(), a) == r->v_axes.end()) r->batch.push_back(a);
  std::sort(r->batch.begin(), r->batch.end());
}

// The loads beside V's own are read once per step of K: they do not walk the line.
static bool beside_line(const KernelSpec& sp, const ProductFactor& v, const std::vector<int>& v_axes) {
  for (int o : v.loads) {
    if (o == v.operand) continue;
    std::set<std::string> axes = axes_of_operand(sp, o);
    for (int a : v_axes)
      if (axes.count(sp.axes[a].name)) return false;
  }
  return true;
}

int64_t dot_steps(const KernelSpec& sp, const Target& target) {
  auto product = find_product(sp);
  if (!product) return 0;
  const DType sum = sp.stages[0].body.type(sp.stages[0].body.outputs[0]);
  auto both = [&](auto fits) {
    for (const ProductFactor& f : {product->x, product->y})
      if (!f.plain || f.operand < 0 || !fits(sp.operands[f.operand].dtype)) return false;
    return true;
  };
  if (sum == DType::f32 && target.avx512_bf16 && !sp.ordered && both([](DType t) { return t == DType::bf16; })) return 2;
  if (sum != DType::i32 || !both([](DType t) { return is_int(t) && byte_size(t) == 1; })) return 0;
  return target.avx512_vnni || (target.vector_bytes == 32 && target.has("avxvnni")) ? 4 : 2;
}

// Puts the axis first that is rounded up least: of several the longest, then the outermost.
static void group_k(const KernelSpec& sp, ContractionShape* r) {
  auto waste = [&](int axis) {
    const int64_t n = std::max<int64_t>(1, sp.estimate(sp.axes[axis].extent));
    return std::pair(static_cast<double>((n + r->dot - 1) / r->dot * r->dot) / static_cast<double>(n), -n);
  };
  auto best = std::min_element(r->k_axes.begin(), r->k_axes.end(), [&](int a, int b) { return waste(a) < waste(b); });
  std::rotate(r->k_axes.begin(), best, best + 1);
}

// The forms of such factors, and whether S is read in place: whole words, next to each other.
static void choose_dot(const KernelSpec& sp, bool one_m_line, ContractionShape* r) {
  const SpecOperand &s = sp.operands[r->s], &v = sp.operands[r->v];
  auto byte = [](DType t) { return is_float(t) ? t : is_unsigned_int(t) ? DType::u8 : DType::i8; };
  const bool as_it_lies = r->dot == 4 || is_float(s.dtype);
  r->flip = r->dot == 4 && byte(s.dtype) == byte(v.dtype);
  r->s_form = as_it_lies ? byte(s.dtype) : DType::i16;
  r->v_form = byte(v.dtype);
  const Dim whole(r->dot);
  auto unit = s.linear().coefficient(sp.axes[r->k_axes[0]].name);
  r->s_direct = as_it_lies && !r->flip && !s.tile && one_m_line && r->k_axes.size() == 1 && unit && unit->is(1) && r->s_m_stride.is_const() &&
                mod(sp.axes[r->k_axes[0]].extent, whole) == Dim(0) && mod(r->s_m_stride, whole) == Dim(0);
  if (!r->s_direct) return;
  r->s_m_stride = floordiv(r->s_m_stride, whole);
  r->s_k_stride = 1;
}

std::optional<ContractionShape> contraction_shape(const KernelSpec& sp, bool swap, bool lines) {
  if (sp.stages.size() < 2) return std::nullopt;
  ContractionShape r;
  auto product = find_product(sp);
  if (!product || product->x.operand < 0 || product->y.operand < 0 || product->x.operand == product->y.operand) return std::nullopt;
  const ProductFactor &fs = swap ? product->y : product->x, &fv = swap ? product->x : product->y;
  r.s = fs.operand;
  r.v = fv.operand;
  r.s_arg = fs.arg;
  r.v_arg = fv.arg;
  r.s_plain = fs.plain;
  r.v_plain = fv.plain;
  const DType sum = sp.stages[0].body.type(sp.stages[0].body.outputs[0]);
  auto has_form = [&](const ProductFactor& f, DType t) { return f.plain && (t == sum || (sum == DType::f32 && (t == DType::f16 || t == DType::bf16))); };
  if (has_form(fs, sp.operands[r.s].dtype)) r.s_form = sum;
  if (has_form(fv, sp.operands[r.v].dtype)) r.v_form = sp.operands[r.v].dtype;
  for (size_t k = 1; k < sp.stages.size(); ++k)
    if (sp.stages[k].kind != SpecStage::Kind::map_row) return std::nullopt;
  for (const ProductFactor* x : {&fs, &fv})
    for (int o : x->loads)
      if (!sp.operands[o].guards.empty() || is_indirect(sp.operands[o])) return std::nullopt;
  const SpecOperand& s = sp.operands[r.s];
  Dim ls = s.linear(), lv = sp.operands[r.v].linear();
  std::vector<int> only_v;
  if (!split_axes(sp, ls, lv, &r, &only_v)) return std::nullopt;
  choose_line(sp, lv, only_v, lines, &r);
  if (auto w = r.v_axes.size() == 1 ? quantised_weights(sp, fv, r.k_axes) : std::nullopt) {
    r.v_form = w->is_signed ? DType::i32 : DType::u32;
    r.weights = std::move(w);
  } else if (!beside_line(sp, fv, r.v_axes)) {
    return std::nullopt;
  }
  // S in place: one K line and one M line, with constant strides that fit an instruction's displacement.
  bool line = one_line(sp, ls, r.m_axes, &r.s_m_stride);
  if (sp.config.dot) {
    r.dot = sp.config.dot;
    group_k(sp, &r);
    choose_dot(sp, line, &r);
    return r;
  }
  line = line && one_line(sp, ls, r.k_axes, &r.s_k_stride);
  r.s_direct = line && r.s_form == s.dtype && r.s_m_stride.is_const() && r.s_k_stride.is_const() && is_float(s.dtype) && !s.tile;
  return r;
}

static Dim round_up(const Dim& d, int64_t k) { return ceildiv(d, Dim(k)) * Dim(k); }

ContractionScratch contraction_scratch(const KernelSpec& sp, const ContractionShape& h) {
  int64_t bytes = byte_size(sp.stages[0].body.type(sp.stages[0].body.outputs[0]));
  const SpecConfig& c = sp.config;
  ContractionScratch r;
  Dim rows = min(h.extent_m(sp), Dim(c.mc)), outer = min(sp.axes[h.v_axes[0]].extent, Dim(c.nc));
  Dim steps = h.outer_k(sp);
  r.block_k = (c.kc ? min(steps, Dim(c.kc)) : steps) * h.inner_k(sp);
  r.ldc = round_up(h.line(sp, outer), c.nr);
  r.c = 0;
  r.panel = round_up(rows * r.ldc * Dim(bytes), 64);
  r.s = r.panel + (sp.operands[h.v].tile && !h.unpacks(sp) ? Dim(0) : round_up(r.block_k * Dim(c.nr * bytes), 64));
  bool in_place = h.s_direct || sp.operands[h.s].tile;
  r.total = r.s + (in_place ? Dim(0) : round_up(round_up(rows, c.mr) * r.block_k * Dim(bytes), 64)) + Dim(64);
  return r;
}

std::vector<int> contraction_factors(const KernelSpec& sp) {
  if (sp.config.name != "contraction") return {};
  auto h = contraction_shape(sp, sp.config.swap, sp.config.lines);
  if (!h) return {};
  std::vector<int> out{h->s, h->v};
  if (h->weights)
    for (int o : h->weights->beside()) out.push_back(o);
  return out;
}

int64_t factor_tile(const KernelSpec& sp, int factor) { return contraction_factors(sp)[0] == factor ? sp.config.mr : sp.config.nr; }

// The type of a factor's prepared form, or of what quantised weights have beside them; nullopt: there is none.
static std::optional<DType> prepared_type(const KernelSpec& sp, const ContractionShape& h, int factor) {
  if (factor == h.s) return h.s_form;
  if (factor == h.v) return h.v_form;
  const DType t = sp.operands[factor].dtype;
  return is_float(t) ? t : is_unsigned_int(t) ? DType::u8 : DType::i8;
}

// The prepared element, of what the stage's inputs read.
static int prepared_value(ScalarProgram& p, const ContractionShape& h, int factor, DType from, DType to, int64_t loads) {
  if (loads == 1) {
    int value = p.cast(p.input(0, from), to);
    if (factor == h.s && h.flip) value = p.add(Prim::bit_xor, value, p.constant_int(to, is_unsigned_int(to) ? 128 : -128));
    return value;
  }
  int word = -1;
  const int mask = p.constant_int(to, (int64_t{1} << h.weights->bits) - 1);
  for (int64_t k = 0; k < loads; ++k) {
    int bits = p.add(Prim::bit_and, p.cast(p.input(static_cast<int>(k), from), to), mask);
    if (k > 0) bits = p.add(Prim::shl, bits, p.constant_int(to, k * h.weights->bits));
    word = word < 0 ? bits : p.add(Prim::bit_or, word, bits);
  }
  return word;
}

std::optional<KernelSpec> prepare_factor(const KernelSpec& sp, int factor, Shape* dims) {
  const SpecOperand& from = sp.operands[factor];
  auto h = contraction_shape(sp, sp.config.swap, sp.config.lines);
  if (!h || !from.constant || from.tile) return std::nullopt;
  const std::vector<int>& line_axes = factor == h->s ? h->m_axes : h->v_axes;
  const std::optional<DType> form = prepared_type(sp, *h, factor);
  if (line_axes.size() != 1 || !form) return std::nullopt;
  const SpecAxis& line = sp.axes[line_axes[0]];
  const int64_t tile = factor_tile(sp, factor);
  const bool words = h->weights && factor == h->v, beside = factor != h->s && factor != h->v;
  const int64_t loads = words ? h->weights->per_word() : 1;
  const std::string first_k = sp.axes[h->k_axes[0]].name, last_k = sp.axes[h->k_axes.back()].name;
  KernelSpec out;
  out.title = "prepare " + from.name;
  out.num_ptrs = 2;
  SpecOperand store;
  store.name = from.name + ".prepared";
  store.ptr = 1;
  store.dtype = *form;
  store.write = true;
  auto add_axis = [&](const std::string& name, const Dim& extent) {
    SpecAxis a;
    a.name = name;
    a.extent = extent;
    out.axes.push_back(a);
    store.index.push_back(Dim::symbol(name));
    dims->push_back(extent);
  };
  for (int a : h->batch_of(sp, factor)) add_axis(sp.axes[a].name, sp.axes[a].extent);
  add_axis("t", ceildiv(line.extent, Dim(tile)));
  const std::set<std::string> walked = axes_of_operand(sp, factor);
  for (int a : h->k_axes) {
    const SpecAxis& k = sp.axes[a];
    if (beside && !walked.count(k.name)) continue;
    add_axis(k.name, words && k.name == last_k ? floordiv(k.extent, Dim(loads)) : k.name == first_k ? h->outer_k(sp) : k.extent);
  }
  add_axis("u", Dim(tile));
  if (h->dot > 1) add_axis("d", Dim(h->dot));
  if (!is_static(*dims)) return std::nullopt;
  store.strides.assign(dims->size(), Dim(1));
  for (size_t k = dims->size() - 1; k-- > 0;) store.strides[k] = store.strides[k + 1] * (*dims)[k + 1];
  const Dim at = Dim::symbol("t") * Dim(tile) + Dim::symbol("u"), step = Dim::symbol(first_k) * Dim(h->dot) + Dim::symbol("d");
  const Dim& steps = sp.axes[h->k_axes[0]].extent;
  SpecStage st;
  for (int64_t j = 0; j < loads; ++j) {
    auto place = [&](const Dim& d) {
      return d.substitute([&](const std::string& s) -> std::optional<Dim> {
        if (s == line.name) return at;
        if (words && s == last_k) return Dim::symbol(last_k) * Dim(loads) + Dim(j);
        return s == first_k && h->dot > 1 ? std::optional(step) : std::nullopt;
      });
    };
    SpecOperand load = from;
    load.ptr = 0;
    load.constant = false;
    for (Dim& d : load.index) d = place(d);
    load.offset = place(load.offset);
    if (mod(line.extent, Dim(tile)) != Dim(0)) load.guards.push_back({at, Dim(0), line.extent});
    if (mod(steps, Dim(h->dot)) != Dim(0)) load.guards.push_back({step, Dim(0), steps});
    StageInput in;
    in.operand = static_cast<int>(out.operands.size());
    st.inputs.push_back(in);
    out.operands.push_back(std::move(load));
  }
  out.operands.push_back(store);
  st.body.outputs = {prepared_value(st.body, *h, factor, from.dtype, *form, loads)};
  st.stores = {static_cast<int>(loads)};
  out.stages.push_back(std::move(st));
  return out;
}

}  // namespace weft
