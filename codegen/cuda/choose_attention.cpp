#include <algorithm>

#include "codegen/cuda/attention_shape.h"

namespace weft {

namespace {

int64_t up_to(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

bool on_tensor_cores(const KernelSpec& s, const AttentionAxes& a, const Target& target) {
  const DType t = s.operands[static_cast<size_t>(a.q)].dtype;
  auto same = [&](int operand) { return s.operands[static_cast<size_t>(operand)].dtype == t; };
  return same(a.k) && same(a.v) && target.gpu.has(Gpu::cp_async) &&
         (t == DType::f16 || t == DType::bf16) && target.gpu.multiplies(t, t);
}

// As kernels/attention has them.
int64_t shared_bytes(const AttentionTiling& t, const AttentionTile& x, const AttentionAxes& a) {
  const int64_t rows = t.rows_of(x), keys = x.keys * x.slices * x.stages;
  const int64_t head = up_to(a.inner_size, t.mma ? 16 : 32), columns = up_to(a.column_size, t.mma ? 16 : 32);
  const int64_t pad = t.mma ? 8 : 4, size = t.mma ? 2 : 4;
  const int64_t stages = size * (rows * (head + pad) + keys * (head + columns + 2 * pad)) + (t.mma ? 0 : 4 * x.slices * rows * (x.keys + 4));
  const int64_t results = 4 * x.slices * (rows * (columns + 8) + 2 * rows);
  return std::max(stages, results);
}

// Of 128 threads each, the most rows first, as far as shared memory allows; the last is the one that clusters serve. Else of one
// warp.
std::vector<AttentionTile> tiles_of(const AttentionTiling& t, const AttentionAxes& a, const Target& target) {
  const int64_t widest = std::max(a.inner_size, a.column_size);
  std::vector<AttentionTile> all;
  if (t.mma && widest > 128) all = {{1, 4, 32, 1, 2}, {1, 1, 16, 4, 2, true}};
  else if (t.mma && widest > 64) all = {{2, 4, 32, 1, 3}, {1, 4, 64, 1, 2}, {1, 2, 32, 2, 2}, {1, 1, 16, 4, 3, true}};
  else if (t.mma) all = {{2, 4, 64, 1, 2}, {1, 4, 64, 1, 2}, {1, 2, 32, 2, 2}, {1, 1, 16, 4, 3, true}};
  else if (widest > 128) all = {{4, 16, 16, 1, 2}, {2, 8, 16, 2, 2}, {1, 4, 8, 4, 2, true}};
  else if (widest > 64) all = {{4, 16, 32, 1, 2}, {2, 8, 16, 2, 2}, {1, 4, 8, 4, 2, true}};
  else all = {{4, 16, 64, 1, 2}, {2, 8, 32, 2, 2}, {1, 4, 16, 4, 2, true}};
  auto fits = [&](const AttentionTile& x) { return shared_bytes(t, x, a) <= target.gpu.shared_per_block; };
  for (AttentionTile& x : all)
    if (!fits(x)) x.stages = 2;
  std::erase_if(all, [&](const AttentionTile& x) { return !fits(x); });
  if (all.empty()) all.push_back(t.mma ? AttentionTile{1, 1, 16, 1, 2, true} : AttentionTile{1, 4, 8, 1, 2, true});
  return all;
}

bool is_known(const KernelSpec& s, const Dim& d) {
  const std::vector<std::string> open = d.symbols();
  return std::all_of(open.begin(), open.end(), [&](const std::string& p) { return s.typical.count(p) != 0; });
}

}  // namespace

AttentionTiling attention_tiling(const KernelSpec& s, const AttentionAxes& a, const Target& target) {
  AttentionTiling t;
  t.mma = on_tensor_cores(s, a, target);
  const SpecConfig& c = s.config;
  const std::vector<AttentionTile> all = tiles_of(t, a, target);
  AttentionTile few = all.back();
  few.ranks = std::max<int64_t>(1, c.cluster);
  if (c.tiles > 1) t.tiles.push_back(few);
  for (const AttentionTile& x : all)
    if (t.rows_of(x) == c.mc) t.tiles.push_back(&x == &all.back() ? few : x);
  return t;
}

bool choose_cuda_attention(KernelSpec& s, const Target& target, const Tuning* tuning) {
  auto a = attention_axes(s);
  if (!a) return false;
  AttentionTiling t;
  t.mma = on_tensor_cores(s, *a, target);
  const std::vector<AttentionTile> all = tiles_of(t, *a, target);
  const AttentionTile& few = all.back();
  const Dim rows = a->rows_extent(s);
  const int64_t sms = target.gpu.multiprocessors;
  auto size = [&](const Dim& d) { return std::max<int64_t>(1, s.estimate(d)); };
  auto tiles = [&](const AttentionTile& x) {
    const AttentionAxes mine = x.axes(*a);
    return mine.batch_extent(s) * ceildiv(mine.rows_extent(s), Dim(t.rows_of(x)));
  };
  // The most rows of a block by which multiprocessors have enough to do.
  constexpr int64_t kWaves = 3;  // of the largest tiles, whose last ones leave most of the device idle
  Candidates candidates(s, target, tuning);
  const bool fewest = size(rows) <= t.rows_of(few);
  for (const AttentionTile& x : all) {
    const int64_t blocks = size(tiles(x));
    const bool enough = blocks >= (&x == &all.front() ? kWaves : 1) * sms;
    // The first of enough blocks; of the others those of fewer rows.
    const auto place = static_cast<double>(&x - all.data());
    const double cost = fewest ? -place : enough ? place - 100 : -place;
    candidates.add("rows " + std::to_string(t.rows_of(x)), cost, std::to_string(blocks) + " blocks");
  }
  const AttentionTile* best = &all[candidates.pick()];
  SpecConfig& c = s.config;
  c = {};
  c.name = "attention";
  c.tiles = 1;
  // Sizes that run-time dims decide: a step's one query, and the many of a first one.
  if (!is_known(s, rows) && !rows.is_const() && all.size() > 1) {
    c.tiles = 2;
    if (best == &few) best = &all.front();
  }
  c.mc = t.rows_of(*best);
  c.mr = best->each;
  c.nc = best->keys;
  c.group = best->slices;
  c.steps = best->stages;
  c.threads = t.threads_of(*best);
  c.shared_bytes = shared_bytes(t, *best, *a);
  if (c.tiles > 1) c.shared_bytes = std::max(c.shared_bytes, shared_bytes(t, few, *a));
  // Few rows: the blocks of a cluster share their keys.
  constexpr int64_t kMostRanks = 8, kLeastKeys = 64;
  c.cluster = 1;
  const Dim& keys = s.axes[static_cast<size_t>(a->keys)].extent;
  if ((c.tiles > 1 || best == &few) && target.gpu.sm >= 90) {
    const int64_t clusters = c.tiles > 1 ? size(a->batch_extent(s)) : size(tiles(few));
    const bool known = keys.is_const() || is_known(s, keys);
    while (c.cluster < kMostRanks && clusters * c.cluster <= sms && (!known || size(keys) >= 2 * kLeastKeys * c.cluster)) c.cluster *= 2;
  }
  c.vec_axis = s.axes[static_cast<size_t>(a->column)].name;
  int64_t largest = 1;
  for (size_t k = 2; k < s.stages.size(); ++k)
    for (int o : s.stages[k].stores) largest = std::max<int64_t>(largest, byte_size(s.operands[static_cast<size_t>(o)].dtype));
  c.width = std::max<int64_t>(1, 16 / largest);
  while (c.width > 1 && a->column_size % c.width != 0) c.width /= 2;
  s.tasks = (c.tiles > 1 ? a->batch_extent(s) * rows : tiles(*best)) * Dim(c.cluster);
  // A block takes one tile after the other where sizes are not known; else the device gives them out, the longest first.
  constexpr int64_t kMost = int64_t{1} << 24;
  c.blocks = s.tasks.is_const() ? kMost : up_to(4 * sms, c.cluster);
  return true;
}

}  // namespace weft
