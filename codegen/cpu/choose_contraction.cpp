// choose_contraction: roles, register tile and blocks of the contraction template, by an analytic model in cycles.
#include <algorithm>
#include <cmath>

#include "codegen/backend.h"
#include "codegen/cpu/contraction_shape.h"

namespace weft {

namespace {

struct Tile {
  double cost = 1e30;
  int64_t mr = 0, nv = 0;
  bool swap = false, lines = false;
};

double size_of(const KernelSpec& sp, const Dim& d) { return static_cast<double>(sp.estimate(d)); }

double batch_count(const KernelSpec& sp, const ContractionShape& h) {
  double n = 1;
  for (int a : h.batch) n *= size_of(sp, sp.axes[a].extent);
  return n;
}
bool prepared(const SpecOperand& o, const std::vector<int>& line) { return o.tile || (o.constant && line.size() == 1); }
bool s_prepared(const KernelSpec& sp, const ContractionShape& h) { return h.s_form && prepared(sp.operands[h.s], h.m_axes); }
bool v_prepared(const KernelSpec& sp, const ContractionShape& h) { return h.v_form && prepared(sp.operands[h.v], h.v_axes); }

// Cycles for one vector of V elements to be packed: `dot` loads, and what puts them side by side.
double pack_cost(const KernelSpec& sp, const ContractionShape& h, int lanes) {
  auto unit = sp.operands[h.v].linear().coefficient(sp.axes[h.v_axes.back()].name);
  const double steps = static_cast<double>(h.dot);
  if (!h.by_address || !unit) return 1.5 * lanes * steps;
  return unit->is(1) ? 1.5 + steps : unit->is(2) ? 2 + 3 * steps : 1.5 * lanes * steps;
}

// What the cost of a tile depends on, besides the tile.
struct Work {
  double m, k, q, batch;      // extents
  bool v_packed, s_packed;    // packed by the kernel itself
  double pack, stores;        // cycles for a vector of V; for the other operands of the whole block
  double s_pack;              // cycles for a word of S
  double step, unpack;        // instructions that multiply and add one vector; that make one of quantised weights
};
Work work_of(const KernelSpec& sp, const ContractionShape& h, int lanes) {
  Work w;
  w.m = size_of(sp, h.extent_m(sp));
  w.k = size_of(sp, h.extent_k(sp));
  w.q = size_of(sp, h.line(sp, sp.axes[h.v_axes[0]].extent));
  w.batch = batch_count(sp, h);
  w.v_packed = !v_prepared(sp, h);
  w.s_packed = !h.s_direct && !s_prepared(sp, h);
  w.pack = pack_cost(sp, h, lanes) + (h.v_plain ? 0 : 4);
  w.s_pack = h.dot == 1 || sp.operands[h.s].linear().coefficient(sp.axes[h.k_axes[0]].name) == Dim(1) ? 1.5 : 1.5 * static_cast<double>(h.dot);
  w.step = h.dot == 2 && is_int(sp.operands[h.v].dtype) ? 2 : 1;
  w.unpack = h.weights ? 4 : 0;
  w.stores = 0;
  for (const SpecOperand& o : sp.operands) {
    int number = static_cast<int>(&o - sp.operands.data());
    if (number == h.s || number == h.v) continue;
    auto c = o.linear().coefficient(sp.axes[h.v_axes.back()].name);
    bool unit = c && (c->is(1) || (c->is(0) && !o.write));
    w.stores += w.m * w.q * (unit ? 3.0 / lanes : 1.5);
  }
  return w;
}

// Predicted cycles under a register tile.
double predict(const Work& w, int lanes, int64_t mr, int64_t nv) {
  double nr = static_cast<double>(nv * lanes), tiles_m = std::ceil(w.m / static_cast<double>(mr)), tiles_q = std::ceil(w.q / nr);
  // Per k and tile: mr*nv FMAs at two a cycle against mr broadcasts and nv loads at two a cycle.
  double rows = w.m / tiles_m;
  const bool each_tile = tiles_m < 3;  // unpacks weights by itself
  double step = std::max((w.step * rows + (each_tile ? w.unpack : 0)) * static_cast<double>(nv), rows + static_cast<double>(nv)) / 2.0;
  step = std::max(step, 4.0);  // the latency of an accumulator's chain
  double cost = tiles_m * tiles_q * (w.k * step + 20) + w.stores;
  if (w.v_packed || !each_tile) cost += tiles_q * static_cast<double>(nv) * w.k * (w.v_packed ? w.pack : w.unpack);
  if (w.s_packed) cost += w.m * w.k * w.s_pack;
  return cost * w.batch;
}

// The best of each number of vectors and of each form, and the one of these to take.
Tile best_tile(KernelSpec& sp, const Target& target, int lanes, const SpecConfig* like, const Tuning* tuning) {
  Candidates candidates(sp, target, tuning);
  std::vector<Tile> tiles;
  for (bool swap : {false, true})
    for (bool lines : {false, true}) {
      auto h = contraction_shape(sp, swap, lines);
      if (!h || (like && (swap != like->swap || lines != like->lines))) continue;
      bool same_mr = like && s_prepared(sp, *h), same_nr = like && v_prepared(sp, *h);
      Work w = work_of(sp, *h, lanes);
      for (int64_t nv = 1; nv <= 4; ++nv) {
        Tile best;
        for (int64_t mr = 1; mr <= 16; ++mr) {
          if (mr * nv + nv + (h->weights ? nv + 2 : h->dot == 2 ? 2 : 1) > target.vector_registers) continue;
          if (same_mr ? mr != like->mr : mr > sp.estimate(h->extent_m(sp)) && mr > 1) continue;
          if (same_nr && nv * lanes != like->nr) continue;
          double c = predict(w, lanes, mr, nv);
          if (c < best.cost) best = {c, mr, nv, swap, lines};
        }
        if (best.mr == 0) continue;
        const std::string form = std::string(swap ? " swap" : "") + (lines ? " lines" : "");
        candidates.add("tile " + std::to_string(best.mr) + "x" + std::to_string(nv * lanes) + form, best.cost, std::to_string(best.cost) + " cycles");
        tiles.push_back(best);
      }
    }
  return candidates.empty() ? Tile() : tiles[candidates.pick()];
}

// Extra cycles of splitting a kernel into blocks of rows and of the line: what each block packs or reads again.
double split_cost(const Work& w, const Target& target, int lanes, int64_t bytes, int64_t m_blocks, int64_t n_blocks) {
  constexpr double kBytesPerCycle = 8;  // out of the last cache
  double mb = static_cast<double>(m_blocks), nb = static_cast<double>(n_blocks), half_l2 = static_cast<double>(target.l2_bytes) / 2;
  double cost = 0, v_bytes = w.k * w.q * static_cast<double>(bytes), s_bytes = w.k * w.m * static_cast<double>(bytes);
  if (w.v_packed) cost += mb * w.q * w.k * w.pack / lanes;
  else if (v_bytes > half_l2) cost += mb * v_bytes / kBytesPerCycle;
  if (w.s_packed) cost += nb * w.m * w.k * w.s_pack;
  else if (s_bytes > half_l2) cost += nb * s_bytes / kBytesPerCycle;
  return cost;
}

// Blocks: enough tasks to spread over threads, each with a C block of at most a third of the L2 cache and a block of K
// whose panels lie in the L1 cache.
void choose_blocks(KernelSpec& sp, const ContractionShape& h, const Target& target, int lanes, int64_t bytes) {
  constexpr double kTasks = 8, kGrain = 200e3;  // wanted tasks; least multiply-adds of one
  SpecConfig& c = sp.config;
  double m = size_of(sp, h.extent_m(sp)), k = size_of(sp, h.extent_k(sp)) * static_cast<double>(h.dot), batch = batch_count(sp, h);
  int64_t outer = sp.estimate(sp.axes[h.v_axes[0]].extent), line = std::max<int64_t>(1, sp.estimate(h.line(sp, sp.axes[h.v_axes[0]].extent)));
  int64_t want = static_cast<int64_t>(std::ceil(std::max(1.0, std::min(kTasks / batch, m * static_cast<double>(line) * k / kGrain))));
  int64_t m_tiles = std::max<int64_t>(1, (sp.estimate(h.extent_m(sp)) + c.mr - 1) / c.mr), panels = (line + c.nr - 1) / c.nr;
  int64_t steps = h.v_axes.size() == 1 ? panels : outer, unit = h.v_axes.size() == 1 ? c.nr : 1, width = std::max<int64_t>(1, line / outer);
  Work w = work_of(sp, h, lanes);
  double best = 1e300;
  for (int64_t n = 1; n <= std::min<int64_t>(steps, 64); ++n) {
    int64_t nc = (steps + n - 1) / n * unit;
    int64_t room = std::max<int64_t>(1, target.l2_bytes / 3 / (nc * width * bytes) / c.mr);
    int64_t blocks = std::max((m_tiles + room - 1) / room, std::min(m_tiles, (want + n - 1) / n));
    double cost = split_cost(w, target, lanes, bytes, blocks, n);
    if (blocks * n < want) cost += 1e12;
    if (cost >= best) continue;
    best = cost;
    c.nc = nc;
    c.mc = (m_tiles + blocks - 1) / blocks * c.mr;
  }
  // A panel that the kernel packs, or makes of quantised weights, stays in the L1 cache for all its tiles of rows. A prepared one
  // is read in long stretches, which the processor fetches ahead, by the first tile out of memory and by the others out of the L2
  // cache.
  int64_t inner = std::max<int64_t>(1, sp.estimate(h.inner_k(sp))), k_steps = sp.estimate(h.outer_k(sp));
  const bool in_l1 = w.v_packed || h.unpacks(sp);
  const int64_t bits = h.weights ? h.weights->bits : 8 * h.dot * (w.v_packed ? bytes : byte_size(*h.v_form));
  const int64_t room = in_l1 ? target.l1_bytes / 2 / bytes : target.l2_bytes * 2 / bits;
  int64_t block = std::max<int64_t>(1, room / c.nr / inner);
  if (k_steps > 2 * block) {
    int64_t blocks = (k_steps + block - 1) / block;
    c.kc = (k_steps + blocks - 1) / blocks;
    while (h.weights && c.kc * inner % h.weights->chunk != 0) ++c.kc;
  }
}

// Whether the template gains anything under its best tile.
bool suits(const KernelSpec& sp, const Tile& best, const SpecConfig* like) {
  if (best.mr == 0) return false;
  const ContractionShape h = *contraction_shape(sp, best.swap, best.lines);
  double k = size_of(sp, sp.extent_of(h.k_axes)), m = size_of(sp, h.extent_m(sp)), q = size_of(sp, h.line(sp, sp.axes[h.v_axes[0]].extent));
  // Few rows: every element of V is used a few times only, and packing it costs more than it saves.
  bool packs = !v_prepared(sp, h);
  bool settled = like && (!packs || s_prepared(sp, h));  // forms of constants
  return settled || !((packs && m < 4) || k < 4 || m * q * k * batch_count(sp, h) < 4096);
}

}  // namespace

bool choose_contraction(KernelSpec& sp, const Target& target, const SpecConfig* like, const Tuning* tuning) {
  if (sp.stages.empty() || sp.stages[0].body.outputs.empty()) return false;
  int64_t bytes = std::max(1, byte_size(sp.stages[0].body.type(sp.stages[0].body.outputs[0])));
  int lanes = static_cast<int>(target.vector_bytes / bytes);
  sp.config.dot = like ? like->dot : dot_steps(sp, target);
  Tile best = best_tile(sp, target, lanes, like, tuning);
  if (!suits(sp, best, like)) {
    sp.config.dot = 0;
    return false;
  }
  ContractionShape h = *contraction_shape(sp, best.swap, best.lines);
  SpecConfig& c = sp.config;
  c.name = "contraction";
  c.swap = best.swap;
  c.lines = best.lines;
  c.mr = best.mr;
  c.nr = best.nv * lanes;
  c.vec_axis = sp.axes[h.v_axes.back()].name;
  c.unroll = 1;
  c.bits = h.weights ? h.weights->bits : 0;
  choose_blocks(sp, h, target, lanes, bytes);
  sp.tasks = ceildiv(h.extent_m(sp), Dim(c.mc)) * ceildiv(sp.axes[h.v_axes[0]].extent, Dim(c.nc));
  sp.tasks *= sp.extent_of(h.batch);
  return true;
}

}  // namespace weft
