// gemm_shape and choose_gemm: roles of axes, tile and slices of the gemm template, by an analytic model.
#include <algorithm>
#include <cmath>
#include <span>

#include "codegen/backend.h"
#include "codegen/cuda/gemm_shape.h"

namespace weft {

namespace {

double size_of(const KernelSpec& s, const std::vector<int>& axes) {
  double n = 1;
  for (int a : axes) n *= static_cast<double>(std::max<int64_t>(1, s.estimate(s.axes[static_cast<size_t>(a)].extent)));
  return n;
}

// The axis of these that the operand walks in single steps; -1: none.
int unit_axis(const KernelSpec& s, int operand, const std::vector<int>& axes) {
  if (operand < 0) return -1;
  const Dim lin = s.operands[static_cast<size_t>(operand)].linear();
  for (int a : axes) {
    auto c = lin.coefficient(s.axes[static_cast<size_t>(a)].name);
    if (c && c->is(1)) return a;
  }
  return -1;
}

std::set<std::string> axes_of_factor(const KernelSpec& s, const ProductFactor& f) {
  std::set<std::string> out;
  for (int o : f.loads) {
    out.merge(axes_of_operand(s, o));
    for (const SpecGuard& g : s.operands[static_cast<size_t>(o)].guards)
      for (const Dim* d : {&g.expr, &g.lo, &g.hi})
        for (std::string& name : d->symbols())
          if (s.axis(name) >= 0) out.insert(std::move(name));
  }
  return out;
}

// The first operand that is stored.
const SpecOperand* result_of(const KernelSpec& s) {
  for (const SpecStage& st : s.stages)
    if (!st.stores.empty()) return &s.operands[static_cast<size_t>(st.stores[0])];
  return nullptr;
}

void describe(const KernelSpec& s, const Target& target, const std::vector<int>& k, GemmFactor* f) {
  const ProductFactor& p = f->product;
  int along_rows = unit_axis(s, p.operand, f->axes), along_k = unit_axis(s, p.operand, k);
  auto extent = [&](int a) { return a < 0 ? int64_t{0} : s.estimate(s.axes[static_cast<size_t>(a)].extent); };
  f->along_k = along_rows < 0 || extent(along_k) > extent(along_rows);
  if (!(p.plain || p.tf32) || p.loads.size() != 1) return;
  const SpecOperand& o = s.operands[static_cast<size_t>(p.loads[0])];
  f->dtype = o.dtype;
  const DType computed = s.stages[0].body.type(s.stages[0].body.outputs[0]);
  const bool zero = o.guards.empty() || o.fill == 0;
  f->direct = p.plain && zero && o.dtype == computed && target.gpu.has(Gpu::cp_async) && (byte_size(o.dtype) == 4 || byte_size(o.dtype) == 8);
}

// Whether tensor cores multiply factors of these types into sums of that one.
bool has_tensor_cores(const GemmShape& g, DType sum, const Target& target) {
  const DType a = g.a.dtype, b = g.b.dtype;
  if (!target.gpu.has(Gpu::cp_async)) return false;
  if (is_int(a)) return sum == DType::i32 && target.gpu.multiplies(a, b);
  if (!is_float(sum) || sum == DType::f64) return false;
  const bool rounded = a == DType::f32 && b == DType::f32 && g.a.product.tf32 && g.b.product.tf32;
  return rounded ? target.gpu.has(Gpu::tf32_mma) : target.gpu.multiplies(a, b);
}

void find_weights(const KernelSpec& s, GemmShape* g, bool plain) {
  if (!plain || !g->batch.empty() || g->b.axes.size() != 1) return;
  auto w = weight_factor(s, g->b.product, g->k, g->b.axes[0]);
  if (!w || w->factor != g->a.dtype) return;
  g->b.product.operand = w->elements;
  g->b.dtype = w->factor;
  g->b.along_k = true;
  g->weights = w;
}

}  // namespace

std::optional<GemmShape> gemm_shape(const KernelSpec& s, const Target& target) {
  auto product = find_product(s);
  if (!product || s.stages.size() < 2) return std::nullopt;
  for (size_t k = 1; k < s.stages.size(); ++k)
    if (s.stages[k].kind != SpecStage::Kind::map_row) return std::nullopt;
  std::set<std::string> x = axes_of_factor(s, product->x), y = axes_of_factor(s, product->y);
  for (const std::set<std::string>* names : {&x, &y})
    for (const std::string& name : *names)
      if (name[0] == '$') return std::nullopt;
  // B is the factor along whose rows the result lies.
  const SpecOperand* result = result_of(s);
  bool swapped = false;
  if (result)
    for (const SpecAxis& a : s.axes) {
      auto c = result->linear().coefficient(a.name);
      if (!a.row && c && c->is(1) && x.count(a.name) && !y.count(a.name)) swapped = true;
    }
  GemmShape g;
  g.a.product = swapped ? product->y : product->x;
  g.b.product = swapped ? product->x : product->y;
  if (swapped) std::swap(x, y);
  for (size_t k = 0; k < s.axes.size(); ++k) {
    const std::string& name = s.axes[k].name;
    const bool in_a = x.count(name) != 0, in_b = y.count(name) != 0;
    if (s.axes[k].row) g.k.push_back(static_cast<int>(k));
    else if (in_a != in_b) (in_a ? g.a.axes : g.b.axes).push_back(static_cast<int>(k));
    else g.batch.push_back(static_cast<int>(k));
  }
  if (g.k.empty() || g.b.axes.empty()) return std::nullopt;
  for (GemmFactor* f : {&g.a, &g.b}) describe(s, target, g.k, f);
  auto zero = [&](const GemmFactor& f) {
    const SpecOperand& o = s.operands[static_cast<size_t>(f.product.loads[0])];
    return (f.product.plain || f.product.tf32) && f.product.loads.size() == 1 && (o.guards.empty() || o.fill == 0);
  };
  const DType computed = s.stages[0].body.type(s.stages[0].body.outputs[0]);
  find_weights(s, &g, zero(g.a));
  if (g.a.axes.empty() && !g.weights) return std::nullopt;
  g.mma = zero(g.a) && (zero(g.b) || g.weights) && has_tensor_cores(g, computed, target);
  g.wgmma = g.mma && g.a.dtype != DType::f32 && target.gpu.has(Gpu::wgmma);
  return is_float(computed) || is_int(computed) ? std::optional(std::move(g)) : std::nullopt;
}

namespace {

using Tile = GemmTile;
constexpr Tile kMmaTiles[] = {
    {128, 128, 32, 2, 4, 1, 4, 2, 1.0}, {128, 64, 32, 2, 2, 1, 4, 3, 0.85}, {64, 128, 32, 2, 2, 1, 4, 3, 0.85}, {64, 64, 64, 2, 2, 1, 3, 4, 0.65},
    {32, 64, 64, 1, 2, 2, 3, 4, 0.4},   {16, 64, 256, 1, 1, 8, 3, 1, 0.2},    {16, 32, 256, 1, 1, 8, 4, 1, 0.12},
};
constexpr Tile kSimtTiles[] = {
    {128, 128, 8, 8, 8, 1, 2, 2, 1.0}, {64, 64, 8, 8, 4, 1, 2, 4, 0.8},   {64, 64, 16, 8, 4, 1, 2, 4, 0.8},  {64, 64, 16, 4, 4, 1, 2, 4, 0.7},
    {32, 64, 16, 4, 4, 1, 2, 6, 0.6},  {32, 32, 16, 4, 4, 1, 2, 8, 0.45}, {16, 64, 16, 4, 4, 2, 2, 6, 0.3},
};
constexpr Tile kWarpgroupTiles[] = {
    {128, 256, 64, 8, 1, 1, 4, 1, 1.5, 1, true}, {128, 192, 64, 8, 1, 1, 4, 1, 1.4, 1, true},
    {128, 128, 64, 8, 1, 1, 3, 2, 1.25, 1, true}, {128, 64, 64, 8, 1, 1, 4, 2, 0.9, 1, true},
};
// Of floats of 8 bits, whose sums are added up a second time.
constexpr Tile kPartSumTiles[] = {
    {192, 128, 64, 12, 1, 1, 4, 1, 1.3, 1, true}, {128, 128, 64, 8, 1, 1, 4, 1, 1.2, 1, true}, {128, 64, 64, 8, 1, 1, 4, 2, 0.9, 1, true},
};
std::span<const Tile> warpgroup_tiles(const GemmShape& g) {
  return byte_size(g.a.dtype) == 1 && is_float(g.a.dtype) ? std::span<const Tile>(kPartSumTiles) : kWarpgroupTiles;
}
// Of quantised weights and few rows.
constexpr Tile kWeightTile = {8, 16, 0, 1, 1, 8, 1, 4, 1.0, 1, false, true};
// For few rows, few tiles, many tiles: of equally many threads.
constexpr Tile kMmaSet[] = {kMmaTiles[5], {64, 64, 64, 2, 2, 2, 3, 2, 0.6}, kMmaTiles[0]};
constexpr Tile kWarpgroupSet[] = {kMmaSet[0], kMmaSet[1], {128, 128, 64, 8, 1, 1, 4, 1, 1.25, 1, true}};
constexpr Tile kWeightSet[] = {kWeightTile, kWarpgroupSet[1], kWarpgroupSet[2]}, kWeightMmaSet[] = {kWeightTile, kMmaSet[1], kMmaSet[2]};
constexpr Tile kSimtSet[] = {kSimtTiles[6], kSimtTiles[1]};

// Tiles on tensor cores are stated for elements of 2 bytes; wider ones have fewer in a step.
Tile of_elements(Tile t, const GemmShape& g) {
  if (t.weights) t.bk = 4 * g.weights->chunk;
  else if (g.mma) t.bk = t.bk * 2 / byte_size(g.a.dtype);
  return t;
}

int64_t threads_of(const Tile& t, bool mma) { return mma ? 32 * t.m * t.n * t.slices : t.bm / t.m * (t.bn / t.n) * t.slices; }

// As MmaShape and SimtShape have it.
int64_t shared_bytes(const Tile& t, const GemmShape& g, int64_t bytes) {
  if (!g.mma) return std::max(2 * t.bk * (t.bm + t.bn + 8) * bytes, t.bm * (t.bn + 4) * t.slices * bytes);
  if (t.weights) return t.bm * (t.bn + 4) * t.slices * 4;
  const int64_t element = byte_size(g.a.dtype);
  if (t.warpgroups) return std::max((t.bm + t.bn) * t.bk * t.stages * element, t.bm * (t.bn + 8) * 4);
  auto elements = [&](const GemmFactor& f, int64_t rows) { return f.along_k || element == 1 ? rows * (t.bk + 16 / element) : t.bk * (rows + 8); };
  return std::max((elements(g.a, t.bm) + elements(g.b, t.bn)) * t.stages * element, t.bm * (t.bn + 8) * t.slices * 4);
}

struct Sizes {
  double m, n, k, batch;
};

// Predicted seconds: rounds of tiles over the device, each as long as its share of the peak and the latency of its steps say;
// reading the factors bounds it from below, at a rate that enough bytes under way make possible.
double cost_of(const Tile& t, const Sizes& z, const Target& target, bool mma, double bytes) {
  const double flops = mma ? 2 * 2048 / bytes : 2 * 128, clock = target.gpu.clock_mhz * 1e6, sms = target.gpu.multiprocessors;
  auto blocks = [](double n, int64_t tile) { return std::ceil(n / static_cast<double>(tile)); };
  const double ranks = static_cast<double>(t.ranks), tiles = blocks(z.m, t.bm) * blocks(z.n, t.bn) * z.batch * ranks;
  const double steps = std::ceil(blocks(z.k, t.bk) / ranks), k = steps * static_cast<double>(t.bk);
  // Measured on one H200.
  constexpr double kStep = 2.5e-7, kSimtStep = 4e-7, kTile = 2.5e-6, kJoin = 4e-7;
  constexpr double kWarpgroupTile = 1.5e-6, kWarpgroupSum = 1e-10, kWarpgroupJoin = 2.8e-10;
  const double at_once = std::clamp(std::ceil(tiles / sms), 1.0, static_cast<double>(t.at_once));
  const double start = t.warpgroups ? kWarpgroupTile + kWarpgroupSum * static_cast<double>(t.bm * t.bn) : kTile;
  const double step = t.warpgroups ? 0 : mma ? kStep : kSimtStep;
  // Where tiles come one behind the other, so do their sums.
  const double sum = t.warpgroups && tiles > sms ? kWarpgroupJoin * static_cast<double>(t.bm * t.bn) : 0;
  const double join = t.ranks > 1 ? kJoin * ranks + sum : 0;
  const double waiting = start + steps * step + join;  // which blocks beside each other fill
  const double tile_seconds = static_cast<double>(2 * t.bm * t.bn) * k / (flops * clock * t.efficiency) + waiting / at_once;
  const double rounds = std::ceil(tiles / (sms * static_cast<double>(t.at_once))) * static_cast<double>(t.at_once);
  const double busy = tiles < sms * static_cast<double>(t.at_once) ? std::ceil(tiles / sms) : rounds;
  constexpr double kLatency = 7e-7;
  const double under_way = std::min(tiles, sms * static_cast<double>(t.at_once)) * static_cast<double>((t.bm + t.bn) * t.bk * (t.stages - 1)) * bytes;
  const double rate = std::min(target.gpu.memory_rate, under_way / kLatency);
  return std::max(busy * tile_seconds, z.batch * (z.m + z.n) * z.k * bytes / rate);
}

// Of a tile of few rows: reading the weights, or turning them into factors.
double cost_of_weights(const Tile& t, const Sizes& z, const Target& target, double bytes) {
  constexpr double kStart = 2.5e-6, kShare = 0.85, kEach = 2.4;  // instructions of a factor
  const double lanes = 128.0 * target.gpu.clock_mhz * 1e6 * target.gpu.multiprocessors, rows = std::ceil(z.m / static_cast<double>(t.bm));
  return kStart + std::max(z.n * z.k * bytes / (target.gpu.memory_rate * kShare), rows * z.n * z.k * kEach / lanes);
}

// Batch, M, N, K, each with the axis last whose neighbours lie together.
void order_axes(KernelSpec& s, const GemmShape& g) {
  auto last = [](std::vector<int> v, int axis) {
    auto it = std::find(v.begin(), v.end(), axis);
    if (it != v.end()) std::rotate(it, it + 1, v.end());
    return v;
  };
  const SpecOperand* result = result_of(s);
  auto unit_of_result = [&](const std::vector<int>& axes) {
    int operand = result ? static_cast<int>(result - s.operands.data()) : -1;
    return unit_axis(s, operand, axes);
  };
  std::vector<int> order = g.batch;
  auto append = [&](const std::vector<int>& v) { order.insert(order.end(), v.begin(), v.end()); };
  int n = unit_of_result(g.b.axes);
  append(last(g.a.axes, unit_axis(s, g.a.product.operand, g.a.axes)));
  append(last(g.b.axes, n >= 0 ? n : unit_axis(s, g.b.product.operand, g.b.axes)));
  int k = g.b.along_k ? unit_axis(s, g.b.product.operand, g.k) : -1;
  if (k < 0 && g.a.along_k) k = unit_axis(s, g.a.product.operand, g.k);
  append(last(g.k, k));
  std::vector<SpecAxis> axes;
  for (int a : order) axes.push_back(s.axes[static_cast<size_t>(a)]);
  s.axes = std::move(axes);
}

}  // namespace

static int64_t value_bytes_of(const KernelSpec& s) {
  const DType t = s.stages[0].body.type(s.stages[0].body.outputs[0]);
  return is_float(t) && t != DType::f64 ? 4 : byte_size(t);
}

std::vector<GemmTile> gemm_tiles(const KernelSpec& s, const GemmShape& g) {
  const SpecConfig& c = s.config;
  if (c.tiles == 1) {
    const std::span<const Tile> wide = warpgroup_tiles(g);
    const auto known = std::find_if(wide.begin(), wide.end(), [&](const Tile& t) { return t.bm == c.mc && t.bn == c.nc; });
    const int64_t at_once = c.weights ? kWeightTile.at_once : c.warpgroups && known != wide.end() ? known->at_once : 1;
    return {{c.mc, c.nc, c.kc, c.mr, c.nr, c.group, c.steps, at_once, 1, std::max<int64_t>(1, c.cluster), c.warpgroups, c.weights}};
  }
  const std::span<const Tile> of_weights = g.wgmma ? kWeightSet : kWeightMmaSet;
  const std::span<const Tile> all = g.weights ? of_weights : !g.mma ? std::span<const Tile>(kSimtSet) : g.wgmma ? kWarpgroupSet : kMmaSet;
  std::vector<Tile> set;
  for (const Tile& t : all) set.push_back(of_elements(t, g));
  if (const Dim rows = s.extent_of(g.a.axes); rows.is_const()) {
    if (rows.value() <= set[0].bm) set.resize(1);
    else set.erase(set.begin());
  }
  return set;
}

bool choose_gemm(KernelSpec& s, const Target& target, const Tuning* tuning) {
  auto g = gemm_shape(s, target);
  if (!g) return false;
  const Sizes z{size_of(s, g->a.axes), size_of(s, g->b.axes), size_of(s, g->k), size_of(s, g->batch)};
  const double least = g->weights ? 1 : g->mma ? 2 : 8, most = std::max(z.m, z.n), work = z.m * z.n * z.k * z.batch;
  if (std::min(z.m, z.n) < least || most < 16 || z.k < 8 || work < 32768) return false;
  const int64_t value_bytes = value_bytes_of(s);
  if (!g->mma && value_bytes < 4) return false;
  const double weight_bytes = g->weights ? 16.0 / static_cast<double>(g->weights->chunk) : 0;
  Candidates candidates(s, target, tuning);
  std::vector<Tile> tiles;
  auto consider_one = [&](const Tile& t) {
    const int64_t shared = shared_bytes(t, *g, value_bytes);
    if (shared > target.gpu.shared_per_block || (value_bytes == 8 && t.bm * t.bn > 64 * 64)) return;
    const double cost = t.weights ? cost_of_weights(t, z, target, weight_bytes) : cost_of(t, z, target, g->mma, byte_size(g->a.dtype));
    const std::string ranks = t.ranks > 1 ? " by " + std::to_string(t.ranks) : "", kind = t.warpgroups ? "warpgroups " : t.weights ? "weights " : "tile ";
    const std::string size = std::to_string(t.bm) + "x" + std::to_string(t.bn) + "x" + std::to_string(t.bk);
    const std::string threads = " of " + std::to_string(threads_of(t, g->mma)) + " threads";
    candidates.add(kind + size + threads + ranks, cost, std::to_string(cost * 1e6) + " us");
    tiles.push_back(t);
  };
  // Others' sums are read as floats.
  const DType computed = s.stages[0].body.type(s.stages[0].body.outputs[0]);
  const bool shares_steps = target.gpu.sm >= 90 && is_float(computed) && computed != DType::f64;
  auto consider = [&](const Tile& t) {
    Tile shared = of_elements(t, *g);
    consider_one(shared);
    constexpr int64_t kMostRanks = 8;
    const int64_t least_steps = g->mma ? 2 : 8;
    while (shares_steps && (shared.ranks *= 2) <= kMostRanks && z.k >= static_cast<double>(shared.ranks * least_steps * shared.bk))
      consider_one(shared);
  };
  if (g->weights) consider_one(of_elements(kWeightTile, *g));
  if (g->wgmma) std::ranges::for_each(warpgroup_tiles(*g), consider);
  if (g->mma) std::for_each(std::begin(kMmaTiles), std::end(kMmaTiles), consider);
  else std::for_each(std::begin(kSimtTiles), std::end(kSimtTiles), consider);
  if (candidates.empty()) return false;
  Tile best = tiles[candidates.pick()];
  order_axes(s, *g);
  g = gemm_shape(s, target);
  SpecConfig& c = s.config;
  // Sizes that run-time dims decide and of which nothing is known: the kernel chooses between three tiles.
  const Dim rows = s.extent_of(g->a.axes) * s.extent_of(g->b.axes) * s.extent_of(g->batch);
  const std::vector<std::string> open = rows.symbols();
  const bool known = std::all_of(open.begin(), open.end(), [&](const std::string& p) { return s.typical.count(p) != 0; });
  const bool quick = g->mma || (g->a.direct && g->b.direct);  // to compile
  c.tiles = known || !quick ? 1 : 2;
  const std::vector<Tile> set = gemm_tiles(s, *g);
  int64_t shared = shared_bytes(best, *g, value_bytes);
  if (c.tiles > 1) {
    int64_t most = 0;
    for (const Tile& t : set) most = std::max(most, shared_bytes(t, *g, value_bytes));
    if (most <= target.gpu.shared_per_block) {
      shared = most;
      best = set.back();
    } else {
      c.tiles = 1;
    }
  }
  c.name = "gemm";
  c.mc = best.bm;
  c.nc = best.bn;
  c.kc = best.bk;
  c.mr = best.m;
  c.nr = best.n;
  c.group = best.slices;
  c.steps = best.stages;
  c.cluster = best.ranks > 1 ? best.ranks : 0;
  c.warpgroups = best.warpgroups;
  c.weights = best.weights;
  c.threads = threads_of(best, g->mma);
  c.shared_bytes = shared;
  c.vec_axis = s.axes[static_cast<size_t>(g->b.axes.back())].name;
  int64_t largest = 1;
  for (size_t k = 1; k < s.stages.size(); ++k)
    for (int o : s.stages[k].stores) largest = std::max<int64_t>(largest, byte_size(s.operands[static_cast<size_t>(o)].dtype));
  c.width = std::max<int64_t>(1, 16 / largest);
  const Dim& n = s.axes[static_cast<size_t>(g->b.axes.back())].extent;
  while (c.width > 1 && n.is_const() && n.value() % c.width != 0) c.width /= 2;
  s.tasks = ceildiv(s.extent_of(g->a.axes), Dim(c.mc)) * ceildiv(s.extent_of(g->b.axes), Dim(c.nc)) * s.extent_of(g->batch) * Dim(best.ranks);
  return true;
}

}  // namespace weft
