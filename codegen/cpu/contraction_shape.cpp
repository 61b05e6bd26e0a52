#include "codegen/cpu/contraction_shape.h"

#include <algorithm>
#include <cmath>

namespace weft {

Dim ContractionShape::extent_m(const KernelSpec& sp) const { return m < 0 ? Dim(1) : sp.axes[m].extent; }
Dim ContractionShape::line(const KernelSpec& sp, const Dim& outer) const {
  if (v_axes.size() == 1) return outer;
  return (outer - Dim(1)) * pitch + sp.axes[v_axes[1]].extent;
}
Dim ContractionShape::extent_k(const KernelSpec& sp) const {
  Dim k(1);
  for (int a : k_axes) k *= sp.axes[a].extent;
  return k;
}

// body = mul(cast*(load x), cast*(load y)), combine = add, init 0, all in one type; the factors' operands.
static bool factors(const SpecStage& st, int* x, int* y) {
  if (st.kind != SpecStage::Kind::reduce || st.body.outputs.size() != 1 || st.init[0] != 0) return false;
  const ScalarInst& c = st.combine.insts[st.combine.outputs[0]];
  if (c.prim != Prim::add || st.combine.insts.size() != 3) return false;
  const ScalarInst& mul = st.body.insts[st.body.outputs[0]];
  if (mul.prim != Prim::mul) return false;
  int* out[2] = {x, y};
  for (int k = 0; k < 2; ++k) {
    const ScalarInst* i = &st.body.insts[mul.args[k]];
    while (i->prim == Prim::cast) i = &st.body.insts[i->args[0]];
    if (i->prim != Prim::input || st.inputs[i->index].kind != StageInput::Kind::load) return false;
    *out[k] = st.inputs[i->index].operand;
  }
  return *x != *y;
}

std::optional<ContractionShape> contraction_shape(const KernelSpec& sp, bool swap) {
  if (sp.stages.size() < 2) return std::nullopt;
  ContractionShape r;
  if (!factors(sp.stages[0], &r.s, &r.v)) return std::nullopt;
  if (swap) std::swap(r.s, r.v);
  for (size_t k = 1; k < sp.stages.size(); ++k)
    if (sp.stages[k].kind != SpecStage::Kind::map_row) return std::nullopt;
  const SpecOperand &s = sp.operands[r.s], &v = sp.operands[r.v];
  if (!s.guards.empty() || !v.guards.empty()) return std::nullopt;
  Dim ls = s.linear(), lv = v.linear();
  for (const std::string& name : ls.symbols())
    if (name[0] == '$') return std::nullopt;
  for (const std::string& name : lv.symbols())
    if (name[0] == '$') return std::nullopt;
  std::vector<int> only_s, only_v;
  for (size_t k = 0; k < sp.axes.size(); ++k) {
    auto cs = ls.coefficient(sp.axes[k].name), cv = lv.coefficient(sp.axes[k].name);
    if (!cs || !cv) return std::nullopt;
    int a = static_cast<int>(k);
    if (sp.axes[k].row) r.k_axes.push_back(a);
    else if (cv->is(0) && !cs->is(0)) only_s.push_back(a);
    else if (cs->is(0) && !cv->is(0)) only_v.push_back(a);
    else r.batch.push_back(a);
  }
  if (r.k_axes.empty() || only_v.empty()) return std::nullopt;
  // m: the longest axis of S alone.
  for (int a : only_s)
    if (r.m < 0 || estimate(sp.axes[a].extent) > estimate(sp.axes[r.m].extent)) r.m = a;
  for (int a : only_s)
    if (a != r.m) r.batch.push_back(a);
  // The last V axis, and the one before it when its steps are near enough.
  r.v_axes = {only_v.back()};
  if (only_v.size() >= 2) {
    int outer = only_v[only_v.size() - 2], inner = only_v.back();
    Dim co = *lv.coefficient(sp.axes[outer].name), ci = *lv.coefficient(sp.axes[inner].name), n = sp.axes[inner].extent;
    Dim pitch = floordiv(co, ci);
    if (ci.is(1) && pitch * ci == co && estimate(pitch) >= estimate(n) && static_cast<double>(estimate(pitch)) <= 1.35 * static_cast<double>(estimate(n))) {
      r.pitch = pitch;
      r.by_address = true;
    } else {
      r.pitch = n;
    }
    r.v_axes = {outer, inner};
  } else {
    r.by_address = true;
  }
  for (int a : only_v)
    if (std::find(r.v_axes.begin(), r.v_axes.end(), a) == r.v_axes.end()) r.batch.push_back(a);
  std::sort(r.batch.begin(), r.batch.end());
  // S in place: one K line, constant strides that fit an instruction's displacement.
  r.s_k_stride = *ls.coefficient(sp.axes[r.k_axes.back()].name);
  bool line = true;
  for (size_t k = r.k_axes.size(); k-- > 1;)
    line = line && *ls.coefficient(sp.axes[r.k_axes[k - 1]].name) == *ls.coefficient(sp.axes[r.k_axes[k]].name) * sp.axes[r.k_axes[k]].extent;
  r.s_m_stride = r.m < 0 ? Dim(0) : *ls.coefficient(sp.axes[r.m].name);
  r.s_direct = line && r.s_m_stride.is_const() && r.s_k_stride.is_const() && (s.dtype == DType::f32 || s.dtype == DType::f64);
  return r;
}

static Dim round_up(const Dim& d, int64_t k) { return ceildiv(d, Dim(k)) * Dim(k); }

ContractionScratch contraction_scratch(const KernelSpec& sp, const ContractionShape& h) {
  int64_t bytes = byte_size(sp.stages[0].body.type(sp.stages[0].body.outputs[0]));
  const SpecConfig& c = sp.config;
  ContractionScratch r;
  Dim rows = min(h.extent_m(sp), Dim(c.mc)), outer = min(sp.axes[h.v_axes[0]].extent, Dim(c.nc));
  r.ldc = round_up(h.line(sp, outer), c.nr);
  r.c = 0;
  r.panel = round_up(rows * r.ldc * Dim(bytes), 64);
  r.s = r.panel + round_up(h.extent_k(sp) * Dim(c.nr * bytes), 64);
  r.total = r.s + (h.s_direct ? Dim(0) : round_up(round_up(rows, c.mr) * h.extent_k(sp) * Dim(bytes), 64)) + Dim(64);
  return r;
}

namespace {
struct Tile {
  double cost = 1e30;
  int64_t mr = 0, nv = 0;
  bool swap = false;
};

// Predicted cycles of one output block under a role and a register tile.
double predict(const KernelSpec& sp, const ContractionShape& h, const Target& t, int lanes, int64_t mr, int64_t nv) {
  double m = static_cast<double>(estimate(h.extent_m(sp))), k = static_cast<double>(estimate(h.extent_k(sp)));
  double q = static_cast<double>(estimate(h.line(sp, sp.axes[h.v_axes[0]].extent)));
  double nr = static_cast<double>(nv * lanes), tiles_m = std::ceil(m / static_cast<double>(mr)), tiles_q = std::ceil(q / nr);
  // Per k and tile: mr*nv FMAs at two a cycle against mr broadcasts and nv loads at two a cycle.
  double rows = m / tiles_m;
  double step = std::max(rows * static_cast<double>(nv), rows + static_cast<double>(nv)) / 2.0;
  step = std::max(step, 4.0);  // the latency of an accumulator's chain
  double compute = tiles_m * tiles_q * (k * step + 20);
  Dim lv = sp.operands[h.v].linear();
  auto unit = lv.coefficient(sp.axes[h.v_axes.back()].name);
  bool fast_v = h.by_address && unit && unit->is(1);
  double pack = q * k * (fast_v ? 2.5 / lanes : 1.5);
  double pack_s = h.s_direct ? 0 : m * k * 1.5;
  double store = 0;
  for (const SpecOperand& o : sp.operands) {
    auto c = o.linear().coefficient(sp.axes[h.v_axes.back()].name);
    bool unit_store = c && (c->is(1) || (c->is(0) && !o.write));
    if (o.write || &o - sp.operands.data() > 1) store += m * q * (unit_store ? 3.0 / lanes : 1.5);
  }
  return compute + pack + pack_s + store;
}
}  // namespace

bool choose_contraction(KernelSpec& sp, const Target& target, Dim* scratch) {
  Tile best;
  DType acc = sp.stages.empty() || sp.stages[0].body.outputs.empty() ? DType::f32 : sp.stages[0].body.type(sp.stages[0].body.outputs[0]);
  int lanes = target.vector_bytes / std::max(1, byte_size(acc));
  int registers = target.vector_registers;
  for (bool swap : {false, true}) {
    auto h = contraction_shape(sp, swap);
    if (!h) continue;
    for (int64_t nv = 1; nv <= 4; ++nv)
      for (int64_t mr = 1; mr <= 16; ++mr) {
        if (mr * nv + nv + 1 > registers) continue;
        if (mr > estimate(h->extent_m(sp)) && mr > 1) continue;
        double c = predict(sp, *h, target, lanes, mr, nv);
        if (c < best.cost) best = {c, mr, nv, swap};
      }
  }
  if (best.mr == 0) return false;
  ContractionShape h = *contraction_shape(sp, best.swap);
  double k = static_cast<double>(estimate(h.extent_k(sp))), m = static_cast<double>(estimate(h.extent_m(sp)));
  double q = static_cast<double>(estimate(h.line(sp, sp.axes[h.v_axes[0]].extent)));
  // Few rows: every element of V is used a few times only, and packing it costs more than it saves.
  if (m < 4 || k < 4 || m * q * k < 4096) return false;
  SpecConfig& c = sp.config;
  c.name = "contraction";
  c.swap = best.swap;
  c.mr = best.mr;
  c.nr = best.nv * lanes;
  c.vec_axis = sp.axes[h.v_axes.back()].name;
  c.unroll = 1;
  // Blocks: a C block of at most a third of the L2 cache, and enough tasks to spread over threads. Splitting V keeps
  // each panel packed once; m is split only when V is short.
  int64_t outer = estimate(sp.axes[h.v_axes[0]].extent), per_outer = std::max<int64_t>(1, static_cast<int64_t>(q) / outer);
  double batch = 1;
  for (int a : h.batch) batch *= static_cast<double>(estimate(sp.axes[a].extent));
  constexpr double kTasks = 16, kGrain = 200e3;  // wanted tasks; least multiply-adds of one
  double want = std::max(1.0, std::min(kTasks / batch, m * q * k / kGrain));
  int64_t panels = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(q / static_cast<double>(c.nr))));
  int64_t n_blocks = std::min<int64_t>(static_cast<int64_t>(std::ceil(want)), std::min<int64_t>(outer, panels));
  c.nc = (outer + n_blocks - 1) / n_blocks;
  if (h.v_axes.size() == 1) c.nc = (c.nc + c.nr - 1) / c.nr * c.nr;
  int64_t line = c.nc * per_outer, cap = std::max<int64_t>(c.mr, target.l2_bytes / 3 / (line * byte_size(acc)) / c.mr * c.mr);
  double m_blocks = std::ceil(want / static_cast<double>(n_blocks));
  c.mc = std::min<int64_t>(cap, static_cast<int64_t>(std::ceil(std::ceil(m / m_blocks) / static_cast<double>(c.mr))) * c.mr);
  sp.tasks = ceildiv(h.extent_m(sp), Dim(c.mc)) * ceildiv(sp.axes[h.v_axes[0]].extent, Dim(c.nc));
  for (int a : h.batch) sp.tasks *= sp.axes[a].extent;
  *scratch = contraction_scratch(sp, h).total;
  return true;
}

}  // namespace weft
